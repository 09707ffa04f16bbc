#pragma once

#include <string>

#include "cli/request.hpp"
#include "core/json.hpp"
#include "planner/planner.hpp"

namespace zebroid {

/// The fast engine for the planner; lets Ctrl-C through.
Scorer make_scorer(Fidelity fidelity);

/// With BatchRule::max, sets the largest global batch whose plans all fit; throws Error(infeasible)
/// when none does.
void settle_batch(Resolved& resolved, const std::vector<PlanRequest>& plans, const Scorer& score);

/// One entry of "results" (docs/formats/result.md).
Json result_json(const Plan& plan, const Prediction& prediction, const Resolved& resolved,
                 const PlanRequest& request);
/// The document around entries.
Json result_document(const Resolved& resolved, Json results, const std::vector<std::string>& notes);

}  // namespace zebroid
