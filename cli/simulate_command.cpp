#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cli/commands.hpp"
#include "cli/output_files.hpp"
#include "cli/result.hpp"
#include "cli/strictness.hpp"
#include "core/error.hpp"
#include "report/table.hpp"
#include "schedule/files.hpp"
#include "schedule/verify.hpp"
#include "sim/simulate.hpp"

namespace zebroid {
namespace {

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
  const Resolver resolver(request, {"zebra", "ep", "dist-ep", "ep-ideal", "pp"});
  const Scorer score = make_scorer(resolver.predictor().fast_fidelity());
  Resolved resolved = resolver.resolve({});
  settle_batch(resolved, resolver, score);
  Json results = Json::array();
  std::vector<std::string> notes = resolved.scenario.cluster.notes;
  std::vector<std::string> left_out;
  int exit_code = 0;
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
      const auto weak = judge_evidence(jobs, resolver.strict(), results.back());
      exit_code = std::max(exit_code, strict_exit_code(strategy, weak, resolver.strict()));
      write_files(files, jobs, strategy, results.size() == 1);
    }
    progress.update(i + 1, "");
  }
  if (results.empty()) throw Error(ErrorKind::input, fmt::format("{}", fmt::join(left_out, "\n")));
  for (const std::string& why : left_out) notes.push_back("without " + why);
  return std::max(exit_code, finish(resolved, std::move(results), notes, output));
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
  Job job{{}, std::move(file.scenario), std::move(plan)};
  Prediction prediction = predictor.predict(job.plan, job.scenario);
  write_files(files, job, "schedule", true);
  Json result = result_json({{std::move(job), std::move(prediction)}}, resolved, {});
  result["strategy"] = "schedule";
  result.erase("expert_assignment");
  return finish(resolved, Json::array({std::move(result)}), {}, output);
}

}  // namespace zebroid
