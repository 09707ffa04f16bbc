#include "report/plan_text.hpp"

#include <fmt/format.h>

#include <optional>

#include "report/result_pieces.hpp"
#include "report/table.hpp"

namespace zebroid {
namespace {

class PlanText {
 public:
  PlanText(const Json& document, bool color)
      : document_(document),
        results_(json_at(document, {"results"})),
        verdict_(json_at(document, {"verdict"})),
        paint_(color) {}

  std::string run() const {
    std::string out = scenario_line(document_);
    if (!results_.empty()) out += ranking() + "\n" + best();
    out += sections();
    const std::string notes = notes_text(document_, paint_);
    if (!notes.empty()) out += "\n" + notes;
    return out + "\n" + recommendation();
  }

 private:
  std::string ranking() const {
    Table table(
        {"#", "strategy", "GPUs", "R", "tokens/s", "best is", "gap", "exposed", "bubble", "fits"});
    const double best = number_at(results_[0], {"tokens_per_s"}).value_or(0);
    for (std::size_t i = 0; i < results_.size(); ++i) {
      const Json& result = results_[i];
      const bool fits = json_at(result, {"feasible"}) == true;
      const double iteration = number_at(result, {"iteration_s"}).value_or(0);
      const double bound = number_at(result, {"lower_bound_s"}).value_or(iteration);
      const double rate = number_at(result, {"tokens_per_s"}).value_or(0);
      const double exposed = number_at(result, {"exposed_communication_s"}).value_or(0);
      const std::string name = name_of(result);
      table.add_row({std::to_string(i + 1), i == 0 && fits ? paint_(Tone::good, name) : name,
                     text_at(result, {"use"}), count_cell(number_at(result, {"microbatches"})),
                     count_cell(rate), ratio_cell(best / rate), percent_cell(iteration / bound - 1),
                     percent_cell(exposed / iteration), percent_cell(mean_bubble(result)),
                     fits ? "yes" : paint_(Tone::bad, "no")});
    }
    return table.text(paint_.on());
  }

  static std::string name_of(const Json& result) {
    const std::string strategy = text_at(result, {"strategy"});
    const std::string assignment = text_at(result, {"expert_assignment"});
    return strategy == "zebra" ? fmt::format("zebra {}", assignment) : strategy;
  }

  /// Over all ranks.
  static double mean_bubble(const Json& result) {
    double bubble = 0;
    double ranks = 0;
    for (const Json& pool : json_at(result, {"pools"})) {
      const double count = number_at(pool, {"count"}).value_or(0);
      bubble += count * number_at(pool, {"bubble_fraction"}).value_or(0);
      ranks += count;
    }
    return ranks > 0 ? bubble / ranks : 0;
  }

  std::string best() const { return result_section(results_[0], paint_.on()) + memory(); }

  /// Peak memory of the best way by component.
  std::string memory() const {
    Table table({"  memory", "GPU", "weights", "gradients", "optimizer", "activations", "receive",
                 "runtime"});
    for (const Json& pool : json_at(results_[0], {"pools"})) {
      const auto bytes = [&](const char* key) {
        return format_bytes({number_at(pool, {"memory", key}).value_or(0)});
      };
      table.add_row({"  " + text_at(pool, {"role"}), text_at(pool, {"gpu"}), bytes("weights_bytes"),
                     bytes("gradients_bytes"), bytes("optimizer_bytes"), bytes("activations_bytes"),
                     bytes("receive_buffers_bytes"), bytes("runtime_bytes")});
    }
    return table.text(false);
  }

  std::string sections() const {
    std::string out;
    for (const std::string& section : {trust(), gains(), critical_path(), rejected(), effort()}) {
      if (!section.empty()) out += "\n" + section;
    }
    return out;
  }

