#include "traces/measured_group.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "core/error.hpp"
#include "models/kernels.hpp"

namespace zebroid {
namespace {

constexpr double micro = 1e-6;

std::string place_of(const std::string& source, std::size_t line) {
  return fmt::format("{}:{}", source, line);
}

std::string place_of(const Sample& sample) { return place_of(sample.source, sample.line); }

std::string place_of(const MeasuredGroup& group, const MeasuredPoint& point) {
  return place_of(group.sources.at(point.source), point.line);
}

std::string title_of(const MeasuredGroup& group) {
  const std::string_view of = group.shape.ranks > 0 ? " over " : " ";
  return fmt::format("{} {}{}{}", group.gpu_name, name_of(group.key.op), of, group.key.kernel);
}

/// Faults of one sort, told once, with the first of them and their number.
class Tally {
 public:
  void add(const std::string& what, const std::string& first) {
    const auto [at, is_new] = counts_.try_emplace(what, 0, first);
    ++at->second.first;
    if (is_new) order_.push_back(what);
  }
  void report(std::vector<std::string>& warnings) const {
    for (const std::string& what : order_) {
      const auto& [count, first] = counts_.at(what);
      warnings.push_back(count == 1 ? fmt::format("{}: {}", first, what)
                                    : fmt::format("{}: {} (and {} more)", first, what, count - 1));
    }
  }

