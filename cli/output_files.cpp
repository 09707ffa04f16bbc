#include "cli/output_files.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <map>

#include "core/error.hpp"
#include "core/file.hpp"
#include "report/gantt_svg.hpp"
#include "schedule/files.hpp"
#include "traces/perfetto.hpp"

namespace zebroid {
namespace {

namespace fs = std::filesystem;

/// "step.svg" for the first schedule, "step.ep.svg", "step.ep-ideal.V100-16GB.svg" for others.
fs::path name_for(const std::string& file, const std::string& name, bool first) {
  if (first) return file;
  fs::path path(file);
  const std::string extension = path.extension().string();
  path.replace_extension(name + extension);
  return path;
}

}  // namespace

void refuse_bad_outputs(const OutputFiles& files, const std::vector<std::string>& inputs) {
  std::map<fs::path, std::string> uses;  // of regular files
  const auto absolute = [](const std::string& file) {
    return fs::weakly_canonical(fs::absolute(file));
  };
  for (const std::string& input : inputs) uses.emplace(absolute(input), "it is an input");
  const auto check = [&](const std::string& flag, const std::optional<std::string>& file) {
    if (!file) return;
    if (file->empty()) throw Error(ErrorKind::input, flag + ": expected a file name, got none");
    try_to_write(*file);
    if (fs::exists(*file) && !fs::is_regular_file(*file)) return;
    const auto [other, is_new] = uses.emplace(absolute(*file), flag + " writes that file too");
    if (is_new) return;
    throw Error(ErrorKind::input,
                fmt::format("{} {}: {}; give another name", flag, *file, other->second));
  };
  check("--schedule", files.schedule);
  check("--timeline", files.timeline);
  check("--trace", files.trace);
  check("--svg", files.svg);
}

void write_files(const OutputFiles& files, const Job& job, const std::string& name, bool first) {
  const Scenario& scenario = job.scenario;
  const Plan& plan = job.plan;
  const auto write = [&](const std::optional<std::string>& file, const auto& make) {
    if (file.has_value()) write_file(name_for(*file, name, first), make());
  };
  const auto timeline = [&] { return to_json(plan.timeline, plan.schedule, scenario); };
  write(files.schedule, [&] { return to_text(to_json(plan.schedule, scenario)) + "\n"; });
  write(files.timeline, [&] { return to_text(timeline()) + "\n"; });
  write(files.svg, [&] { return gantt_svg(timeline()); });
  write(files.trace,
        [&] { return to_text(perfetto_trace(plan.timeline, plan.schedule, scenario)) + "\n"; });
}

void write_files(const OutputFiles& files, const std::vector<PredictedJob>& jobs,
                 const std::string& strategy, bool first) {
  for (const PredictedJob& predicted : jobs) {
    std::string name = strategy;
    if (jobs.size() > 1) name += "." + predicted.job.scenario.cluster.name;
    write_files(files, predicted.job, name, first);
    first = false;
  }
}

}  // namespace zebroid
