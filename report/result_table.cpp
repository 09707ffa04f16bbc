#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/error.hpp"
#include "report/result_pieces.hpp"
#include "report/table.hpp"

namespace zebroid {
namespace {

constexpr std::size_t widest_name = 16;

bool feasible(const Json& result) {
  const Json& flag = json_at(result, {"feasible"});
  return !flag.is_boolean() || flag.get<bool>();
}

/// Tokens per second; 0 when the result does not say.
double speed(const Json& result) {
  return std::max(0.0, number_at(result, {"tokens_per_s"}).value_or(0));
}

std::string strategy_of(const Json& result) {
  const std::string name = text_at(result, {"strategy"});
  return name.empty() ? "?" : shortened(name, widest_name);
}

class ResultText {
 public:
  ResultText(const Json& document, bool color)
      : document_(document), results_(json_at(document, {"results"})), paint_(color) {
    if (!results_.is_array())
      throw Error(ErrorKind::input, "not a zebroid.result/1 document: it has no results");
    for (const Json& result : results_) {
      if (feasible(result) && speed(result) > 0 &&
          (best_ == nullptr || speed(result) > speed(*best_))) {
        best_ = &result;
      }
    }
    for (const Json& result : results_) {
      if (strategy_of(result) == "ep" && speed(result) > 0) reference_ = &result;
    }
    against_ep_ = reference_ != nullptr;
    if (!against_ep_) reference_ = best_;
  }

  std::string run() const {
    std::string out = scenario_line(document_);
    out += strategies();
    for (const Json& result : results_) out += "\n" + section(result);
    const std::string remarks = notes_text(document_, paint_);
    if (!remarks.empty()) out += "\n" + remarks;
    const std::string last = verdict();
    if (!last.empty()) out += "\n" + last;
    return out;
  }

  std::string section(const Json& result) const {
    std::string out = wrapped(paint_(Tone::bold, strategy_of(result)) + ": " + shape(result), "  ");
    if (!feasible(result)) {
      const std::string reason = text_at(result, {"reason"});
      out += wrapped(
          "  " + paint_(Tone::bad, "does not fit") + (reason.empty() ? "" : ": " + reason), "    ");
    }
    const std::string binding = text_at(result, {"binding"});
    if (!binding.empty()) out += wrapped("  lower bound by " + binding, "    ");
    out += what_ifs(result) + engines(result);
    const std::string grades = evidence(result);
    if (!grades.empty()) out += wrapped("  times are " + grades, "    ");
    return out + pools(result);
  }

 private:
  std::string strategies() const {
    Table table({"strategy", "R", "chunks", "iteration", "tokens/s",
                 against_ep_ ? "vs ep" : "vs best", "lower bound", "gap", "exposed", "fits"});
    for (const Json& result : results_) {
      const auto iteration = number_at(result, {"iteration_s"});
      const auto bound = number_at(result, {"lower_bound_s"});
      std::optional<double> slack;
      if (iteration && bound && *bound > 0) slack = *iteration / *bound - 1;
      std::optional<double> ratio;
      if (reference_ != nullptr && speed(result) > 0) ratio = speed(result) / speed(*reference_);
      const bool fits = feasible(result);
      const std::string name = strategy_of(result);
      table.add_row({&result == best_ ? paint_(Tone::good, name) : name,
                     count_cell(number_at(result, {"microbatches"})),
                     count_cell(number_at(result, {"chunks"})), seconds_cell(iteration),
                     count_cell(number_at(result, {"tokens_per_s"})), ratio_cell(ratio),
                     seconds_cell(bound), percent_cell(slack),
                     seconds_cell(number_at(result, {"exposed_communication_s"})),
                     fits ? "yes" : paint_(Tone::bad, "no")});
    }
    return table.text(paint_.on());
  }

  /// What runs slower than the schedule was planned for.
  static std::string what_ifs(const Json& result) {
    std::string names;
    const Json& slow = json_at(result, {"what_if"});
    if (!slow.is_array()) return "";
    for (const Json& name : slow) names += (names.empty() ? "" : ", ") + name.get<std::string>();
    std::string out = "  what if " + names;
    const auto without = number_at(result, {"iteration_without_what_if_s"});
    const auto with = number_at(result, {"iteration_s"});
    if (without && with && *without > 0) {
      out += fmt::format(": {} without, {:.2f}x as long with it", seconds_cell(without),
                         *with / *without);
    }
    return wrapped(out, "    ");
  }

