#include <boost/mpi/communicator.hpp>
#include <boost/mpi/environment.hpp>

#include "cli/ranks.hpp"

namespace zebroid {
namespace {

namespace mpi = boost::mpi;

class MpiRanks final : public Ranks {
 public:
  MpiRanks() : environment_(new mpi::environment(mpi::threading::single, /*abort=*/false)) {}
  MpiRanks(const MpiRanks&) = delete;
  MpiRanks& operator=(const MpiRanks&) = delete;
  /// The environment of a rank that did not leave stays: its destructor waits for all ranks.
  ~MpiRanks() override { static_cast<void>(environment_.release()); }

  void send(int to, const std::string& text) override {
    mpi::communicator().send(to, tag, text.data(), static_cast<int>(text.size()));
  }

  std::optional<Message> receive() override {
    const mpi::communicator world;
    const auto waiting = world.iprobe(mpi::any_source, tag);
    if (!waiting) return std::nullopt;
    Message out{waiting->source(),
                std::string(static_cast<std::size_t>(*waiting->count<char>()), '\0')};
    world.recv(out.from, tag, out.text.data(), static_cast<int>(out.text.size()));
    return out;
  }

  void leave() override { environment_.reset(); }

 private:
  static constexpr int tag = 0;
  std::unique_ptr<mpi::environment> environment_;
};

}  // namespace

std::unique_ptr<Ranks> join_ranks() { return std::make_unique<MpiRanks>(); }

}  // namespace zebroid
