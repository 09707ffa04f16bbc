#include "planner/robustness.hpp"

#include <fmt/format.h>

#include <algorithm>
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

void speed_up(std::optional<BytesPerSecond>& rate, double factor) {
  if (rate) *rate = *rate * factor;
}

/// What links reach, not the rates that the cluster states: by those a NIC finds its row. Measured
/// collectives by no more than they may be off themselves.
void speed_up_links(Scenario& scenario, double factor) {
  std::vector<LinkRate>& links = scenario.calibration.links;
  for (std::size_t l = 0; l < link_count; ++l) {
    const auto link = static_cast<Link>(l);
    const bool known = std::any_of(links.begin(), links.end(),
                                   [&](const LinkRate& row) { return row.link == link; });
    if (!known) links.push_back({.link = link, .nic_Gbps = 1});
  }
  for (LinkRate& row : links) row.efficiency *= factor;
  for (NodeGroup& row : scenario.cluster.rows) speed_up(row.host_bridge, factor);
  for (Rack& rack : scenario.cluster.racks) rack.uplink = rack.uplink * factor;
  for (auto& [name, kind] : scenario.calibration.gpus) {
    for (CollectiveFit& fit : kind.collectives) {
      const double most = 1 + error_of(fit.evidence);
      fit.rate *= std::clamp(factor, 1 / most, most);
    }
  }
}

/// The worst of the ports that there are.
Evidence evidence_of_links(const Scenario& scenario) {
  const Network network = network_of(scenario);
  const auto worst =
      std::max_element(network.ports().begin(), network.ports().end(),
                       [](const Port& a, const Port& b) { return a.evidence < b.evidence; });
  return worst == network.ports().end() ? Evidence::roofline : worst->evidence;
}

/// Of the class's kernels: where some were measured, most are near one of them.
Evidence evidence_of_kernels(const Scenario& scenario, const GpuSpec& kind, KernelClass kernel,
                             Evidence curve) {
  const auto& tables = scenario.calibration.tables(kind.name);
  const bool measured = std::any_of(tables.begin(), tables.end(), [&](const MeasuredTable& table) {
    const MeasuredOp op = table.key().op;
    return !is_collective(op) && class_of(op) == kernel;
  });
  return measured ? Evidence::interpolated : curve;
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
      if (!curve) continue;
      both_ways(
          {kind.name, kernel, evidence_of_kernels(scenario, kind, kernel, curve->evidence), 1});
    }
  }
  both_ways({"", std::nullopt, evidence_of_links(scenario), 1});
  return out;
}

double tokens_per_s(const Way& way, const Assumption& assumption, const Scorer& score) {
  return rerun(way, score, [&](Scenario& scenario) {
    if (assumption.kernel) {
      speed_up_kernel(scenario, assumption.gpu, *assumption.kernel, assumption.rate);
    } else {
      speed_up_links(scenario, assumption.rate);
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
