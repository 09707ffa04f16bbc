#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "cli/commands.hpp"
#include "cli/kernel_spec.hpp"
#include "core/error.hpp"
#include "models/collective_times.hpp"
#include "models/cost_model.hpp"
#include "report/table.hpp"

namespace zebroid {
namespace {

constexpr double micro = 1e6;

/// What a kernel runs, for a person and for JSON alike.
Json points_json(const MeasuredTable& table, const Estimate& estimate) {
  Json out = Json::array();
  for (std::size_t i = 0; i < estimate.size; ++i) {
    const Estimate::Part& part = estimate.parts.at(i);
    const MeasuredPoint& point = table.points()[part.point];
    out.push_back({{"shape", text_of(table.key().op, point.shape)},
                   {"time_us", point.time_us},
                   {"weight", part.weight},
                   {"source", fmt::format("{}:{}", table.sources()[point.source], point.line)}});
  }
  return out;
}

/// The curve with its numbers, as docs/formats/calibration.md writes it.
std::string formula_of(const KernelCall& call, const KernelTimes& times, const GpuSpec& gpu) {
  constexpr double tera = 1e12;
  constexpr double giga = 1e9;
  const KernelCurve& curve = times.curve_of(class_of(call.op));
  const double memory = curve.memory_efficiency;
  const std::string traffic =
      fmt::format("{:.4g} GB / ({:g} GB/s * {:.4g})", call.bytes.value / giga,
                  gpu.memory_bandwidth.value / giga, memory);
  const std::string launch = fmt::format("{:.3g} us + ", curve.launch.value * micro);
  if (call.flops.value <= 0) return launch + traffic;
  const bool backward = call.direction == Direction::backward && curve.backward != 1;
  return fmt::format("{}max({:.4g} TFLOP / ({:g} TFLOP/s * {:.4g}{}) * (1 + {:.4g} / {:.0f}), {})",
                     launch, call.flops.value / tera, gpu.half_peak.value / tera, curve.efficiency,
                     backward ? fmt::format(" * {:.4g}", curve.backward) : "", curve.half_size,
                     call.size, traffic);
}

Json kernel_json(const KernelCall& call, const KernelTimes& times, const GpuSpec& gpu) {
  const KernelTime time = times.of(call);
  const KernelCurve& curve = times.curve_of(class_of(call.op));
  Json out;
  out["kernel"] =
      text_of(KernelSpec{call.op, std::string(call.kernel), call.direction, call.shape});
  out["runs"] = call.count;
  out["time_us"] = time.seconds.value * micro;
  out["evidence"] = name_of(time.evidence);
  out["curve_us"] = time.curve.value * micro;
  out["curve"] = formula_of(call, times, gpu);
  out["curve_source"] = curve.source;
  if (time.table == nullptr) {
    out["rests_on"] = "curve";
    return out;
  }
  out["rests_on"] = "measured points";
  out["measured_over_curve"] = time.seconds * curve.rate / time.curve;
  out["points"] = points_json(*time.table, time.estimate);
  return out;
}

Json collective_json(const KernelSpec& spec, const Scenario& scenario, const std::string& gpu) {
  constexpr double most_ranks = 1 << 20U;
  if (spec.shape[1] > most_ranks || spec.shape[2] > most_ranks) {
    throw Error(ErrorKind::input,
                fmt::format("'{}': more than {:.0f} ranks", text_of(spec), most_ranks));
  }
  const GroupShape group{static_cast<std::uint32_t>(spec.shape[1]),
                         static_cast<std::uint32_t>(spec.shape[2])};
  const auto known = scenario.calibration.gpus.find(gpu);
  const auto time = known == scenario.calibration.gpus.end()
                        ? std::nullopt
                        : collective_time(known->second, spec.op, group, spec.shape[0]);
  if (!time) {
    throw Error(
        ErrorKind::input,
        fmt::format("{} over {} ranks, {} per node, was not measured on {}: its bytes share "
                    "the ports that they cross (docs/formats/cluster.md)",
                    name_of(spec.op), group.ranks, group.ranks_per_node, gpu));
  }
  Json out;
  out["kernel"] = text_of(spec);
  out["runs"] = 1;
  out["time_us"] = time->seconds.value * micro;
  out["evidence"] = name_of(time->evidence);
  out["curve_us"] = time_of(time->fit->pieces, spec.shape[0]).value * micro;
  out["curve"] = to_json(*time->fit)["pieces"];
  out["curve_source"] = time->fit->source;
  out["rests_on"] = time->table == nullptr ? "curve" : "measured points";
  if (time->table != nullptr) out["points"] = points_json(*time->table, time->estimate);
  return out;
}

/// The modules of a training step for one sequence, each with its kernels.
class Modules {
 public:
  Modules(const Scenario& scenario, const GpuSpec& gpu)
      : scenario_(scenario), gpu_(gpu), cost_(scenario.model, gpu, scenario.calibration) {}

