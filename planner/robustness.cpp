#include "planner/robustness.hpp"

#include <fmt/format.h>

#include <cmath>

namespace zebroid {
namespace {

template <class Change>
double rerun(const Way& way, const Scorer& score, const Change& change) {
  const bool some_fit = way.fits();
  double out = 0;
  for (const Job& job : way.jobs) {
    if (some_fit && !job.plan.lacks_memory.empty()) continue;
    Scenario scenario = job.scenario;
    change(scenario);
    const Schedule& schedule = job.plan.schedule;
    const Timeline timeline = score(schedule, PredictedLoad(schedule, scenario), {});
    out += static_cast<double>(scenario.training.global_batch_sequences) *
           scenario.training.sequence_length / timeline.makespan().value;
  }
  return out;
}

void speed_up(BytesPerSecond& rate, double factor) { rate = rate * factor; }
void speed_up(std::optional<BytesPerSecond>& rate, double factor) {
  if (rate) *rate = *rate * factor;
}

void speed_up_links(Cluster& cluster, double factor) {
  speed_up(cluster.nic, factor);
  for (NodeGroup& row : cluster.rows) {
    speed_up(row.nic, factor);
    speed_up(row.host_bridge, factor);
  }
  for (Rack& rack : cluster.racks) speed_up(rack.uplink, factor);
  for (GpuSpec& kind : cluster.kinds) {
    speed_up(kind.link, factor);
    speed_up(kind.pcie, factor);
  }
}

void speed_up_kernel(Scenario& scenario, const std::string& gpu, KernelClass kernel, double rate) {
  for (const GpuSpec& kind : scenario.cluster.kinds) {
    if (kind.name != gpu) continue;
    auto curve = scenario.calibration.curve(kind, kernel);
    if (!curve) continue;
    curve->rate *= rate;
    scenario.calibration.gpus[gpu].curves.at(static_cast<std::size_t>(kernel)) = *curve;
  }
}

}  // namespace

double error_of(Evidence evidence) {
  constexpr double measured = 0.05;
  constexpr double interpolated = 0.12;
  constexpr double extrapolated = 0.25;
  constexpr double roofline = 0.40;
  switch (evidence) {
    case Evidence::measured:
      return measured;
    case Evidence::interpolated:
      return interpolated;
    case Evidence::extrapolated:
      return extrapolated;
    case Evidence::roofline:
      return roofline;
  }
  return roofline;
}

std::string name_of(const Assumption& assumption) {
  constexpr double hundred = 100;
  const bool faster = assumption.rate > 1;
  const double share = faster ? assumption.rate - 1 : 1 / assumption.rate - 1;
  const std::string what =
      assumption.kernel ? fmt::format("{} on {}", name_of(*assumption.kernel), assumption.gpu)
                        : "the network";
  return fmt::format("{} {:.0f} % {}", what, hundred * share, faster ? "faster" : "slower");
}

std::vector<Assumption> assumptions_of(const Scenario& scenario) {
  std::vector<Assumption> out;
  const auto both_ways = [&](Assumption assumption) {
    const double error = 1 + error_of(assumption.evidence);
    for (const double rate : {1 / error, error}) {
      assumption.rate = rate;
      out.push_back(assumption);
    }
  };
  std::vector<char> present(scenario.cluster.kinds.size(), 0);
  for (const Gpu& gpu : gpus_of(scenario.cluster)) present[gpu.kind] = 1;
  for (std::size_t k = 0; k < present.size(); ++k) {
    if (present[k] == 0) continue;
    const GpuSpec& kind = scenario.cluster.kinds[k];
    for (std::size_t c = 0; c < kernel_class_count; ++c) {
      const auto kernel = static_cast<KernelClass>(c);
      const auto curve = scenario.calibration.curve(kind, kernel);
      if (curve) both_ways({kind.name, kernel, curve->evidence, 1});
    }
  }
  both_ways({"", std::nullopt, Evidence::roofline, 1});
  return out;
}

double tokens_per_s(const Way& way, const Assumption& assumption, const Scorer& score) {
  return rerun(way, score, [&](Scenario& scenario) {
    if (assumption.kernel) {
      speed_up_kernel(scenario, assumption.gpu, *assumption.kernel, assumption.rate);
    } else {
      speed_up_links(scenario.cluster, assumption.rate);
    }
  });
}

double tokens_per_s(const Way& way, const RoutingRequest& routing, const Scorer& score) {
  return rerun(way, score, [&](Scenario& scenario) {
    std::vector<bool> has_experts;
    for (const Layer& layer : scenario.model.layers) has_experts.push_back(layer.has_experts);
    scenario.routing = routing;
    scenario.shares =
        make_routing(routing, has_experts, scenario.model.experts, scenario.model.top_k);
  });
}

}  // namespace zebroid
