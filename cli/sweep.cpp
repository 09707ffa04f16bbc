#include "cli/sweep.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <thread>

#include "cli/result.hpp"
#include "core/error.hpp"

namespace zebroid {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// The line of a point, as yet without results.
Json line_of(const Point& point) {
  Json out;
  out["schema"] = "zebroid.sweep-point/1";
  Json& varied = out["point"] = Json::object();
  for (const auto& [path, value] : point) varied[path] = value;
  out["results"] = Json::array();
  return out;
}

Json no_result(const PlanRequest& request, const std::string& reason) {
  return {{"strategy", name_of(request.strategy)}, {"feasible", false}, {"reason", reason}};
}

/// For each strategy its result or why there is none.
Json run_point(const Resolver& resolver, const Point& point) {
  Json out = line_of(point);
  Json& results = out["results"];
  const auto without_result = [&](const PlanRequest& request, const Error& error) {
    if (error.kind() == ErrorKind::internal) throw error;
    results.push_back(no_result(request, error.what()));
  };
  try {
    const Scorer score = make_scorer(resolver.predictor().fast_fidelity());
    Resolved resolved = resolver.resolve(point);
    settle_batch(resolved, resolver, score);
    for (const PlanRequest& request : resolver.plans()) {
      try {
        const auto jobs = predict_jobs(resolver.predictor(), resolved.scenario, request, score);
        results.push_back(result_json(jobs, resolved, request));
      } catch (const Error& error) {
        without_result(request, error);
      }
    }
  } catch (const Error& error) {
    for (const PlanRequest& request : resolver.plans()) without_result(request, error);
  }
  return out;
}

std::string record_of(const Json& line) {
  PointRecord out{0, "-", to_text(line)};
  for (const Json& result : line["results"]) {
    if (!result["feasible"].get<bool>()) continue;
    const auto tokens_per_s = result["tokens_per_s"].get<double>();
    if (tokens_per_s <= out.tokens_per_s) continue;
    out.tokens_per_s = tokens_per_s;
    out.strategy = result["strategy"].get<std::string>();
  }
  return to_text(out);
}

// What ranks say to each other is text: "IDENTITY WANTED", then a line "POINT FAILED RECORD" for
// each finished point; rank 0 answers "go POINT POINT ...", or "end".

std::string report_line(const FinishedPoint& finished) {
  return fmt::format("{} {:d} {}\n", finished.point, finished.failed, finished.record);
}

/// Takes in what a rank reports and answers it.
void answer(Sweep& sweep, Ranks& ranks, const Ranks::Message& message,
            const std::string& identity) {
  std::istringstream text(message.text);
  std::string theirs;
  std::size_t wanted = 0;
  text >> theirs >> wanted;
  if (theirs != identity) {
    throw Error(ErrorKind::input, fmt::format("MPI rank {} is another build of zebroid than rank "
                                              "0, or reads other input files",
                                              message.from));
  }
  FinishedPoint finished;
  while (text >> finished.point >> finished.failed && text.ignore(1) &&
         std::getline(text, finished.record)) {
    sweep.add(finished);
  }
  std::string go = "go";
  for (const Workers::Number number : sweep.take(wanted)) go += fmt::format(" {}", number);
  ranks.send(message.from, go);
}

void answer_all(Sweep& sweep, Ranks& ranks, const std::string& identity) {
  for (;;) {
    const auto message = ranks.receive();
    if (!message) return;
    answer(sweep, ranks, *message, identity);
  }
}

/// Gives what a rank was told to its workers; false when that was to end.
bool follow(const std::string& message, PointWorkers& workers) {
  std::istringstream text(message);
  std::string word;
  text >> word;
  std::vector<Workers::Number> numbers;
  for (Workers::Number number = 0; text >> number;) numbers.push_back(number);
  workers.give(numbers);
  return word != "end";
}

}  // namespace

PointWorkers::PointWorkers(const Resolver& resolver, const SweepPoints& points, std::size_t jobs)
    : resolver_(resolver),
      points_(points),
      workers_(jobs,
               [&resolver, &points](Workers::Number number) {
                 return record_of(run_point(resolver, points.at(number)));
               },
               {.poll = stop_if_interrupted, .what = "the process of this point"}) {}