  Json all() {
    const MoeModel& model = scenario_.model;
    const double length = scenario_.training.sequence_length;
    const auto moe = std::find_if(model.layers.rbegin(), model.layers.rend(),
                                  [](const Layer& layer) { return layer.has_experts; });
    const auto layer = static_cast<std::uint32_t>(model.layers.rend() - moe - 1);
    for (const Direction direction : {Direction::forward, Direction::backward}) {
      const std::string suffix = direction == Direction::forward ? " forward" : " backward";
      add("attention" + suffix, attention_kernels(model, layer, direction, 1, length));
      add("expert" + suffix, cost_.expert_calls(direction, length, 1));
      add("head" + suffix, head_kernels(model, direction, length));
    }
    add("step", step_kernels(layer_parameters(model, layer).without_experts()));
    return std::move(modules_);
  }

 private:
  void add(const std::string& name, const std::vector<KernelCall>& calls) {
    Json kernels = Json::array();
    double total = 0;
    for (const KernelCall& call : calls) {
      kernels.push_back(kernel_json(call, cost_.times(), gpu_));
      total += call.count * kernels.back()["time_us"].get<double>();
    }
    modules_.push_back({{"module", name}, {"time_us", total}, {"kernels", std::move(kernels)}});
  }

  const Scenario& scenario_;
  const GpuSpec& gpu_;
  CostModel cost_;
  Json modules_ = Json::array();
};

std::string rests_on(const Json& kernel) {
  if (!kernel.contains("points")) return "curve: " + kernel["curve_source"].get<std::string>();
  std::string out;
  for (const Json& point : kernel["points"]) {
    out += fmt::format("{}{} ({:.2f})", out.empty() ? "" : ", ", point["source"].get<std::string>(),
                       point["weight"].get<double>());
  }
  return out;
}

std::string modules_text(const Json& document, bool color) {
  std::string out;
  for (const Json& gpu : document["gpus"]) {
    Table table({gpu["gpu"].get<std::string>(), "kernel", "runs", "each", "grade", "rests on"});
    for (const Json& module : gpu["modules"]) {
      table.add_row({module["module"].get<std::string>(), "", "",
                     format_seconds({module["time_us"].get<double>() / micro}), "", ""});
      for (const Json& kernel : module["kernels"]) {
        table.add_row({"", kernel["kernel"].get<std::string>(),
                       format_number(kernel["runs"].get<double>()),
                       format_seconds({kernel["time_us"].get<double>() / micro}),
                       kernel["evidence"].get<std::string>(), rests_on(kernel)});
      }
    }
    out += table.text(color) + "\n";
  }
  out += "  one sequence, one layer with experts; all its tokens go to one expert\n";
  return out;
}

/// One kernel, in full.
std::string kernel_text(const Json& kernel, const std::string& gpu) {
  std::string out = fmt::format("{} on {}: {}, {}\n", kernel["kernel"].get<std::string>(), gpu,
                                format_seconds({kernel["time_us"].get<double>() / micro}),
                                kernel["evidence"].get<std::string>());
  const Json& curve = kernel["curve"];
  out += fmt::format("  curve: {} = {}\n         {}\n",
                     curve.is_string() ? curve.get<std::string>() : to_text(curve),
                     format_seconds({kernel["curve_us"].get<double>() / micro}),
                     kernel["curve_source"].get<std::string>());
  if (!kernel.contains("points")) return out + "  no measured points\n";
  out += "  time = curve * product of (measured / curve there) ^ weight, over\n";
  for (const Json& point : kernel["points"]) {
    out += fmt::format("    {}: {:.2f} µs, weight {:.2f}, {}\n", point["shape"].get<std::string>(),
                       point["time_us"].get<double>(), point["weight"].get<double>(),
                       point["source"].get<std::string>());
  }
  return out;
}

}  // namespace

int show_costs_command(const Request& request, const std::vector<std::string>& kernels,
                       const Output& output) {
  const Scenario scenario = Resolver(request, {"zebra"}).resolve({}).scenario;
  Json gpus = Json::array();
  std::string text;
  for (const GpuSpec& gpu : scenario.cluster.kinds) {
    Json entry = {{"gpu", gpu.name}};
    if (kernels.empty()) entry["modules"] = Modules(scenario, gpu).all();
    const KernelTimes times(gpu, scenario.calibration);
    for (const std::string& written : kernels) {
      const KernelSpec spec = parse_kernel_spec(written);
      const Json kernel =
          is_collective(spec.op)
              ? collective_json(spec, scenario, gpu.name)
              : kernel_json(kernel_call(spec.op, spec.shape, spec.direction, spec.kernel), times,
                            gpu);
      text += kernel_text(kernel, gpu.name);
      entry["kernels"].push_back(kernel);
    }
    gpus.push_back(std::move(entry));
  }
  const Json document = {{"schema", "zebroid.costs/1"},
                         {"model", scenario.model_name},
                         {"sequence_length", scenario.training.sequence_length},
                         {"gpus", std::move(gpus)}};
  if (output.json) {
    print_out(to_text(document, 2) + "\n");
  } else {
    print_out(kernels.empty() ? modules_text(document, use_color(output.color)) : text);
  }
  return 0;
}

}  // namespace zebroid
