#include "fuzz/checks.hpp"
#include "models/calibration.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace zebroid;
  constexpr JsonLimits limits = {.bytes = std::size_t{1} << 20U, .values = 10'000};
  try {
    const JsonDocument document =
        parse_json(std::string(fuzz::text_of(data, size)), "x.json", limits);
    Faults faults;
    const Cluster cluster = read_cluster(JsonView(document, faults));
    Faults of_calibration;  // the same text may be one
    const Calibration calibration = read_calibration(JsonView(document, of_calibration));
    if (of_calibration.empty()) to_json(calibration, {});
    if (!faults.empty()) return 0;
    const JsonDocument again = parse_json(to_text(to_json(cluster)), "again");
    fuzz::require(read_cluster(JsonView(again, faults)) == cluster && faults.empty());
  } catch (const Error& error) {
    fuzz::require(error.kind() == ErrorKind::input);
  }
  return 0;
}
