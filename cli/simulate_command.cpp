#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <optional>

#include "cli/commands.hpp"
#include "cli/result.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "report/gantt_svg.hpp"
#include "report/table.hpp"
#include "schedule/files.hpp"
#include "schedule/verify.hpp"
#include "sim/simulate.hpp"
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

void write_files(const OutputFiles& files, const Job& job, const std::string& name, bool first) {
  const auto& [scenario, plan] = job;
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

/// 0, or 3 when nothing that was asked for fits.
int finish(const Resolved& resolved, Json results, const std::vector<std::string>& notes,
           const Output& output) {
  bool some_fits = false;
  for (const Json& result : results) some_fits = some_fits || result["feasible"].get<bool>();
  const Json document = result_document(resolved, std::move(results), notes);
  print_out(output.json ? to_text(document, 2) + "\n"
                        : result_table(document, use_color(output.color)));
  if (some_fits) return 0;
  for (const Json& result : document["results"]) {
    print_note(fmt::format("zebroid: {} does not fit: {}", result["strategy"].get<std::string>(),
                           result["reason"].get<std::string>()));
  }
  return static_cast<int>(ErrorKind::infeasible);
}

}  // namespace

int simulate_command(const Request& request, const OutputFiles& files, const Output& output) {
  const Resolver resolver(request, {"zebra", "ep", "dist-ep", "ep-ideal"});
  const Scorer score = make_scorer(resolver.predictor().fast_fidelity());
  Resolved resolved = resolver.resolve({});
  settle_batch(resolved, resolver.plans(), score);
  Json results = Json::array();
  std::vector<std::string> notes = resolved.scenario.cluster.notes;
  std::vector<std::string> left_out;
  Progress progress("strategies", resolver.plans().size(), output.quiet);
  for (std::size_t i = 0; i < resolver.plans().size(); ++i) {
    const PlanRequest& plan_request = resolver.plans()[i];
    const std::string& strategy = name_of(plan_request.strategy);
    std::vector<PredictedJob> jobs;
    try {
      jobs = predict_jobs(resolver.predictor(), resolved.scenario, plan_request, score);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::input || !resolver.by_default()) throw;
      left_out.push_back(fmt::format("{}: {}", strategy, error.what()));
    }
    for (const PredictedJob& job : jobs) {
      notes.insert(notes.end(), job.job.plan.notes.begin(), job.job.plan.notes.end());
    }
    if (!jobs.empty()) {
      results.push_back(result_json(jobs, resolved, plan_request));
      write_files(files, jobs, strategy, results.size() == 1);
    }
    progress.update(i + 1, "");
  }
  if (results.empty()) throw Error(ErrorKind::input, fmt::format("{}", fmt::join(left_out, "\n")));
  for (const std::string& why : left_out) notes.push_back("without " + why);
  return finish(resolved, std::move(results), notes, output);
}

int simulate_file_command(const std::string& path, const PredictionRequest& prediction_request,
                          const OutputFiles& files, const Output& output) {
  const Predictor predictor(prediction_request);
  ScheduleFile file = read_schedule(read_json(path));
  refuse_faults(file.schedule, path);
  const PredictedLoad load(file.schedule, file.scenario);
  Plan plan;
  plan.timeline = make_scorer(predictor.fast_fidelity())(file.schedule, load, {});
  plan.memory = peak_memory(file.schedule, file.scenario, load);
  plan.schedule = std::move(file.schedule);
  judge(plan, file.scenario);
  const Resolved resolved{file.scenario, BatchRule::given};
  Job job{std::move(file.scenario), std::move(plan)};
  Prediction prediction = predictor.predict(job.plan, job.scenario);
  write_files(files, job, "schedule", true);
  Json result = result_json({{std::move(job), std::move(prediction)}}, resolved, {});
  result["strategy"] = "schedule";
  result.erase("expert_assignment");
  return finish(resolved, Json::array({std::move(result)}), {}, output);
}

}  // namespace zebroid