  /// Which engine it was when not the usual one, and how far two of them are apart.
  static std::string engines(const Json& result) {
    const Json& both = json_at(result, {"engines"});
    const std::string fidelity = text_at(result, {"fidelity"});
    if (!both.is_object()) {
      if (text_at(result, {"engine"}) == "simgrid")
        return "  simulated by simgrid (" + fidelity + ")\n";
      if (fidelity != "profile") return "";
      constexpr double hundred = 100;
      return wrapped(
          fmt::format(
              "  approximate (fidelity profile): exchanges shared ports in {:.2g} % of "
              "their time; --fidelity pair is exact, and slower",
              hundred * number_at(result, {"overlapped_communication_fraction"}).value_or(0)),
          "    ");
    }
    std::string out = fmt::format("  engines: {} by fast ({}), {} by simgrid ({}); ",
                                  seconds_cell(number_at(both, {"fast", "iteration_s"})),
                                  text_at(both, {"fast", "fidelity"}),
                                  seconds_cell(number_at(both, {"simgrid", "iteration_s"})),
                                  text_at(both, {"simgrid", "fidelity"}));
    const Json& first = json_at(both, {"first_difference"});
    if (!first.is_object()) return wrapped(out + "they agree op by op", "    ");
    const auto percent = [&](const char* key) {
      constexpr double hundred = 100;
      return fmt::format("{:.2g} %", hundred * std::abs(number_at(both, {key}).value_or(0)));
    };
    out += fmt::format(
        "iterations differ by {}, ends of ops by up to {}; they part first at {} of rank {} ({}, "
        "{})",
        percent("iteration_difference_fraction"), percent("op_end_largest_difference_fraction"),
        text_at(first, {"op"}), number_at(first, {"rank"}).value_or(0),
        seconds_cell(number_at(first, {"fast_s"})), seconds_cell(number_at(first, {"simgrid_s"})));
    const std::string port = text_at(first, {"port"});
    if (!port.empty()) out += ", which crosses port " + port;
    std::string shared;
    if (const Json& ops = json_at(first, {"port_shared_with"}); ops.is_array()) {
      for (const Json& op : ops) shared += (shared.empty() ? "" : ", ") + op.get<std::string>();
    }
    if (!shared.empty()) out += " together with " + shared;
    out += fmt::format("; trust {}: {}", text_at(both, {"trust"}), text_at(both, {"trust_reason"}));
    return wrapped(out, "    ");
  }

  static std::string shape(const Json& result) {
    std::string out;
    const auto add = [&out](const std::string& part) { out += (out.empty() ? "" : ", ") + part; };
    if (const auto n = number_at(result, {"groups"})) add(counted(*n, "group"));
    if (const auto n = number_at(result, {"microbatches"})) add(counted(*n, "microbatch", "es"));
    if (const auto n = number_at(result, {"chunks"}); n && *n > 1) add(counted(*n, "chunk"));
    const std::string assignment = text_at(result, {"expert_assignment"});
    if (!assignment.empty()) add("expert assignment " + assignment);
    if (const auto n = number_at(result, {"experts_offloaded", "total"}); n && *n > 0) {
      add(counted(*n, "expert") + " on attention GPUs");
    }
    return out;
  }

  /// "62.0 % measured, 38.0 % roofline", without grades that round to nothing.
  static std::string evidence(const Json& result) {
    std::string out;
    const Json& grades = json_at(result, {"evidence"});
    if (!grades.is_object()) return out;
    constexpr double least = 0.0005;
    for (const auto& [grade, share] : grades.items()) {
      if (!share.is_number() || share.get<double>() < least) continue;
      out += fmt::format("{}{} {}", out.empty() ? "" : ", ", format_percent(share.get<double>()),
                         grade);
    }
    return out;
  }

  std::string pools(const Json& result) const {
    const Json& list = json_at(result, {"pools"});
    if (!list.is_array() || list.empty()) return "";
    Table table({"  role", "GPU", "count", "busy", "effective", "exposed", "bubble", "peak memory",
                 "fits"});
    for (const Json& pool : list) {
      const auto peak = number_at(pool, {"peak_memory_bytes"});
      const auto capacity = number_at(pool, {"memory_capacity_bytes"});
      std::string fits = "-";
      if (peak && capacity) fits = *peak <= *capacity ? "yes" : paint_(Tone::bad, "no");
      table.add_row(
          {"  " + text_at(pool, {"role"}), shortened(text_at(pool, {"gpu"}), widest_name),
           count_cell(number_at(pool, {"count"})), percent_cell(number_at(pool, {"busy_fraction"})),
           percent_cell(number_at(pool, {"effective_fraction"})),
           percent_cell(number_at(pool, {"exposed_communication_fraction"})),
           percent_cell(number_at(pool, {"bubble_fraction"})), memory_cell(peak, capacity), fits});
    }
    return table.text(false);
  }