 private:
  std::map<std::string, std::pair<std::size_t, std::string>> counts_;
  std::vector<std::string> order_;
};

bool is_half(const std::string& dtype) { return dtype == "bf16" || dtype == "fp16"; }

/// Parts of "A40+V100-16GB".
std::vector<std::string> kinds_in(const std::string& gpu) {
  std::vector<std::string> out;
  std::size_t begin = 0;
  while (begin <= gpu.size()) {
    const std::size_t end = std::min(gpu.find('+', begin), gpu.size());
    out.push_back(gpu.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

/// How much more than the GPU's peak rate a kernel's time would need.
double over_peak(const Sample& sample, const GpuSpec& gpu) {
  const Direction direction = sample.backward ? Direction::backward : Direction::forward;
  const KernelCall call = kernel_call(sample.op, sample.shape, direction, sample.kernel);
  return call.flops / gpu.half_peak / sample.time;
}

class Grouping {
 public:
  Grouping(const std::vector<GpuSpec>& known, Tally& tally) : known_(known), tally_(tally) {}

  void add(const Sample& sample) {
    const auto spec = spec_of(sample);
    if (!spec || !is_sound(sample, *spec)) return;
    const bool collective = is_collective(sample.op);
    GroupShape shape;
    MeasuredTable::Key key{sample.op, sample.kernel, sample.dtype,
                           sample.backward && sample.op != MeasuredOp::gemm};
    if (collective) {
      shape = {static_cast<std::uint32_t>(sample.shape[1]),
               static_cast<std::uint32_t>(sample.shape[2])};
      key = {sample.op, fmt::format("{} ranks, {} per node", shape.ranks, shape.ranks_per_node), "",
             false};
    }
    const std::string gpu = name_in_catalogue(sample.gpu);
    raw_[{gpu, key, shape}].push_back(&sample);
    specs_[gpu] = *spec;
  }

  std::vector<MeasuredGroup> groups() {
    std::vector<MeasuredGroup> out;
    for (const auto& [id, samples] : raw_) {
      const auto& [gpu, key, shape] = id;
      out.push_back(merged({specs_.at(gpu), gpu, key, shape, {}, {}}, samples));
    }
    return out;
  }

 private:
  /// The kind; nullptr inside for a collective over several; nothing when one is not known.
  std::optional<const GpuSpec*> spec_of(const Sample& sample) {
    std::vector<std::string> kinds = kinds_in(sample.gpu);
    if (position_of(sample.gpu, known_)) kinds = {sample.gpu};  // a name may hold a + itself
    const GpuSpec* spec = nullptr;
    for (const std::string& kind : kinds) {
      const auto at = position_of(kind, known_);
      if (!at) {
        tally_.add(unknown_gpu(kind, known_) +
                       "; left out. Describe it under \"kinds\" of a cluster file and give "
                       "--cluster FILE",
                   place_of(sample));
        return std::nullopt;
      }
      spec = &known_[*at];
    }
    if (kinds.size() == 1) return spec;
    if (is_collective(sample.op)) return nullptr;
    tally_.add("a kernel of several GPU kinds; left out", place_of(sample));
    return std::nullopt;
  }

  /// Of known kinds: each as `known` writes it, in the order of group names.
  std::string name_in_catalogue(const std::string& gpu) const {
    if (const auto at = position_of(gpu, known_)) return known_[*at].name;
    std::vector<std::string> kinds = kinds_in(gpu);
    for (std::string& kind : kinds) {
      if (const auto at = position_of(kind, known_)) kind = known_[*at].name;
    }
    return name_of_group(std::move(kinds));
  }

  /// Whether a calibration file can hold it.
  bool is_in_range(const Sample& sample) {
    constexpr double least_us = 1e-6;
    constexpr double most_us = 1e10;
    constexpr double most_ranks = 1 << 20U;
    const double time_us = sample.time.value / micro;
    const bool few_ranks = !is_collective(sample.op) ||
                           (sample.shape[1] <= most_ranks && sample.shape[2] <= most_ranks);
    if (few_ranks && time_us >= least_us && time_us <= most_us) return true;
    tally_.add(few_ranks ? "a time below 1e-6 or above 1e10 us; left out"
                         : "more than 1048576 ranks; left out",
               place_of(sample));
    return false;
  }

  bool is_sound(const Sample& sample, const GpuSpec* gpu) {
    if (!is_in_range(sample)) return false;
    const auto axes = axes_of(sample.op).size();
    for (std::size_t a = 0; a < axes; ++a) {
      if (sample.shape.at(a) >= 1) continue;
      tally_.add(
          fmt::format("{} below 1 in {}; left out", axes_of(sample.op)[a], name_of(sample.op)),
          place_of(sample));
      return false;
    }
    if (is_collective(sample.op)) return is_group(sample);
    if (gpu == nullptr) return true;
    const auto& known = elementwise_kernels();
    const bool named = sample.op != MeasuredOp::elementwise ||
                       std::find(known.begin(), known.end(), sample.kernel) != known.end();
    if (!named) {
      tally_.add(unknown_name("elementwise kernel", sample.kernel, known) + "; left out",
                 place_of(sample));
      return false;
    }
    if (!is_half(sample.dtype)) {
      tally_.add(fmt::format("{} in {}; left out, costs are those of bf16 and fp16",
                             name_of(sample.op), sample.dtype.empty() ? "?" : sample.dtype),
                 place_of(sample));
      return false;
    }
    constexpr double rounding = 1.02;
    const double excess = over_peak(sample, *gpu);
    if (excess <= rounding) return true;
    tally_.add(fmt::format("{} on {} faster than the GPU's peak rate allows ({:.2f} times it); "
                           "refused",
                           name_of(sample.op), gpu->name, excess),
               place_of(sample));
    return false;
  }

  /// At least two ranks, equally many on each node.
  bool is_group(const Sample& sample) {
    const double ranks = sample.shape[1];
    const double per_node = sample.shape[2];
    const bool sound = ranks >= 2 && std::floor(ranks) == ranks &&
                       std::floor(per_node) == per_node && std::fmod(ranks, per_node) == 0;
    if (sound) return true;
    tally_.add(fmt::format("{} over {:g} ranks, {:g} per node; left out, expected at least 2 ranks "
                           "and equally many on each node",
                           name_of(sample.op), ranks, per_node),
               place_of(sample));
    return false;
  }

  /// One point per shape: the median of all that was measured there.
  MeasuredGroup merged(MeasuredGroup group, const std::vector<const Sample*>& samples) {
    std::map<Shape, std::vector<const Sample*>> by_shape;
    for (const Sample* sample : samples) {
      Shape whole{};
      std::transform(sample->shape.begin(), sample->shape.end(), whole.begin(),
                     [](double size) { return std::round(size); });
      by_shape[whole].push_back(sample);
    }
    std::map<std::string, std::uint32_t> sources;
    for (auto& [shape, here] : by_shape) {
      std::stable_sort(here.begin(), here.end(),
                       [](const Sample* a, const Sample* b) { return a->time < b->time; });
      const Sample& middle = *here[(here.size() - 1) / 2];
      const Seconds median = (middle.time + here[here.size() / 2]->time) / 2;
      complain_about_scatter(group, here);
      const auto [at, is_new] =
          sources.try_emplace(middle.source, static_cast<std::uint32_t>(sources.size()));
      if (is_new) group.sources.push_back(middle.source);
      group.points.push_back(
          {shape, median.value / micro, at->second, static_cast<std::uint32_t>(middle.line)});
    }
    return group;
  }

  void complain_about_scatter(const MeasuredGroup& group,
                              const std::vector<const Sample*>& sorted) {
    constexpr double most_scatter = 0.25;
    constexpr double widest = 1.5;
    const Sample& first = *sorted.front();
    const Sample& last = *sorted.back();
    if (last.time > first.time * widest) {
      tally_.add(
          fmt::format("{}: the same size was measured with times 1.5 or more apart; kept, as "
                      "the median",
                      title_of(group)),
          place_of(last));
    }
    for (const Sample* sample : sorted) {
      if (sample->scatter <= most_scatter) continue;
      tally_.add(fmt::format("{}: repeats scatter by more than 25 %; kept", title_of(group)),
                 place_of(*sample));
    }
  }

  const std::vector<GpuSpec>& known_;
  Tally& tally_;
  std::map<std::tuple<std::string, MeasuredTable::Key, GroupShape>, std::vector<const Sample*>>
      raw_;
  std::map<std::string, const GpuSpec*> specs_;
};

/// Sizes that take clearly longer than the next larger one along some axis.
void complain_about_order(const MeasuredGroup& group, std::vector<std::string>& warnings) {
  constexpr double clearly = 1.25;
  std::size_t count = 0;
  double worst = clearly;
  std::string example;
  for (std::size_t axis = 0; axis < axes_of(group.key.op).size(); ++axis) {
    std::map<Shape, std::vector<const MeasuredPoint*>> columns;
    for (const MeasuredPoint& point : group.points) {
      Shape others = point.shape;
      others.at(axis) = 0;
      columns[others].push_back(&point);  // points come by shape: ascending along the axis
    }
    for (const auto& [others, column] : columns) {
      for (std::size_t i = 0; i + 1 < column.size(); ++i) {
        const double ratio = column[i]->time_us / column[i + 1]->time_us;
        if (ratio <= clearly) continue;
        ++count;
        if (ratio <= worst) continue;
        worst = ratio;
        example = fmt::format("{}: {} took {:.1f} us, {} {:.1f} us ({})",
                              place_of(group, *column[i]), text_of(group.key.op, column[i]->shape),
                              column[i]->time_us, text_of(group.key.op, column[i + 1]->shape),
                              column[i + 1]->time_us, place_of(group, *column[i + 1]));
      }
    }
  }
  if (count == 0) return;
  warnings.push_back(fmt::format(
      "{}: {} of {} points take more than 1.25 times as long as the next larger size; kept. Worst: "
      "{}",
      title_of(group), count, group.points.size(), example));
}

/// Pairs of groups of one operation on different GPUs that hold the same figures: nobody measures
/// two GPUs to the same last digit.
std::vector<std::pair<std::size_t, std::size_t>> copies_in(
    const std::vector<MeasuredGroup>& groups) {
  constexpr std::size_t enough = 8;
  constexpr double nearly_all = 0.9;
  constexpr std::size_t most_with_one_figure = 16;
  std::map<std::tuple<MeasuredOp, Shape, double>, std::vector<std::size_t>> with;  // groups
  std::map<std::pair<std::size_t, std::size_t>, std::size_t> equal;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (const MeasuredPoint& point : groups[g].points) {
      auto& others = with[{groups[g].key.op, point.shape, point.time_us}];
      for (const std::size_t other : others) {
        if (groups[other].gpu_name != groups[g].gpu_name) ++equal[{other, g}];
      }
      if (others.size() < most_with_one_figure) others.push_back(g);
    }
  }
  std::vector<std::pair<std::size_t, std::size_t>> out;
  for (const auto& [pair, count] : equal) {
    const auto smaller = static_cast<double>(
        std::min(groups[pair.first].points.size(), groups[pair.second].points.size()));
    if (count >= enough && static_cast<double>(count) >= nearly_all * smaller) out.push_back(pair);
  }
  return out;
}

void refuse_copies(std::vector<MeasuredGroup>& groups, std::vector<std::string>& warnings) {
  std::vector<char> refused(groups.size(), 0);
  for (const auto& [i, j] : copies_in(groups)) {
    refused[i] = refused[j] = 1;
    warnings.push_back(
        fmt::format("{} ({}) and {} ({}) are one table: equal to the last digit; neither is used",
                    title_of(groups[i]), fmt::join(groups[i].sources, ", "), title_of(groups[j]),
                    fmt::join(groups[j].sources, ", ")));
  }
  std::vector<MeasuredGroup> kept;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (refused[i] == 0) kept.push_back(std::move(groups[i]));
  }
  groups = std::move(kept);
}

/// Where two libraries were measured the larger table is used.
void tell_unused(const std::vector<MeasuredGroup>& groups, std::vector<std::string>& warnings) {
  std::map<std::tuple<std::string, MeasuredOp, bool>, const MeasuredGroup*> largest;
  for (const MeasuredGroup& group : groups) {
    if (is_collective(group.key.op) || group.key.op == MeasuredOp::elementwise) continue;
    const MeasuredGroup*& best = largest[{group.gpu_name, group.key.op, group.key.backward}];
    if (best == nullptr) {
      best = &group;
      continue;
    }
    const bool larger = group.points.size() > best->points.size();
    const MeasuredGroup& unused = larger ? *best : group;
    if (larger) best = &group;
    warnings.push_back(
        fmt::format("{} {} ({} points): kept, but costs come from {} {} ({} points) wherever that "
                    "knows as much",
                    title_of(unused), unused.key.dtype, unused.points.size(), best->key.kernel,
                    best->key.dtype, best->points.size()));
  }
}

}  // namespace

std::vector<MeasuredGroup> measured_groups(const std::vector<Sample>& samples,
                                           const std::vector<GpuSpec>& known,
                                           std::vector<std::string>& warnings) {
  Tally tally;
  Grouping grouping(known, tally);
  for (const Sample& sample : samples) grouping.add(sample);
  std::vector<MeasuredGroup> out = grouping.groups();
  tally.report(warnings);
  refuse_copies(out, warnings);
  for (const MeasuredGroup& group : out) complain_about_order(group, warnings);
  tell_unused(out, warnings);
  return out;
}

}  // namespace zebroid
