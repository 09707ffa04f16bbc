#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <utility>

#include "backend/host/host_run.hpp"
#include "cli/commands.hpp"
#include "cli/output_files.hpp"
#include "core/error.hpp"
#include "models/twin.hpp"
#include "planner/trials.hpp"
#include "report/table.hpp"
#include "schedule/files.hpp"
#include "schedule/verify.hpp"

namespace zebroid {
namespace {

constexpr const char* schema = "zebroid.run/1";

/// A schedule file as it is to be run.
struct Subject {
  std::string path;
  ScheduleFile file;
  std::optional<Scenario> twin;  ///< of its scenario, with --shrink

  const Scenario& scenario() const { return twin ? *twin : file.scenario; }
};

Subject read_subject(const RunRequest& request) {
  Subject out{request.schedule, read_schedule(read_json(request.schedule)), std::nullopt};
  refuse_faults(out.file.schedule, request.schedule);
  if (request.shrink) out.twin = narrow_twin(out.file.scenario);
  return out;
}

/// "64MiB", "1.5GB", "5000000" as bytes. Throws Error(input) naming the flag.
std::size_t read_size(const std::string& text) {
  constexpr double thousand = 1000;
  constexpr double binary = 1024;
  const std::vector<std::pair<std::string, double>> units = {{"", 1},
                                                             {"B", 1},
                                                             {"kB", thousand},
                                                             {"MB", thousand * thousand},
                                                             {"GB", thousand * thousand * thousand},
                                                             {"KiB", binary},
                                                             {"MiB", binary * binary},
                                                             {"GiB", binary * binary * binary}};
  double number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit(end, text.data() + text.size());
  const auto found = std::find_if(units.begin(), units.end(),
                                  [&](const auto& known) { return known.first == unit; });
  constexpr double most = 1e15;
  const double bytes = found == units.end() ? 0 : number * found->second;
  if (failure != std::errc() || !(bytes >= 1 && bytes <= most)) {
    throw Error(ErrorKind::input,
                fmt::format("--memory-limit {}: expected a size as 64MiB or 1.5GB", text));
  }
  return static_cast<std::size_t>(bytes);
}

HostOptions options_of(const RunRequest& request, const Schedule& schedule) {
  HostOptions out;
  out.steps = request.steps;
  out.precision = request.dtype == "float64" ? Precision::float64 : Precision::float32;
  out.seed = request.seed;
  out.adamw.learning_rate = request.learning_rate;
  if (request.memory_limit) out.memory_limit_bytes = read_size(*request.memory_limit);
  out.least_deadline = std::chrono::duration<double>(request.deadline_s);
  out.verify = request.verify;
  out.checksums = request.checksum;
  if (request.inject) out.injection = read_injection(*request.inject, schedule);
  return out;
}

/// Throws Error(infeasible) when this host has not the memory for it.
void refuse_too_large(const Subject& subject, const HostOptions& options, bool shrink) {
  const HostNeeds needs = host_needs(subject.file.schedule, subject.scenario(), options);
  if (needs.available_bytes > 0 && needs.bytes > needs.available_bytes) {
    throw Error(
        ErrorKind::infeasible,
        fmt::format("{}: {} on {} ranks needs {} of memory here, of which rank {} alone needs {}; "
                    "this host has {} left{}",
                    subject.path, subject.scenario().model_name, subject.file.schedule.ranks.size(),
                    format_bytes({needs.bytes}), needs.largest_rank.value,
                    format_bytes({needs.largest_rank_bytes}), format_bytes({needs.available_bytes}),
                    shrink ? "" : "; --shrink runs the same schedule on a narrow twin"));
  }
}

Json step_json(const StepReport& report) {
  Json out;
  out["step"] = report.step;
  out["loss"] = report.loss;
  out["gradient_norm"] = report.gradient_norm;
  out["duration_s"] = report.duration.value;
  return out;
}

Json document_of(const Subject& subject, const RunRequest& request, const HostRun& run) {
  const Schedule& schedule = subject.file.schedule;
  Json out;
  out["schema"] = schema;
  out["backend"] = "host";
  out["schedule"] = subject.path;
  out["model"] = subject.scenario().model_name;
  out["shrunk"] = request.shrink;
  out["ranks"] = schedule.ranks.size();
  out["threads"] = run.threads;
  out["arithmetic"] = run.arithmetic;
  out["sequence_length"] = subject.scenario().training.sequence_length;
  out["global_batch_sequences"] = subject.scenario().training.global_batch_sequences;
  out["microbatches"] = schedule.microbatches;
  out["chunks"] = schedule.chunks;
  out["steps"] = Json::array();
  for (const StepReport& report : run.steps) out["steps"].push_back(step_json(report));
  out["verified"] = request.verify;
  out["checksums"] = request.checksum;
  out["memory"] = Json::array();
  const std::vector<std::string> role = roles(schedule);
  for (std::size_t r = 0; r < run.memory.size(); ++r) {
    Json rank;
    rank["rank"] = r;
    rank["role"] = role[r];
    rank["predicted_bytes"] = run.memory[r].predicted_bytes;
    rank["needed_bytes"] = run.memory[r].needed_bytes;
    rank["peak_bytes"] = run.memory[r].peak_bytes;
    out["memory"].push_back(std::move(rank));
  }
  out["expert_tokens"] = run.tokens;
  return out;
}

/// Losses as one line of blocks, from the first to the last.
std::string sparkline(const std::vector<StepReport>& steps) {
  constexpr std::size_t most = 60;
  constexpr std::array blocks = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const StepReport& step : steps) {
    if (!std::isfinite(step.loss)) continue;
    low = std::min(low, step.loss);
    high = std::max(high, step.loss);
  }
  std::string out;
  const std::size_t columns = std::min(most, steps.size());
  for (std::size_t i = 0; i < columns; ++i) {
    const double loss = steps[i * steps.size() / columns].loss;
    if (!std::isfinite(loss)) {
      out += "!";
      continue;
    }
    const double height = high > low ? (loss - low) / (high - low) : 0;
    out += blocks.at(
        static_cast<std::size_t>(std::lround(height * static_cast<double>(blocks.size() - 1))));
  }
  return out;
}

std::string memory_table(const Json& document, bool color) {
  Table table({"role", "ranks", "memory predicted", "of its ops", "at once"});
  struct Row {
    std::string role;
    std::size_t ranks = 0;
    double predicted = 0, needed = 0, peak = 0;
  };
  std::vector<Row> rows;
  for (const Json& rank : document["memory"]) {
    const std::string role = rank["role"].get<std::string>();
    auto row = std::find_if(rows.begin(), rows.end(),
                            [&](const Row& other) { return other.role == role; });
    if (row == rows.end()) row = rows.insert(row, Row{role});
    ++row->ranks;
    row->predicted = std::max(row->predicted, rank["predicted_bytes"].get<double>());
    row->needed = std::max(row->needed, rank["needed_bytes"].get<double>());
    row->peak = std::max(row->peak, rank["peak_bytes"].get<double>());
  }
  for (const Row& row : rows) {
    table.add_row({row.role, std::to_string(row.ranks), format_bytes({row.predicted}),
                   format_bytes({row.needed}), format_bytes({row.peak})});
  }
  return table.text(color);
}

std::string summary(const Json& document, const HostRun& run, bool color) {
  const StepReport& first = run.steps.front();
  const StepReport& last = run.steps.back();
  std::string out;
  if (run.steps.size() > 1) {
    out += fmt::format("\nloss {} from {:.4f} to {:.4f}\n", sparkline(run.steps), first.loss,
                       last.loss);
  }
  out += "\n" + memory_table(document, color);
  if (document["verified"].get<bool>()) {
    out += fmt::format(
        "\nLosses, gradients and parameters of {} equal the single-rank reference's, bit for "
        "bit.\n",
        run.steps.size() == 1 ? "the step" : fmt::format("all {} steps", run.steps.size()));
  }
  return out;
}

std::string heading(const Subject& subject, const RunRequest& request) {
  const Schedule& schedule = subject.file.schedule;
  const Scenario& scenario = subject.scenario();
  std::string out = fmt::format(
      "{} on {}, {}, {} sequences of {} bytes a step\n", scenario.model_name,
      count_of(schedule.ranks.size(), "rank"), count_of(schedule.microbatches, "microbatch", "es"),
      scenario.training.global_batch_sequences, scenario.training.sequence_length);
  if (request.shrink) {
    out += fmt::format(
        "shrunk: programs, placement and routing of {}, but hidden {}, experts of {}, vocabulary "
        "{}, "
        "plain attention\n",
        subject.file.scenario.model_name, scenario.model.hidden, scenario.model.expert_ffn,
        scenario.model.vocabulary);
  }
  return out + "\n step      loss  gradient norm      time\n";
}

std::string step_line(const StepReport& report) {
  return fmt::format("{:>5}  {:>8.4f}  {:>13.4f}  {:>8}\n", report.step, report.loss,
                     report.gradient_norm, format_seconds(report.duration));
}

std::size_t ops_of(const Schedule& schedule) {
  std::size_t out = 0;
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) out += schedule.program_of({r}).size();
  return out;
}

