#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "traces/sample.hpp"

namespace zebroid {

/// What a caller says about a file that does not say it itself.
struct ReadOptions {
  std::string gpu;  ///< GPU kind of measurements whose file names no device; "" = from its name
};

// Each reads one format from a text; `name` is what complaints call it. None throws for what a file
// holds: what is not understood is complained about, line by line.

/// CSV tables of kernels and collectives: AIConfigurator's (gemm, moe, context_attention, nccl),
/// Vidur's (mlp, send_recv), DeepBench's GEMM, and our own sample format as CSV.
Samples read_kernel_table(std::string_view text, const std::string& name,
                          const ReadOptions& options);
/// Logs of nccl-tests, all versions: *_perf programs, out-of-place columns.
Samples read_nccl_log(std::string_view text, const std::string& name, const ReadOptions& options);
/// Our own format, one JSON object per line after a line with the schema.
Samples read_samples(std::string_view text, const std::string& name);
std::string to_ndjson(const std::vector<Sample>& samples);

/// The catalogue name of a device as drivers print it ("NVIDIA A100-SXM4-80GB", "Tesla T4"), or
/// "" when nobody knows it.
std::string gpu_of_device(std::string_view device);

/// All of the above by what the files hold, folders with everything in them, gzip unpacked. A file
/// of no known format is complained about. Throws Error(input) for a path that does not exist.
Samples read_measurements(const std::vector<std::filesystem::path>& paths,
                          const ReadOptions& options);

}  // namespace zebroid