  /// "zebra is 1.31x as fast as ep; attention GPUs bind."
  std::string verdict() const {
    if (results_.empty()) return "";
    if (best_ == nullptr) return "Nothing fits.\n";
    const Json* other = against_ep_ && reference_ != best_ ? reference_ : runner_up();
    std::string out = strategy_of(*best_);
    if (other == nullptr) {
      out += fmt::format(" takes {}", seconds_cell(number_at(*best_, {"iteration_s"})));
    } else {
      constexpr double noticeably = 0.005;
      const double ratio = speed(*best_) / speed(*other);
      const std::string factor =
          std::abs(ratio - 1) >= noticeably ? fmt::format("{:.2f}x ", ratio) : "";
      out += fmt::format(" is {}as fast as {}", factor, strategy_of(*other));
      if (!feasible(*other)) out += " would be, which does not fit";
    }
    const std::string limit = what_binds(*best_);
    return wrapped(paint_(Tone::bold, out + (limit.empty() ? "" : "; " + limit) + "."), "  ");
  }

  /// The fastest of the others that fit, or of all others.
  const Json* runner_up() const {
    const Json* found = nullptr;
    for (const Json& result : results_) {
      if (&result == best_ || speed(result) <= 0) continue;
      const bool better = found == nullptr || (feasible(result) && !feasible(*found)) ||
                          (feasible(result) == feasible(*found) && speed(result) > speed(*found));
      if (better) found = &result;
    }
    return found;
  }

  /// What the busiest pool waits for, when the result is far from its lower bound.
  static std::string what_delays(const Json& result) {
    constexpr double far = 0.9;
    const auto bound = number_at(result, {"lower_bound_s"});
    const auto iteration = number_at(result, {"iteration_s"});
    if (!bound || !iteration || *bound >= far * *iteration) return "";
    const Json* busiest = nullptr;
    for (const Json& pool : json_at(result, {"pools"})) {
      if (busiest == nullptr ||
          number_at(pool, {"busy_fraction"}) > number_at(*busiest, {"busy_fraction"}))
        busiest = &pool;
    }
    if (busiest == nullptr) return "";
    const double exposed = number_at(*busiest, {"exposed_communication_fraction"}).value_or(0);
    const double bubble = number_at(*busiest, {"bubble_fraction"}).value_or(0);
    return fmt::format("its {} GPUs wait for {} {} of the time", text_at(*busiest, {"gpu"}),
                       exposed >= bubble ? "communication" : "other GPUs",
                       format_percent(std::max(exposed, bubble)));
  }

  /// A binding that ends in "(GPU, role)" is a stream of that rank; others are ports or the data
  /// path.
  static std::string what_binds(const Json& result) {
    if (std::string delay = what_delays(result); !delay.empty()) return delay;
    const std::string binding = text_at(result, {"binding"});
    const std::size_t open = binding.rfind('(');
    const std::size_t comma = binding.find(", ", open == std::string::npos ? binding.size() : open);
    if (binding.empty()) return "";
    if (comma == std::string::npos || !binding.ends_with(')')) return "the " + binding + " binds";
    const std::string gpu = binding.substr(open + 1, comma - open - 1);
    const std::string role = binding.substr(comma + 2, binding.size() - comma - 3);
    const std::string whose = role == "all" ? gpu : role;
    const std::string stream = binding.substr(0, binding.find(' '));
    if (stream == "compute") return whose + " GPUs bind";
    return fmt::format("{} of {} GPUs binds", stream, whose);
  }

  const Json& document_;
  const Json& results_;
  Painter paint_;
  const Json* best_ = nullptr;
  const Json* reference_ = nullptr;
  bool against_ep_ = false;
};

}  // namespace

std::string result_section(const Json& result, bool color) {
  const Json document = {{"results", Json::array({result})}};
  return ResultText(document, color).section(result);
}

std::string result_table(const Json& document, bool color) {
  return ResultText(document, color).run();
}

}  // namespace zebroid
