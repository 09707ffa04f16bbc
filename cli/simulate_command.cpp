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

/// "step.svg" for the first strategy, "step.ep.svg" for further ones.
fs::path name_for(const std::string& file, const std::string& strategy, bool first) {
  if (first) return file;
  fs::path path(file);
  const std::string extension = path.extension().string();
  path.replace_extension(strategy + extension);
  return path;
}

void write_files(const OutputFiles& files, const Plan& plan, const Scenario& scenario,
                 const std::string& strategy, bool first) {
  const auto write = [&](const std::optional<std::string>& file, const auto& make) {
    if (file.has_value()) write_file(name_for(*file, strategy, first), make());
  };
  const auto timeline = [&] { return to_json(plan.timeline, plan.schedule, scenario); };
  write(files.schedule, [&] { return to_text(to_json(plan.schedule, scenario)) + "\n"; });
  write(files.timeline, [&] { return to_text(timeline()) + "\n"; });
  write(files.svg, [&] { return gantt_svg(timeline()); });
  write(files.trace,
        [&] { return to_text(perfetto_trace(plan.timeline, plan.schedule, scenario)) + "\n"; });
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
  const Resolver resolver(request);
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
    std::optional<Plan> best;
    try {
      best = plan(resolved.scenario, plan_request, score);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::input || !resolver.every_strategy()) throw;
      left_out.push_back(fmt::format("{}: {}", strategy, error.what()));
    }
    if (best) {
      notes.insert(notes.end(), best->notes.begin(), best->notes.end());
      const Prediction prediction = resolver.predictor().predict(*best, resolved.scenario);
      results.push_back(result_json(*best, prediction, resolved, plan_request));
      write_files(files, *best, resolved.scenario, strategy, results.size() == 1);
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
  plan.timeline = make_scorer(predictor.fast_fidelity())(file.schedule, load, true);
  plan.memory = peak_memory(file.schedule, file.scenario, load);
  plan.schedule = std::move(file.schedule);
  judge(plan, file.scenario);
  const Resolved resolved{std::move(file.scenario), BatchRule::given};
  const Prediction prediction = predictor.predict(plan, resolved.scenario);
  Json result = result_json(plan, prediction, resolved, {});
  result["strategy"] = "schedule";
  result.erase("expert_assignment");
  write_files(files, plan, resolved.scenario, "schedule", true);
  return finish(resolved, Json::array({std::move(result)}), {}, output);
}

}  // namespace zebroid
