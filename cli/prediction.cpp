#include "cli/prediction.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/request.hpp"
#include "cli/terminal.hpp"
#include "core/error.hpp"

namespace zebroid {
namespace {

const std::string& name_of(Fidelity fidelity) {
  return fidelity_names()[static_cast<std::size_t>(fidelity)];
}

/// Which engine to believe, and why.
std::pair<std::string, std::string> trust(const Agreement& agreement, Fidelity fast,
                                          Fidelity simgrid) {
  if (!agreement.parting) return {"both", "no op differs"};
  if (fast == Fidelity::profile) {
    return {
        simgrid == Fidelity::pair ? "simgrid" : "neither",
        "profile gives exchanges that share ports one rate each, which approximates pair's flow "
        "to each peer"};
  }
  if (simgrid == Fidelity::port) {
    return {"fast",
            "port drains one volume on each of a member's ports, which approximates pair's flow to "
            "each peer"};
  }
  return {"neither", "both share ports flow by flow and should agree; please report it"};
}

Json parting_json(const Parting& parting) {
  Json out;
  out["rank"] = parting.rank.value;
  out["op"] = name_of(parting.op);
  out["fast_s"] = parting.reference.value;
  out["simgrid_s"] = parting.other.value;
  if (!parting.port.empty()) out["port"] = parting.port;
  if (!parting.shared_with.empty()) out["port_shared_with"] = parting.shared_with;
  return out;
}

}  // namespace

Predictor::Predictor(const PredictionRequest& request) {
  std::vector<std::string> engines = engine_names();
  engines.emplace_back("both");
  const std::string engine = request.engine.value_or("fast");
  parse_choice("--engine", engine, engines);
  fast_ = engine != "simgrid";
  simgrid_ = engine != "fast";
  if (simgrid_) require_engine(Engine::simgrid);
  if (request.fidelity) {
    fidelity_ =
        static_cast<Fidelity>(parse_choice("--fidelity", *request.fidelity, fidelity_names()));
  }
  if (fidelity_ == Fidelity::port && !simgrid_) {
    throw Error(ErrorKind::input, "--fidelity: port needs --engine simgrid or both");
  }
  if (fidelity_ == Fidelity::profile && !fast_) {
    throw Error(ErrorKind::input, "--fidelity: profile needs --engine fast or both");
  }
  for (const std::string& text : request.slow) slowdowns_.push_back(parse_slowdown(text));
}

void Predictor::name_slowdowns(Timeline& timeline) const {
  for (const Slowdown& slowdown : slowdowns_) timeline.origin += ", " + name_of(slowdown);
}

Prediction Predictor::predict(Plan& plan, const Scenario& scenario) const {
  const PredictedLoad planned(plan.schedule, scenario);
  const WhatIf load(planned, plan.schedule, slowdowns_);
  SimulateOptions options{
      .verified = true, .fidelity = fast_fidelity(), .poll = stop_if_interrupted};
  Prediction out;
  out.slowdowns = slowdowns_;
  out.planned = plan.timeline.makespan();
  if (fast_ && !slowdowns_.empty()) plan.timeline = simulate(plan.schedule, load, options);
  out.fidelity = zebroid::fast_fidelity(plan.timeline);
  out.overlap_fraction = plan.timeline.overlap_fraction;
  if (!simgrid_) {
    name_slowdowns(plan.timeline);
    return out;
  }
  options.engine = Engine::simgrid;
  options.fidelity = out.simgrid_fidelity = simgrid_fidelity(
      fidelity_ == Fidelity::profile ? Fidelity::automatic : fidelity_, plan.schedule);
  Timeline grid = simulate(plan.schedule, load, options);
  out.simgrid_iteration = grid.makespan();
  if (fast_) {
    out.agreement = compare(plan.schedule, load, plan.timeline, grid);
  } else {
    out.engine = Engine::simgrid;
    out.fidelity = out.simgrid_fidelity;
    out.overlap_fraction.reset();
    plan.timeline = std::move(grid);
  }
  name_slowdowns(plan.timeline);
  return out;
}

Json to_json(const Prediction& prediction, Seconds iteration) {
  Json out;
  out["engine"] = engine_names()[static_cast<std::size_t>(prediction.engine)];
  out["fidelity"] = name_of(prediction.fidelity);
  if (prediction.overlap_fraction) {
    out["overlapped_communication_fraction"] = *prediction.overlap_fraction;
  }
  for (const Slowdown& slowdown : prediction.slowdowns) {
    out["what_if"].push_back(name_of(slowdown));
  }
  if (!prediction.slowdowns.empty()) out["iteration_without_what_if_s"] = prediction.planned.value;
  if (!prediction.agreement) return out;
  const Agreement& agreement = *prediction.agreement;
  Json& engines = out["engines"];
  engines["fast"] = {{"fidelity", name_of(prediction.fidelity)}, {"iteration_s", iteration.value}};
  engines["simgrid"] = {{"fidelity", name_of(prediction.simgrid_fidelity)},
                        {"iteration_s", prediction.simgrid_iteration.value}};
  engines["iteration_difference_fraction"] = agreement.makespan;
  engines["op_end_p90_difference_fraction"] = agreement.p90;
  engines["op_end_largest_difference_fraction"] = agreement.worst;
  if (agreement.parting) engines["first_difference"] = parting_json(*agreement.parting);
  const auto [trusted, why] = trust(agreement, prediction.fidelity, prediction.simgrid_fidelity);
  engines["trust"] = trusted;
  engines["trust_reason"] = why;
  return out;
}

}  // namespace zebroid
