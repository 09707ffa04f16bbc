#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/units.hpp"
#include "models/measured.hpp"

namespace zebroid {

/// One measurement of one operation, whatever file it came from. Formats: docs/formats/samples.md.
struct Sample {
  std::string gpu;  ///< catalogue name where the device is known, else as the file names it
  MeasuredOp op = MeasuredOp::gemm;
  std::string kernel;  ///< library or kernel, as vllm_flash_attn; of elementwise ops which one:
                       ///< rms_norm, add, rope, silu_mul, embedding
  std::string dtype;   ///< bf16, fp16, fp32, int8, ...
  bool backward = false;
  Shape shape{};  ///< by axes_of(op), the rest 0
  Seconds time;   ///< median where the file has one, else mean; of one run
  std::uint32_t repeats = 1;
  double scatter = 0;    ///< standard deviation over mean of the repeats; 0 = not known
  std::string source;    ///< the file
  std::size_t line = 0;  ///< counted from 1
  std::string date;      ///< as the file says; "" = not known

  friend bool operator==(const Sample&, const Sample&) = default;
};

/// What a reader found. Lines that make no sense are left out and named in `complaints`
/// ("x.csv:12: expected a time above 0, got -3"), at most `most_complaints` of a file, then a
/// count of the others; the rest of the file is still used.
struct Samples {
  std::vector<Sample> samples;
  std::vector<std::string> complaints;
  std::vector<std::string> notes;  ///< what was assumed or left out on purpose, for people
};
inline constexpr std::size_t most_complaints = 10;

}  // namespace zebroid
