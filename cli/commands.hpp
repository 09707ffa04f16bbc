#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/request.hpp"
#include "cli/terminal.hpp"

namespace zebroid {

/// How results are shown; common to all commands.
struct Output {
  bool json = false;
  bool quiet = false;
  ColorMode color = ColorMode::automatic;
};

/// Files to write beside the result. With several strategies the first takes the name as it is, the
/// others add theirs.
struct OutputFiles {
  std::optional<std::string> svg;
  std::optional<std::string> trace;
  std::optional<std::string> schedule;
  std::optional<std::string> timeline;
};

// Each returns the exit code for what it found and throws Error for what went wrong.

int simulate_command(const Request& request, const OutputFiles& files, const Output& output);
/// The best ways to train, ranked, with a verdict; `explain`: and the critical path of the best.
int plan_command(const Request& request, bool explain, const OutputFiles& files,
                 const Output& output);
/// Simulates a schedule file as it is.
int simulate_file_command(const std::string& path, const PredictionRequest& prediction,
                          const OutputFiles& files, const Output& output);

struct CalibrateRequest {
  std::vector<std::string> files;             ///< measurements, and folders of them
  std::optional<std::string> output;          ///< calibration file to write
  std::optional<std::string> samples_output;  ///< NDJSON file to write
  std::optional<std::string> gpu;             ///< kind of files that name none
  bool curves_only = false;                   ///< write no measured points
};
/// cluster: describes kinds that the catalogue lacks.
int calibrate_command(const CalibrateRequest& request, const std::optional<std::string>& cluster,
                      const Output& output);
/// What costs rest on, on each GPU kind of the request's cluster: these kernels, or where there are
/// none all that a layer of its model runs.
int show_costs_command(const Request& request, const std::vector<std::string>& kernels,
                       const Output& output);

struct SweepRequest {
  std::vector<std::string> vary;      ///< PATH=VALUES each
  std::optional<std::string> jobs;    ///< worker processes, of each rank under mpirun
  std::optional<std::string> output;  ///< the file for the lines
  std::optional<std::string> svg;     ///< a picture of them
};
int sweep_command(const Request& request, const SweepRequest& sweep, const Output& output);
/// A schedule to execute for real.
struct RunRequest {
  std::string schedule;  ///< file
  std::string backend = "host";
  std::uint32_t steps = 10;
  std::optional<std::string> text;  ///< file to learn; else the built-in one
  bool shrink = false;              ///< on a narrow twin of the model
  bool verify = false;              ///< against the single-rank reference
  bool checksum = false;            ///< of every message
  std::string dtype = "float32";
  std::uint64_t seed = 0;  ///< of the first parameters
  double learning_rate = 3e-3;
  std::optional<std::string> memory_limit;  ///< of each rank, as 64MiB
  double deadline_s = 5;                    ///< least that an op may take
  std::optional<std::string> inject;        ///< a fault, as KIND:RANK:OP
};
int run_command(const RunRequest& request, const OutputFiles& files, const Output& output);
int verify_command(const std::vector<std::string>& paths, const Output& output);
int list_command(const std::optional<std::string>& what, const Output& output);
/// `gpu`: the kind of the GPUs of a topology that names none.
int show_command(const std::string& what, const std::optional<std::string>& gpu,
                 const Output& output);

}  // namespace zebroid
