// Until the reader of nccl-tests logs is here.

#include "traces/readers.hpp"

namespace zebroid {

Samples read_nccl_log(std::string_view /*text*/, const std::string& /*name*/,
                      const ReadOptions& /*options*/) {
  return {};
}

}  // namespace zebroid