  std::string trust() const {
    const Json& comparisons = json_at(verdict_, {"comparisons"});
    if (!comparisons.is_array() || comparisons.empty()) return "";
    Table table(
        {"best against", "speedup", "if costs are off", "under skew p5", "p50", "p95", "verdict"});
    for (const Json& rival : comparisons) {
      const bool tie = json_at(rival, {"tie"}) == true;
      table.add_row(
          {text_at(rival, {"with"}), ratio_cell(number_at(rival, {"speedup"})),
           range_cell(number_at(rival, {"least_speedup"}), number_at(rival, {"most_speedup"})),
           ratio_cell(number_at(rival, {"speedup_p5"})),
           ratio_cell(number_at(rival, {"speedup_p50"})),
           ratio_cell(number_at(rival, {"speedup_p95"})),
           tie ? paint_(Tone::bad, "tie") : "holds"});
    }
    std::string out = table.text(paint_.on());
    for (const Json& rival : comparisons) {
      std::string turned;
      for (const Json& what : json_at(rival, {"turned_by"})) {
        turned += (turned.empty() ? "" : ", or ") + what.get<std::string>();
      }
      if (turned.empty()) continue;
      out += wrapped(fmt::format("  {} wins with {}", text_at(rival, {"with"}), turned), "    ");
    }
    return out + skew();
  }

  static std::string range_cell(std::optional<double> least, std::optional<double> most) {
    if (!least || !most) return "-";
    return fmt::format("{} to {}", ratio_cell(least), ratio_cell(most));
  }

  std::string skew() const {
    const Json& under = json_at(verdict_, {"under_skew"});
    if (!under.is_object()) return "";
    return wrapped(
        fmt::format(
            "  costs are off: one class of kernels on one GPU kind, or the network, slower or "
            "faster by the error of its evidence; skew: routing {}, {} draws, best {}, {} "
            "and {} tokens/s (p5, p50, p95)",
            text_at(under, {"routing"}), count_cell(number_at(under, {"draws"})),
            count_cell(number_at(under, {"tokens_per_s_p5"})),
            count_cell(number_at(under, {"tokens_per_s_p50"})),
            count_cell(number_at(under, {"tokens_per_s_p95"}))),
        "    ");
  }

  std::string effort() const {
    return fmt::format("{} schedules simulated to plan, {} to judge\n",
                       count_cell(number_at(verdict_, {"candidates_simulated"})),
                       count_cell(number_at(verdict_, {"reruns_simulated"})));
  }

  std::string gains() const {
    std::string out;
    for (const Json& gain : json_at(verdict_, {"marginal_gains"})) {
      const auto rate = number_at(gain, {"tokens_per_s"});
      const double share = number_at(gain, {"gain_fraction"}).value_or(0);
      constexpr double hundred = 100;
      const double gpus = number_at(gain, {"gpus"}).value_or(1);
      out +=
          fmt::format("{} more {}: {:+.1f} % ({} tokens/s with {} sequences)\n",
                      gpus == 1 ? "one" : count_cell(gpus), text_at(gain, {"gpu"}), hundred * share,
                      count_cell(rate), count_cell(number_at(gain, {"global_batch_sequences"})));
    }
    return out;
  }

  std::string critical_path() const {
    const Json& path = json_at(results_.empty() ? results_ : results_[0], {"critical_path"});
    if (!path.is_array()) return "";
    Table table({"critical path", "to", "takes", "rank", "GPU", "role", "work", "ops"});
    for (const Json& step : path) {
      const double begin = number_at(step, {"begin_s"}).value_or(0);
      const double end = number_at(step, {"end_s"}).value_or(0);
      const std::string first = text_at(step, {"first"});
      const std::string last = text_at(step, {"last"});
      table.add_row({format_seconds({begin}), format_seconds({end}), format_seconds({end - begin}),
                     count_cell(number_at(step, {"rank"})), text_at(step, {"gpu"}),
                     text_at(step, {"role"}),
                     first == last ? first : fmt::format("{} to {}", first, last),
                     count_cell(number_at(step, {"ops"}))});
    }
    return table.text(paint_.on());
  }

  std::string rejected() const {
    std::string out;
    for (const Json& way : json_at(verdict_, {"rejected"})) {
      std::string line =
          fmt::format("rejected: {}: {}", text_at(way, {"way"}), text_at(way, {"reason"}));
      const std::string change = text_at(way, {"smallest_change"});
      if (!change.empty()) line += "; it fits with " + change;
      out += wrapped(line, "    ");
    }
    return out;
  }

  std::string recommendation() const {
    std::string out = text_at(verdict_, {"recommendation"}) + ".";
    if (json_at(verdict_, {"interrupted"}) == true) out = "Interrupted; best so far: " + out;
    return wrapped(paint_(Tone::bold, out), "  ");
  }

  const Json& document_;
  const Json& results_;
  const Json& verdict_;
  Painter paint_;
};

}  // namespace

std::string plan_text(const Json& document, bool color) { return PlanText(document, color).run(); }

}  // namespace zebroid
