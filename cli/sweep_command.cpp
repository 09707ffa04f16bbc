#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>
#include <thread>

#include "cli/commands.hpp"
#include "cli/sweep.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "report/landscape_svg.hpp"

namespace zebroid {
namespace {

/// Stands for all that the lines of a sweep depend on but the points' own values.
Digest identity_of(const Resolver& resolver) {
  constexpr std::size_t largest = std::size_t{1} << 30U;
  const Digest build = digest(read_file("/proc/self/exe", largest));
  return digest(to_text(build) + resolver.identity());
}

std::size_t jobs_of(const SweepRequest& sweep, const RankPlace& place) {
  constexpr std::uint64_t most_jobs = 1024;
  if (sweep.jobs) return parse_count("--jobs", *sweep.jobs, 1, most_jobs);
  return place.size > 1 ? 1 : std::max(1U, std::thread::hardware_concurrency());
}

std::unique_ptr<SweepLines> open_lines(const SweepRequest& sweep, const SweepPoints& points,
                                       const std::string& identity) {
  if (!sweep.output) return printed_lines();
  return std::make_unique<FileLines>(
      *sweep.output, points.size(),
      [&points, identity](std::size_t p) { return digest(identity + points.identity(p)); });
}

void note_resumed(std::size_t resumed, std::size_t points, const SweepRequest& request) {
  if (resumed == 0) return;
  print_note(fmt::format("zebroid: resumed: {} of {} points were in {}", resumed, points,
                         FileLines::journal_name(request.output.value_or(""))));
}

void check_picture(const SweepRequest& sweep, const SweepPoints& points) {
  constexpr std::size_t most_dimensions = 3;
  if (!sweep.svg) return;
  if (!sweep.output) {
    throw Error(ErrorKind::input,
                "--svg: a sweep's picture is made from its file; give --output too");
  }
  if (points.dimensions() > most_dimensions) {
    throw Error(ErrorKind::input,
                fmt::format("--svg: a picture shows at most {} fields with more than one value, "
                            "--vary names {}",
                            most_dimensions, points.dimensions()));
  }
}

void draw(const std::string& file, const std::string& picture, const Resolver& resolver) {
  constexpr std::size_t largest = std::size_t{1} << 30U;
  std::istringstream text(read_file(file, largest));
  std::vector<Json> points;
  for (std::string line; std::getline(text, line);) points.push_back(Json::parse(line));
  write_file(picture, landscape_svg(points, resolver.title()));
}

/// The exit code.
int conclude(std::size_t failed, std::size_t points, const SweepRequest& request) {
  if (failed == 0) return 0;
  print_note(fmt::format("zebroid: {} of {} points failed; their lines say why{}", failed, points,
                         request.output ? "; the same command again tries these again" : ""));
  return static_cast<int>(ErrorKind::internal);
}

}  // namespace

int sweep_command(const Request& request, const SweepRequest& sweep_request, const Output& output) {
  if (request.strict) {
    throw Error(ErrorKind::input, "--strict: of one prediction; give it to plan or simulate");
  }
  const RankPlace place = rank_place();
  const Resolver resolver(request, {"zebra", "ep"});
  const SweepPoints points(sweep_request.vary);
  points.check(resolver);
  check_picture(sweep_request, points);
  // Forked first: workers share neither the journal nor MPI.
  PointWorkers workers(resolver, points, jobs_of(sweep_request, place));
  const bool compares = place.size > 1 || sweep_request.output;
  const std::string identity = compares ? to_text(identity_of(resolver)) : "";
  const std::string common =
      to_text(digest(fmt::format("{} {}", identity, fmt::join(sweep_request.vary, " "))));
  if (place.rank > 0) {
    const auto ranks = join_ranks();
    serve(workers, *ranks, common);
    ranks->leave();
    return 0;
  }
  const auto lines = open_lines(sweep_request, points, identity);
  const auto ranks = place.size > 1 ? join_ranks() : nullptr;
  std::size_t failed = 0;
  try {
    Progress progress("points", points.size(), output.quiet);
    Sweep sweep(points, *lines, progress, static_cast<std::size_t>(place.size));
    if (!output.quiet) note_resumed(sweep.resumed(), points.size(), sweep_request);
    run_sweep(sweep, workers, ranks.get(), common);
    lines->finish();
    if (sweep_request.svg && sweep_request.output) {
      draw(*sweep_request.output, *sweep_request.svg, resolver);
    }
    failed = sweep.failed();
  } catch (const Interrupted&) {
    if (!sweep_request.output) throw;
    throw Interrupted("interrupted; run the same command again to go on");
  }
  if (ranks) {
    dismiss(*ranks, place.size - 1);
    ranks->leave();
  }
  return conclude(failed, points.size(), sweep_request);
}

}  // namespace zebroid
