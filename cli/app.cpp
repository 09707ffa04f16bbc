#include "cli/app.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <exception>
#include <functional>
#include <new>
#include <sstream>
#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "cli/output_files.hpp"
#include "cli/ranks.hpp"
#include "core/error.hpp"

namespace zebroid {
namespace {

constexpr int exit_usage = 2;
constexpr int exit_interrupted = 130;

/// Everything that flags can say.
struct Flags {
  Request request;
  OutputFiles files;
  Output output;
  CalibrateRequest calibrate;
  RunRequest run;
  bool show_costs = false;
  bool explain = false;
  std::string color = "auto";
  std::vector<std::string> vary;
  std::optional<std::string> jobs;
  std::optional<std::string> sweep_output;
  std::vector<std::string> paths;
  std::optional<std::string> what;
  std::optional<std::string> gpu;
};

void add_output_flags(CLI::App& command, Flags& flags) {
  command.add_flag("--json", flags.output.json, "one JSON document on stdout");
  command.add_flag("--quiet", flags.output.quiet, "no progress, no notes");
  command.add_option("--color", flags.color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
}

void add_request_flags(CLI::App& command, Flags& flags) {
  Request& request = flags.request;
  command.add_option("--model", request.model,
                     "built-in name, Hugging Face config.json, or a folder with one");
  command.add_option(
      "--cluster", request.cluster,
      "built-in name, cluster file, or GPUs as in 6xA40,6xV100-16GB or 2x8xA100-80GB");
  command.add_option("--network", request.network,
                     "bandwidth of each node, as 100Gbps or 12.5GB/s");
  command.add_option("--sequence-length", request.sequence_length, "tokens per sequence [4096]");
  command.add_option("--global-batch", request.global_batch,
                     "sequences per iteration, or max [64Ki tokens per GPU]");
  command.add_option("--microbatches", request.microbatches, "a number or auto");
  command.add_option("--chunks", request.chunks, "cuts of every all-to-all: a number or auto");
  command.add_option("--groups", request.groups, "copies of the model: a number or auto");
  command
      .add_option("--strategy", request.strategies,
                  "zebra, ep, dist-ep, ep-ideal or pp; repeatable [all; of sweep zebra and ep]")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--expert-assignment", request.expert_assignment,
                     "even, gather-and-squeeze, gather-and-squeeze-printed or optimal "
                     "[gather-and-squeeze; plan tries all but the printed form]");
  command.add_option("--recompute", request.recompute, "auto, none, module or layer [auto]");
  command.add_option("--optimizer", request.optimizer, "adamw or adamw-8bit [adamw]");
  command.add_option("--routing", request.routing, "uniform, lognormal:SIGMA or a file [uniform]");
  command.add_option("--seed", request.seed, "of lognormal routing [0]");
  command.add_option("--calibration", request.calibrations, "a calibration file; repeatable")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--strict", request.strict,
                     "exit 4 unless the critical path rests on this evidence or better: measured, "
                     "interpolated, extrapolated");
  command.add_option("--scenario", request.scenario_file,
                     "a JSON file with any of these; flags win");
  command
      .add_option("--set", request.settings,
                  "PATH=VALUE, any field of the resolved scenario, as model.num_local_experts=12")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--engine", request.prediction.engine, "fast, simgrid or both [fast]");
  command.add_option("--fidelity", request.prediction.fidelity,
                     "auto, pair, profile or port: how exchanges become flows [auto]");
  command
      .add_option(
          "--slow", request.prediction.slow,
          "what if rank=3:0.8, or port=NAME:0.5, runs at that share of its rate; repeatable")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void add_file_flags(CLI::App& command, Flags& flags) {
  command.add_option("--svg", flags.files.svg, "write a Gantt picture");
  command.add_option("--trace", flags.files.trace, "write a Perfetto trace (ui.perfetto.dev)");
  command.add_option("--schedule", flags.files.schedule, "write the schedule");
  command.add_option("--timeline", flags.files.timeline, "write the timeline");
}

void add_simulate(CLI::App& app, Flags& flags, std::function<int()>& chosen) {
  CLI::App* command = app.add_subcommand("simulate", "one strategy, or several side by side");
  command
      ->add_option("SCHEDULE", flags.paths,
                   "a schedule file to simulate as it is, or a timeline's schedule")
      ->expected(0, 1);
  add_request_flags(*command, flags);
  add_output_flags(*command, flags);
  add_file_flags(*command, flags);
  command->footer(
      "Examples:\n"
      "  zebroid simulate --model mixtral-d1 --cluster 6xA40,6xV100-16GB --sequence-length 16384\n"
      "  zebroid simulate --model ./config.json --cluster 4xA40,8xV100-16GB --strategy zebra --svg "
      "step.svg");
  command->callback([&flags, &chosen] {
    chosen = [&flags] {
      if (flags.paths.empty()) return simulate_command(flags.request, flags.files, flags.output);
      const std::string& schedule = flags.paths.front();
      if (flags.request != Request{.prediction = flags.request.prediction}) {
        throw Error(ErrorKind::input,
                    schedule +
                        ": a schedule is simulated with the scenario inside it; give no "
                        "--model, --cluster and so on");
      }
      return simulate_file_command(schedule, flags.request.prediction, flags.files, flags.output);
    };
  });
}

void add_plan(CLI::App& app, Flags& flags, std::function<int()>& chosen) {
  CLI::App* command =
      app.add_subcommand("plan", "best ways to train this model on these GPUs, with a verdict");
  add_request_flags(*command, flags);
  add_output_flags(*command, flags);
  command->add_flag("--explain", flags.explain, "walk the critical path of the best way");
  add_file_flags(*command, flags);
  command->footer(
      "Example:\n"
      "  zebroid plan --model mixtral-d1 --cluster 6xA40,6xV100-16GB --sequence-length 16384\n"
      "Files are of the best way. Ctrl-C ends with the best so far.");
  command->callback([&flags, &chosen] {
    chosen = [&flags] {
      return plan_command(flags.request, flags.explain, flags.files, flags.output);
    };
  });
}

void add_sweep(CLI::App& app, Flags& flags, std::function<int()>& chosen) {
  CLI::App* command =
      app.add_subcommand("sweep", "vary anything; one JSON line per point as it is done");
  add_request_flags(*command, flags);
  add_output_flags(*command, flags);
  command
      ->add_option(
          "--vary", flags.vary,
          "PATH=VALUES, values as 2:12, 2:12:2 or a,b,c; cluster.KIND is the count of that "
          "kind; repeatable")
      ->required()
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--jobs", flags.jobs,
                      "worker processes [as many as there are cores; 1 per rank under mpirun]");
  command->add_option("-o,--output", flags.sweep_output,
                      "write the lines to this file once all are done; killed before, the same "
                      "command goes on where it was");
  command->add_option("--svg", flags.files.svg,
                      "write a picture of the file's lines over 1 to 3 varied fields");
  command->footer(
      "Example:\n"
      "  zebroid sweep --model mixtral-d1 --cluster o1 --vary cluster.A40=2:12 \\\n"
      "      --vary training.sequence_length=4096,16384 -o sweep.ndjson --svg sweep.svg\n"
      "  mpirun -n 8 zebroid sweep ... spreads the points over 8 MPI ranks.");
  command->callback([&flags, &chosen] {
    chosen = [&flags] {
      return sweep_command(flags.request,
                           {flags.vary, flags.jobs, flags.sweep_output, flags.files.svg},
                           flags.output);
    };
  });
}

void add_calibrate(CLI::App& app, Flags& flags, std::function<int()>& chosen) {
  CLI::App* command =
      app.add_subcommand("calibrate", "costs from measurements, and what costs rest on (--show)");
  CalibrateRequest& request = flags.calibrate;
  command->add_option("FILE", request.files,
                      "kernel tables, nccl-tests logs, samples, gzip or not, and folders of them; "
                      "with --show kernels, as \"gemm m=4096 n=6144 k=4096\"");
  command->add_option("-o,--output", request.output,
                      "write a calibration file, for --calibration of other commands");
  command->add_option("--samples", request.samples_output,
                      "write all measurements in one format, a JSON line each");
  command->add_option("--gpu", request.gpu, "GPU kind of files that name none");
  command->add_flag("--curves-only", request.curves_only,
                    "write fitted curves without the measured points");
  CLI::Option* show =
      command->add_flag("--show", flags.show_costs,
                        "explain predicted times: which points, which formula, what grade");
  command->add_option("--cluster", flags.request.cluster,
                      "GPUs to show; else a cluster file that describes GPUs which the catalogue "
                      "lacks");
  command->add_option("--model", flags.request.model, "whose kernels to show")->needs(show);
  command->add_option("--sequence-length", flags.request.sequence_length, "of these kernels [4096]")
      ->needs(show);
  command->add_option("--calibration", flags.request.calibrations, "to show with; repeatable")
      ->needs(show)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  for (const char* option : {"--output", "--samples", "--gpu", "--curves-only"}) {
    command->get_option(option)->excludes(show);
  }
  add_output_flags(*command, flags);
  command->footer(
      "Examples:\n"
      "  zebroid calibrate mytables/ nccl.log -o mine.json\n"
      "  zebroid plan --model mixtral-d1 --cluster 6xA40,6xV100-16GB --calibration mine.json\n"
      "  zebroid calibrate --show --model mixtral-d1 --cluster 6xA40,6xV100-16GB\n"
      "  zebroid calibrate --show \"gemm m=4096 n=6144 k=4096\" --cluster 1xA40");
  command->callback([&flags, &chosen] {
    chosen = [&flags] {
      const std::vector<std::string>& files = flags.calibrate.files;
      if (!flags.show_costs) {
        if (files.empty()) {
          throw Error(ErrorKind::input,
                      "calibrate: from which files? Or --show what costs rest on");
        }
        return calibrate_command(flags.calibrate, flags.request.cluster, flags.output);
      }
      Request shown = flags.request;
      if (!files.empty() && !shown.model) shown.model = "mixtral-8x7b";  // any will do
      return show_costs_command(shown, files, flags.output);
    };
  });
}

// What is wrong with a flag's text; "" when nothing is.

std::string refuse_no_number(const std::string& text) {
  return text.find_first_of("nN") == std::string::npos ? "" : "expected a number, got " + text;
}

std::string refuse_no_whole_number(const std::string& text) {
  std::uint64_t number = 0;
  const char* const last = text.data() + text.size();
  const auto [end, failure] = std::from_chars(text.data(), last, number);
  if (failure == std::errc() && end == last) return "";
  return fmt::format("expected a whole number from 0 to {}, got {}", UINT64_MAX, text);
}

void add_run(CLI::App& app, Flags& flags, std::function<int()>& chosen) {
  CLI::App* command = app.add_subcommand("run", "execute a schedule for real: true training steps");
  RunRequest& request = flags.run;
  const CLI::Validator finite(refuse_no_number, "");
  const CLI::Validator whole(refuse_no_whole_number, "");
  command->add_option("SCHEDULE", request.schedule, "a file written by --schedule or --timeline")
      ->required();
  command->add_option("--backend", request.backend, "host: threads of this machine")
      ->check(CLI::IsMember({"host", "cuda"}))
      ->capture_default_str();
  command->add_option("--steps", request.steps, "training steps")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--text", request.text,
                      "a file to learn, byte by byte [a text of zebroid's]");
  command->add_flag("--shrink", request.shrink,
                    "the same programs, placement and routing on a narrow twin of the model");
  command->add_flag("--verify", request.verify,
                    "compare losses, gradients and parameters with a single rank, bit by bit");
  command->add_flag("--checksum", request.checksum, "check every message for flipped bits");
  command->add_option("--dtype", request.dtype, "float32 or float64")
      ->check(CLI::IsMember({"float32", "float64"}))
      ->capture_default_str();
  command->add_option("--learning-rate", request.learning_rate, "of AdamW")
      ->check(finite & CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--seed", request.seed, "of the first parameters")
      ->check(whole)
      ->capture_default_str();
  command->add_option("--memory-limit", request.memory_limit, "of each rank, as 64MiB");
  command
      ->add_option("--deadline", request.deadline_s,
                   "least seconds that an op may take before the run counts as hung")
      ->check(finite & CLI::Range(0.1, 86400.0))
      ->capture_default_str();
  command->add_option("--inject", request.inject,
                      "a fault, to see it found: stuck, hung, dead, dropped, swapped, miscounted "
                      "or flipped, as \"stuck:9:expert 1.0\"");
  command->add_option("--timeline", flags.files.timeline,
                      "write the timeline of the last step, with the routing that it counted");
  command->add_option("--trace", flags.files.trace, "write it for Perfetto (ui.perfetto.dev)");
  command->add_option("--svg", flags.files.svg, "write a Gantt picture of it");
  add_output_flags(*command, flags);
  command->footer(
      "Example:\n"
      "  zebroid simulate --model mixtral-d1 --cluster 6xA40,6xV100-16GB --strategy zebra \\\n"
      "      --schedule s.json\n"
      "  zebroid run s.json --shrink --steps 20 --verify\n"
      "Times are those of this machine's cores, not of the schedule's GPUs.");
  command->callback([&flags, &chosen] {
    chosen = [&flags] { return run_command(flags.run, flags.files, flags.output); };
  });
}

void add_inspections(CLI::App& app, Flags& flags, std::function<int()>& chosen) {
  CLI::App* verify = app.add_subcommand(
      "verify", "check schedules, clusters, models, calibrations; exit code 4 when one has faults");
  verify->add_option("FILE", flags.paths, "files to check")->required();
  add_output_flags(*verify, flags);
  verify->callback([&flags, &chosen] {
    chosen = [&flags] { return verify_command(flags.paths, flags.output); };
  });
  CLI::App* list =
      app.add_subcommand("list", "built-in GPUs, models, clusters, strategies, engines");
  list->add_option("WHAT", flags.what, "gpus, models, clusters, strategies or engines");
  add_output_flags(*list, flags);
  list->callback(
      [&flags, &chosen] { chosen = [&flags] { return list_command(flags.what, flags.output); }; });
  CLI::App* show = app.add_subcommand("show", "a model, GPU, cluster or node as it is understood");
  show->add_option("NAME", flags.what,
                   "a built-in name or a file, also `nvidia-smi topo -m` or NCCL's topology XML")
      ->required();
  show->add_option("--gpu", flags.gpu, "what the GPUs of a topology are, where it names none");
  add_output_flags(*show, flags);
  show->footer(
      "What a machine says of itself becomes a cluster file:\n"
      "  nvidia-smi topo -m >topo.txt\n"
      "  zebroid show topo.txt --gpu A100-40GB --json >node.json\n"
      "  zebroid plan --model mixtral-d1 --cluster node.json");
  show->callback([&flags, &chosen] {
    chosen = [&flags] { return show_command(*flags.what, flags.gpu, flags.output); };
  });
}

/// What is wrong with the command line, and where to read on. CLI11's own message unless a word is
/// unknown: then the nearest one is offered.
std::string usage_message(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* command = &app;
  std::string help = "zebroid --help";
  for (const CLI::App* chosen : app.get_subcommands()) {
    command = chosen;
    help = fmt::format("zebroid {} --help", chosen->get_name());
  }
  std::vector<std::string> commands;
  for (const CLI::App* known : app.get_subcommands({})) commands.push_back(known->get_name());
  std::vector<std::string> flags;
  for (const CLI::Option* option : command->get_options()) {
    if (!option->get_positional()) flags.push_back(option->get_name());
  }
  std::string message = error.what();
  const std::vector<std::string> unexpected = app.remaining(true);
  if (!unexpected.empty() && unexpected.front().starts_with("-")) {
    const std::string flag = unexpected.front().substr(0, unexpected.front().find('='));
    const std::string near = nearest(flag, flags);
    message = fmt::format("unknown flag '{}'", flag);
    if (!near.empty()) message += fmt::format("; did you mean '{}'?", near);
    if (near == flag) message = fmt::format("'{}' comes after the command", flag);
  } else if (!unexpected.empty() && command == &app) {
    message = unknown_name("command", unexpected.front(), commands);
  } else if (!unexpected.empty()) {
    message = fmt::format("unexpected '{}'", unexpected.front());
  } else if (command == &app) {
    message = fmt::format("which command? {}", fmt::join(commands, ", "));
  }
  return fmt::format("{}\nTry `{}`.", message, help);
}

/// Refuses what cannot run on several MPI ranks.
void check_ranks(const CLI::App& app) {
  if (!app.got_subcommand("sweep")) {
    throw Error(ErrorKind::input, "only sweep runs on several MPI ranks");
  }
  if (has_mpi()) return;
  throw Error(ErrorKind::hardware,
              "this zebroid was built without MPI and cannot use several ranks; install Open MPI "
              "and Boost.MPI (libopenmpi-dev, libboost-mpi-dev) and build it again");
}

/// Says what ends this process. What all ranks of an mpirun would say, the first says for all: that
/// ends the others while they wait here.
void print_end(std::string_view message) {
  const int rank = rank_place().rank;
  if (rank == 0) return print_note(fmt::format("zebroid: {}", message));
  constexpr int enough_ms = 3000;
  if (::poll(nullptr, 0, enough_ms) < 0) return;
  print_note(fmt::format("zebroid: rank {}: {}", rank, message));
}

int run(int argc, char** argv) {
  CLI::App app("How to train a Mixture-of-Experts model on GPUs of several generations.",
               "zebroid");
  app.set_version_flag("--version", "zebroid " ZEBROID_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 1 our fault, 2 bad usage or input, 3 does not fit in memory, 4 check "
      "failed,\n"
      "5 hardware not available, 6 run aborted, 130 interrupted. `zebroid COMMAND --help` has "
      "examples.");
  Flags flags;
  std::function<int()> chosen;
  add_plan(app, flags, chosen);
  add_simulate(app, flags, chosen);
  add_sweep(app, flags, chosen);
  add_calibrate(app, flags, chosen);
  add_run(app, flags, chosen);
  add_inspections(app, flags, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    std::ostringstream text;
    app.exit(success, text, text);
    if (rank_place().rank == 0) print_out(text.str());
    return 0;
  } catch (const CLI::ParseError& error) {
    print_end(usage_message(app, error));
    return exit_usage;
  }
  if (flags.color == "always") flags.output.color = ColorMode::always;
  if (flags.color == "never") flags.output.color = ColorMode::never;
  if (rank_place().size > 1) check_ranks(app);
  notice_interrupts();
  refuse_bad_outputs(flags.files);
  return chosen();
}

}  // namespace

int run_command_line(int argc, char** argv) noexcept {
  try {
    try {
      return run(argc, argv);
    } catch (const Interrupted& interrupted) {
      if (rank_place().rank == 0) print_end(interrupted.what());
      return exit_interrupted;
    } catch (const Error& error) {
      print_end(error.what());
      return static_cast<int>(error.kind());
    } catch (const std::bad_alloc&) {
      print_end("out of memory");
    } catch (const std::exception& error) {
      print_end(fmt::format("internal error: {}; please report it", error.what()));
    }
  } catch (...) {  // not even stderr can be written
  }
  return static_cast<int>(ErrorKind::internal);
}

}  // namespace zebroid
