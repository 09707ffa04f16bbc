#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "cli/commands.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "models/config_dir.hpp"
#include "report/table.hpp"
#include "traces/calibrate.hpp"
#include "traces/readers.hpp"

namespace zebroid {
namespace {

/// Kinds that a user may have measured: the catalogue's, and those that a cluster describes.
std::vector<GpuSpec> known_gpus(const std::optional<std::string>& cluster) {
  std::vector<GpuSpec> out = gpu_catalogue();
  if (!cluster) return out;
  const std::vector<GpuSpec> kinds = load_cluster(*cluster, std::nullopt).kinds;
  out.insert(out.begin(), kinds.begin(), kinds.end());
  return out;
}

Json held_out_json(const HeldOut& held) {
  if (held.points == 0) return nullptr;
  return {{"points", held.points}, {"median", held.median}, {"p90", held.p90}};
}

Json report_json(const FitReport& report, const GpuCalibration& calibration) {
  Json out;
  out["gpu"] = report.gpu;
  out["op"] = name_of(report.key.op);
  out["kernel"] = report.key.kernel;
  out["dtype"] = report.key.dtype;
  out["direction"] = report.key.backward ? "backward" : "forward";
  out["points"] = report.points;
  out["error_interpolated"] = held_out_json(report.interpolated);
  out["error_extrapolated"] = held_out_json(report.extrapolated);
  out["error_of_curve"] = held_out_json(report.curve);
  if (report.ranks == 0) return out;
  out["ranks"] = report.ranks;
  out["ranks_per_node"] = report.ranks_per_node;
  for (const CollectiveFit& fit : calibration.collectives) {
    const bool same = fit.op == report.key.op && fit.ranks == report.ranks &&
                      fit.ranks_per_node == report.ranks_per_node;
    if (same) out["pieces"] = to_json(fit)["pieces"];
  }
  return out;
}

std::string percent(const Json& held, const char* key) {
  if (held.is_null()) return "-";
  return format_percent(held[key].get<double>());
}

std::string title_of(const Json& report) {
  std::string out = report["op"].get<std::string>();
  for (const char* key : {"kernel", "dtype"}) {
    const auto text = report[key].get<std::string>();
    if (!text.empty()) out += " " + text;
  }
  if (report["direction"] == "backward") out += " backward";
  return out;
}

/// A piece whose times do not grow has the largest rate that there is.
std::string rate_text(double algbw_GBps) {
  constexpr double any = 1e9;
  return algbw_GBps < any ? fmt::format("{:.3g} GB/s", algbw_GBps) : "-";
}

std::string reports_text(const Json& reports, bool color) {
  constexpr std::size_t widest = 44;
  Table table({"GPU", "measured", "points", "interpolated", "p90", "extrapolated", "p90", "curve"});
  Table pieces({"GPU", "collective", "from bytes", "alpha", "algbw"});
  for (const Json& report : reports) {
    const Json& in = report["error_interpolated"];
    const Json& out = report["error_extrapolated"];
    table.add_row({report["gpu"].get<std::string>(), shortened(title_of(report), widest),
                   format_number(report["points"].get<double>()), percent(in, "median"),
                   percent(in, "p90"), percent(out, "median"), percent(out, "p90"),
                   percent(report["error_of_curve"], "median")});
    if (!report.contains("pieces")) continue;
    for (const Json& piece : report["pieces"]) {
      pieces.add_row({report["gpu"].get<std::string>(), title_of(report),
                      format_number(piece["from_bytes"].get<double>()),
                      fmt::format("{:.1f} µs", piece["alpha_us"].get<double>()),
                      rate_text(piece["GBps"].get<double>())});
    }
  }
  std::string text = table.text(color);
  text +=
      "  errors on points held back: every fifth from the others; the smallest and largest sizes "
      "from those\n  within an octave; the curve (of collectives alpha and beta) alone\n";
  const bool collectives = std::any_of(
      reports.begin(), reports.end(), [](const Json& report) { return report.contains("pieces"); });
  if (collectives) text += "\n" + pieces.text(color);
  return text;
}

Json calibration_file(const Calibrated& calibrated, bool curves_only) {
  Json kinds = Json::array();
  for (const auto& [gpu, known] : calibrated.calibration.gpus) {
    GpuCalibration kept = known;
    if (curves_only) kept.tables.clear();
    kinds.push_back(to_json(kept, {gpu}, ""));
  }
  return {{"schema", "zebroid.calibration/2"}, {"kinds", kinds}};
}

bool is_inside(const std::filesystem::path& file, const std::filesystem::path& folder) {
  std::error_code none;
  const auto parent = std::filesystem::weakly_canonical(folder, none);
  const auto child = std::filesystem::weakly_canonical(file, none);
  const auto [end, ignored] =
      std::mismatch(parent.begin(), parent.end(), child.begin(), child.end());
  return std::filesystem::is_directory(parent, none) && end == parent.end();
}

/// Outputs are neither inputs nor each other.
void refuse_overwriting(const CalibrateRequest& request) {
  std::vector<std::string> taken = request.files;
  for (const auto& [flag, file] :
       {std::pair{"--output", request.output}, std::pair{"--samples", request.samples_output}}) {
    if (!file) continue;
    const auto same = [&, output = *file](const std::string& other) {
      std::error_code none;
      return other == output || std::filesystem::equivalent(other, output, none) ||
             (std::filesystem::exists(output, none) && is_inside(output, other));
    };
    if (std::any_of(taken.begin(), taken.end(), same)) {
      throw Error(ErrorKind::input,
                  fmt::format("{} {}: would overwrite another file of this command", flag, *file));
    }
    taken.push_back(*file);
  }
}

Calibrated calibrated_from(const std::vector<Sample>& samples, const std::vector<GpuSpec>& known,
                           const Output& output) {
  std::optional<Progress> progress;
  return calibrate(samples, known, load_calibration({}), [&](std::size_t done, std::size_t total) {
    stop_if_interrupted();
    if (!progress) progress.emplace("tables", total, output.quiet);
    progress->update(done, "");
  });
}

}  // namespace

int calibrate_command(const CalibrateRequest& request, const std::optional<std::string>& cluster,
                      const Output& output) {
  refuse_overwriting(request);
  const std::vector<std::filesystem::path> paths(request.files.begin(), request.files.end());
  const std::vector<GpuSpec> known = known_gpus(cluster);
  if (request.gpu && !position_of(*request.gpu, known)) {
    throw Error(ErrorKind::input, "--gpu: " + unknown_gpu(*request.gpu, known));
  }
  const Samples read = read_measurements(paths, {request.gpu.value_or("")});
  const Calibrated calibrated = calibrated_from(read.samples, known, output);
  std::vector<std::string> complaints = read.complaints;
  complaints.insert(complaints.end(), calibrated.warnings.begin(), calibrated.warnings.end());

  Json reports = Json::array();
  for (const FitReport& report : calibrated.reports) {
    reports.push_back(report_json(report, calibrated.calibration.gpus.at(report.gpu)));
  }
  if (request.samples_output) write_file(*request.samples_output, to_ndjson(read.samples));
  if (reports.empty()) {
    for (const std::string& complaint : complaints) print_note(complaint);
    throw Error(ErrorKind::input, "nothing to calibrate from in these files");
  }
  if (request.output) {
    write_file(*request.output,
               to_text(calibration_file(calibrated, request.curves_only), 1) + "\n");
  }
  if (output.json) {
    const Json document = {{"schema", "zebroid.calibrate/1"},
                           {"samples", read.samples.size()},
                           {"reports", reports},
                           {"complaints", complaints},
                           {"notes", read.notes}};
    print_out(to_text(document, 2) + "\n");
    return 0;
  }
  print_out(reports_text(reports, use_color(output.color)));
  for (const std::string& complaint : complaints) print_note("warning: " + complaint);
  if (!output.quiet) {
    for (const std::string& note : read.notes) print_note("note: " + note);
  }
  return 0;
}

}  // namespace zebroid
