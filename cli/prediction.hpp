#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/scenario.hpp"
#include "planner/planner.hpp"
#include "schedule/what_if.hpp"
#include "sim/agreement.hpp"
#include "sim/simulate.hpp"

namespace zebroid {

/// How a planned schedule is predicted, as flags or in a --scenario file; not given = the default.
struct PredictionRequest {
  std::optional<std::string> engine;  ///< an engine or "both"
  std::optional<std::string> fidelity;
  std::vector<std::string> slow;  ///< rank=3:0.8, port=node0 nic out:0.5

  friend bool operator==(const PredictionRequest&, const PredictionRequest&) = default;
};

/// What stands behind a prediction.
struct Prediction {
  Engine engine = Engine::fast;
  Fidelity fidelity = Fidelity::pair;
  std::optional<double> overlap_fraction;  ///< of the timeline, where it is approximate
  std::vector<Slowdown> slowdowns;
  Seconds planned;                     ///< iteration without them, by the fast engine
  std::optional<Agreement> agreement;  ///< of SimGrid with the fast engine, when both ran
  Fidelity simgrid_fidelity = Fidelity::pair;
  Seconds simgrid_iteration;
};

/// A request, read.
class Predictor {
 public:
  /// Throws Error(input) naming the flag, Error(hardware) for an engine that is not here.
  explicit Predictor(const PredictionRequest& request);

  /// Replaces the timeline of a plan, made by the fast engine without slowdowns, where something
  /// else was asked for. Throws Error(input) for a slow rank or port that the plan has not.
  Prediction predict(Plan& plan, const Scenario& scenario) const;
  /// With which the fast engine plans and predicts.
  Fidelity fast_fidelity() const {
    return fidelity_ == Fidelity::port ? Fidelity::automatic : fidelity_;
  }

 private:
  /// Pictures and files of a timeline say what was slow.
  void name_slowdowns(Timeline& timeline) const;

  bool fast_ = true;
  bool simgrid_ = false;
  Fidelity fidelity_ = Fidelity::automatic;
  std::vector<Slowdown> slowdowns_;
};

/// "engine", "fidelity", and where they apply "what_if" and "engines" (docs/formats/result.md).
Json to_json(const Prediction& prediction, Seconds iteration);

}  // namespace zebroid