/// What ran, with the routing that it counted.
void write_timeline(const Subject& subject, const OutputFiles& files, HostRun& run) {
  Job job;
  job.scenario = subject.scenario();
  job.scenario.routing = {.spec = "recorded", .seed = 0, .tokens = run.tokens};
  job.plan.schedule = subject.file.schedule;
  job.plan.timeline = std::move(run.timeline);
  write_files(files, job, "run", true);
}

}  // namespace

int run_command(const RunRequest& request, const OutputFiles& files, const Output& output) {
  if (request.backend != "host") {
    throw Error(ErrorKind::hardware,
                "--backend " + request.backend + ": this zebroid was built without it; use host");
  }
  std::vector<std::string> inputs = {request.schedule};
  if (request.text) inputs.push_back(*request.text);
  refuse_bad_outputs(files, inputs);
  const Subject subject = read_subject(request);
  HostOptions options = options_of(request, subject.file.schedule);
  Text text = request.text ? Text::from_file(*request.text) : Text::built_in();
  refuse_too_large(subject, options, request.shrink);
  const bool talks = !output.json;
  Progress progress("ops", request.steps * ops_of(subject.file.schedule), output.quiet);
  std::string note = "step 1";
  options.poll = [&](std::size_t ended) {
    stop_if_interrupted();
    progress.update(ended, note);
  };
  options.on_hang = [&progress](const Error& error) {
    progress.clear();
    print_note(fmt::format("zebroid: {}", error.what()));
    std::_Exit(static_cast<int>(error.kind()));
  };
  options.on_step = [&](const StepReport& report) {
    note = fmt::format("step {}, loss {:.4f}", report.step + 1, report.loss);
    if (!talks) return;
    progress.clear();
    print_out(step_line(report));
  };
  if (talks) print_out(heading(subject, request));
  HostRun run = run_on_host(subject.file.schedule, subject.scenario(), std::move(text), options);
  const Json document = document_of(subject, request, run);
  print_out(output.json ? to_text(document, 2) + "\n"
                        : summary(document, run, use_color(output.color)));
  write_timeline(subject, files, run);
  if (!request.inject) return 0;
  throw Error(
      ErrorKind::check,
      fmt::format("--inject {}: nobody noticed: the op sends nothing that could be wrong, or "
                  "a flipped bit had neither --checksum nor --verify",
                  *request.inject));
}

}  // namespace zebroid