std::vector<FinishedPoint> PointWorkers::wait(milliseconds most) {
  std::vector<FinishedPoint> out;
  for (Workers::Finished& finished : workers_.wait(most)) {
    FinishedPoint& point = out.emplace_back();
    point.point = finished.number;
    try {
      point.record = finished.result.take();
    } catch (const Error& error) {  // costs this point, not the sweep
      point.failed = true;
      Json line = line_of(points_.at(finished.number));
      for (const PlanRequest& plan : resolver_.plans()) {
        line["results"].push_back(no_result(plan, error.what()));
      }
      point.record = record_of(line);
    }
  }
  return out;
}

Sweep::Sweep(const SweepPoints& points, SweepLines& lines, Progress& progress, std::size_t takers)
    : points_(points),
      lines_(lines),
      progress_(progress),
      takers_(takers),
      resumed_points_(points.size()) {
  for (std::size_t p = 0; p < points.size(); ++p) {
    const auto record = lines.found(p);
    if (!record) continue;
    resumed_points_[p] = true;
    ++resumed_;
    count(p, *record);
    stop_if_interrupted();
  }
  progress.resume(resumed_);
}

std::vector<Workers::Number> Sweep::take(std::size_t wanted) {
  const std::size_t share = (points_.size() - next_ + takers_ - 1) / takers_;
  const std::size_t limit = std::min(lines_.limit(), points_.size());
  std::vector<Workers::Number> out;
  for (; out.size() < std::min(wanted, share) && next_ < limit; ++next_) {
    if (!resumed_points_[next_]) out.push_back(next_);
  }
  return out;
}

void Sweep::add(const FinishedPoint& finished) {
  if (finished.failed) {
    ++failed_;
    lines_.add_failed(finished.point, finished.record);
  } else {
    lines_.add(finished.point, finished.record);
  }
  count(finished.point, finished.record);
}

void Sweep::count(std::size_t point, const std::string& record) {
  ++done_;
  if (!progress_.shown()) return;
  const PointRecord read = parse_record(record);
  if (read.tokens_per_s <= best_tokens_per_s_) return;
  best_tokens_per_s_ = read.tokens_per_s;
  best_ = fmt::format("best {} {} tokens/s at", read.strategy, grouped(read.tokens_per_s));
  for (const auto& [path, value] : points_.at(point)) {
    best_ +=
        fmt::format(" {}={}", path, value.is_string() ? value.get<std::string>() : to_text(value));
  }
}

void Sweep::show_progress() { progress_.update(done_, best_); }

void run_sweep(Sweep& sweep, PointWorkers& workers, Ranks* ranks, const std::string& identity) {
  const milliseconds patience(ranks == nullptr ? 100 : 2);
  while (!sweep.finished()) {
    workers.give(sweep.take(workers.wanted()));
    for (const FinishedPoint& finished : workers.wait(patience)) sweep.add(finished);
    if (ranks != nullptr) answer_all(sweep, *ranks, identity);
    sweep.show_progress();
  }
}

void dismiss(Ranks& ranks, int count) {
  while (count > 0) {
    stop_if_interrupted();
    const auto message = ranks.receive();
    if (message.has_value()) {
      ranks.send(message->from, "end");
      --count;
    } else {
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
}

void serve(PointWorkers& workers, Ranks& ranks, const std::string& identity) {
  constexpr milliseconds patience(2);
  constexpr milliseconds between_reports(20);
  std::string finished_lines;
  bool waits_for_answer = false;
  bool in_vain = false;  // the last answer left a worker without work
  Clock::time_point reported;
  for (;;) {
    for (const FinishedPoint& finished : workers.wait(patience)) {
      finished_lines += report_line(finished);
    }
    const bool urgent = workers.idle() && !in_vain;
    if (!waits_for_answer && (urgent || Clock::now() - reported >= between_reports)) {
      ranks.send(0, fmt::format("{} {}\n{}", identity, workers.wanted(), finished_lines));
      finished_lines.clear();
      waits_for_answer = true;
      reported = Clock::now();
    }
    if (!waits_for_answer) continue;
    const auto message = ranks.receive();
    if (!message) continue;
    if (!follow(message->text, workers)) return;
    waits_for_answer = false;
    in_vain = workers.idle();
  }
}

}  // namespace zebroid
