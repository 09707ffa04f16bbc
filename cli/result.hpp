#pragma once

#include <string>

#include "cli/request.hpp"
#include "core/json.hpp"
#include "planner/jobs.hpp"

namespace zebroid {

/// The fast engine for the planner; lets Ctrl-C through.
Scorer make_scorer(Fidelity fidelity);

/// With BatchRule::max, sets the largest global batch whose plans all fit; of strategies that
/// nobody named only those count that fit at all. Throws Error(infeasible) when none does.
void settle_batch(Resolved& resolved, const Resolver& resolver, const Scorer& score);

/// A job with what stands behind its prediction.
struct PredictedJob {
  Job job;
  Prediction prediction;
};

/// Plans what a strategy makes of a scenario and predicts it.
std::vector<PredictedJob> predict_jobs(const Predictor& predictor, const Scenario& scenario,
                                       const PlanRequest& request, const Scorer& score);

/// One entry of "results" (docs/formats/result.md): of one job, or of several that run side by
/// side. resolved: of all of them.
Json result_json(const std::vector<PredictedJob>& jobs, const Resolved& resolved,
                 const PlanRequest& request);
/// The document around entries.
Json result_document(const Resolved& resolved, Json results, const std::vector<std::string>& notes);

}  // namespace zebroid
