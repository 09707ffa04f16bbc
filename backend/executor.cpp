#include "backend/executor.hpp"

#include <optional>

namespace zebroid {

void issue(const Program& program, const Reads& reads, Queues& queues) {
  std::optional<std::uint32_t> last_exchange;
  for (std::uint32_t i = 0; i < program.size(); ++i) {
    const Stream stream = stream_of(program[i]);
    for (std::uint32_t k = reads.first[i]; k < reads.first[i + 1]; ++k) {
      const std::uint32_t read = reads.ops[k];
      if (stream_of(program[read]) != stream) queues.wait(stream, ended(read));
    }
    if (is_exchange(program[i].work)) {
      if (last_exchange && stream_of(program[*last_exchange]) != stream) {
        queues.wait(stream, launched(*last_exchange));
      }
      queues.record(stream, launched(i));
      last_exchange = i;
    }
    queues.run(stream, i);
    queues.record(stream, ended(i));
  }
}

}  // namespace zebroid
