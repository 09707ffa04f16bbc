#include "core/gzip.hpp"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <limits>

#include "core/error.hpp"

namespace zebroid {
namespace {

[[noreturn]] void refuse(const std::string& name, std::string_view reason) {
  throw Error(ErrorKind::input, fmt::format("{}: {}", name, reason));
}

/// zlib's state, freed with it.
class Inflater {
 public:
  explicit Inflater(std::string_view packed) {
    constexpr int gzip_only = 16 + MAX_WBITS;
    ensure(::inflateInit2(&stream_, gzip_only) == Z_OK, "zlib starts");
    // zlib only reads it, but is older than const.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    stream_.avail_in = static_cast<uInt>(packed.size());
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { ::inflateEnd(&stream_); }

  /// Appends what comes next, at most `most` bytes; zlib's answer.
  int add_to(std::string& out, std::size_t most) {
    const std::size_t have = out.size();
    out.resize(have + most);
    stream_.next_out = reinterpret_cast<Bytef*>(out.data() + have);
    stream_.avail_out = static_cast<uInt>(most);
    const int answer = ::inflate(&stream_, Z_NO_FLUSH);
    out.resize(out.size() - stream_.avail_out);
    return answer;
  }

  void begin_member() { ::inflateReset(&stream_); }
  std::string_view rest() const {
    return {reinterpret_cast<const char*>(stream_.next_in), stream_.avail_in};
  }

 private:
  z_stream stream_{};
};

bool is_padding(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == '\0'; });
}

}  // namespace

bool is_gzip(std::string_view packed) { return packed.starts_with("\x1f\x8b"); }

std::string gunzip(std::string_view packed, std::size_t limit, const std::string& name) {
  constexpr std::size_t step = std::size_t{1} << 18U;
  if (packed.size() > std::numeric_limits<uInt>::max()) refuse(name, "too long to unpack");
  if (!is_gzip(packed)) refuse(name, "expected gzip, got something else");
  Inflater inflater(packed);
  std::string out;
  for (;;) {
    // One byte more than allowed tells a bomb from what just fits.
    const int answer = inflater.add_to(out, std::min(step, limit - out.size() + 1));
    if (out.size() > limit) {
      refuse(name, fmt::format("unpacks to more than the limit of {} bytes", limit));
    }
    if (answer == Z_STREAM_END) {
      if (is_padding(inflater.rest())) return out;
      if (!is_gzip(inflater.rest())) refuse(name, "something follows the packed data");
      inflater.begin_member();
    } else if (answer == Z_BUF_ERROR) {
      refuse(name, "packed data is cut off");
    } else if (answer != Z_OK) {
      refuse(name, "packed data is damaged");
    }
  }
}

}  // namespace zebroid
