#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "traces/decimal.hpp"
#include "traces/lines.hpp"
#include "traces/readers.hpp"
#include "traces/row.hpp"
#include "traces/text.hpp"

namespace zebroid {
namespace {

using Words = std::vector<std::string_view>;

/// How busbw follows from size / time over n ranks; see doc/PERFORMANCE.md of nccl-tests.
enum class Factor { one, peers, twice_peers };  // 1, (n-1)/n, 2(n-1)/n

double value_of(Factor factor, double ranks) {
  if (factor == Factor::one) return 1;
  return (factor == Factor::peers ? 1 : 2) * (ranks - 1) / ranks;
}

/// One program of nccl-tests.
struct Program {
  std::string_view name;         // without "_perf"
  std::string_view other_name;   // in files' names
  std::optional<MeasuredOp> op;  // nothing: not an operation of ours
  Factor factor = Factor::one;
  bool fills_redop = false;     // sendrecv too, although it reduces nothing; else "none"
  bool has_root = false;        // fills the column root; -1 or nothing in others
  bool checks_in_place = true;  // #wrong is N/A in place even where results are checked
};

constexpr std::array<Program, 9> programs = {{
    {"all_reduce", "allreduce", MeasuredOp::all_reduce, Factor::twice_peers, true},
    {"all_gather", "allgather", MeasuredOp::all_gather, Factor::peers},
    {"reduce_scatter", "reducescatter", MeasuredOp::reduce_scatter, Factor::peers, true},
    {"alltoall", "all_to_all", MeasuredOp::all_to_all, Factor::peers, false, false, false},
    {"sendrecv", "send_recv", MeasuredOp::send_recv, Factor::one, true, false, false},
    {"broadcast", "bcast", MeasuredOp::broadcast, Factor::one, false, true},
    {"reduce", "reduce", std::nullopt, Factor::one, true, true},
    {"gather", "gather", std::nullopt, Factor::peers, false, true},
    {"scatter", "scatter", std::nullopt, Factor::peers, false, true},
}};
using Candidates = std::vector<const Program*>;

struct Dtype {
  std::string_view printed;
  std::string_view ours;
  double bytes = 0;
};

constexpr std::array<Dtype, 16> dtypes = {{{"int8", "int8", 1},
                                           {"char", "int8", 1},
                                           {"uint8", "uint8", 1},
                                           {"int32", "int32", 4},
                                           {"int", "int32", 4},
                                           {"uint32", "uint32", 4},
                                           {"int64", "int64", 8},
                                           {"uint64", "uint64", 8},
                                           {"half", "fp16", 2},
                                           {"float", "fp32", 4},
                                           {"double", "fp64", 8},
                                           {"bfloat16", "bf16", 2},
                                           {"f8e4m3", "fp8_e4m3", 1},
                                           {"f8e5m2", "fp8_e5m2", 1},
                                           {"fp8_e4m3", "fp8_e4m3", 1},
                                           {"fp8_e5m2", "fp8_e5m2", 1}}};

/// Null when the word names none.
const Dtype* dtype_in(std::string_view word) {
  const auto* const found = std::find_if(dtypes.begin(), dtypes.end(),
                                         [&](const Dtype& dtype) { return dtype.printed == word; });
  return found == dtypes.end() ? nullptr : found;
}

struct Device {
  std::size_t rank = 0;
  std::string host;
  std::string name;
  std::string group;
};

/// Columns of a table, by its header.
struct Columns {
  std::size_t trailing = 8;    // from the first time on, without a timestamp
  bool has_timestamp = false;  // two words at the end of each row
  bool has_redop = true;
  bool counts_wrong = true;  // #wrong, not the largest error
  bool cpu_time = false;
  double time_unit = 1e-6;
};

struct Number {
  double value = 0;
  double half_step = 0;  // what rounding may have hidden
};

struct Row {
  std::size_t line = 0;
  double bytes = 0;
  double elements = 0;
  const Dtype* dtype = nullptr;
  std::string_view redop;  // "" = blank or no such column
  bool has_root = false;
  Number time;   // seconds
  Number algbw;  // bytes per second
  Number busbw;
  bool checked = false;
  bool checked_in_place = false;
  double wrong = 0;
  std::string date;
};

/// One table, with what stands above it.
struct Run {
  std::string_view program;  // as the log names it; "" = it does not
  std::uint32_t iterations = 1;
  bool has_settings = false;
  std::vector<Device> devices;
  std::size_t first_line = 0;
  Columns columns;
  std::vector<Row> rows;
};

/// A number as printf rounds it: "34.73" stands for anything within 0.005 of it.
std::optional<Number> printed_number(std::string_view word) {
  const auto value = parse_decimal(word);
  if (!value) return std::nullopt;
  const std::size_t exponent_at = std::min(word.find_first_of("eE"), word.size());
  const std::string_view mantissa = word.substr(0, exponent_at);
  const std::size_t point = mantissa.find('.');
  const auto decimals =
      point == std::string_view::npos ? 0 : static_cast<double>(mantissa.size() - point - 1);
  std::string_view exponent = word.substr(std::min(exponent_at + 1, word.size()));
  if (exponent.starts_with('+')) exponent.remove_prefix(1);
  const double power = whole_number_in<int>(exponent).value_or(0);
  return Number{*value, 0.5 * std::pow(10.0, power - decimals)};
}

Number operator*(Number number, double unit) {
  return {number.value * unit, number.half_step * unit};
}

/// "2026-04-19" at the start of a word, perhaps in brackets; else "".
std::string date_in(std::string_view word) {
  while (!word.empty() && (word.front() == '[' || word.front() == '(')) word.remove_prefix(1);
  constexpr std::size_t length = 10;
  if (word.size() < length || word[4] != '-' || word[7] != '-') return "";
  const auto year = whole_number_in<unsigned>(word.substr(0, 4));
  const auto month = whole_number_in<unsigned>(word.substr(5, 2));
  const auto day = whole_number_in<unsigned>(word.substr(8, 2));
  if (!year || !month || !day || *year < 2000 || *month < 1 || *month > 12 || *day < 1 ||
      *day > 31) {
    return "";
  }
  return std::string(word.substr(0, length));
}

/// The line without what mpirun --tag-output or srun --label put before it.
std::string_view without_tag(std::string_view line) {
  constexpr std::string_view digits = "0123456789";
  const std::size_t start = std::min(line.find_first_not_of(" \t"), line.size());
  const std::string_view rest = line.substr(start);
  if (rest.starts_with('[')) {
    const std::size_t end = rest.find(">:");
    const std::string_view tag = rest.substr(0, end);
    if (end != std::string_view::npos && (contains(tag, "]<std") || contains(tag, "]<STD"))) {
      return rest.substr(end + 2);
    }
  }
  const std::size_t colon = rest.find_first_not_of(digits);
  if (colon != 0 && colon != std::string_view::npos && rest.substr(colon).starts_with(": ")) {
    return rest.substr(colon + 2);
  }
  return line;
}

/// "alltoall" for "./build/alltoall_perf" and "alltoall_perf_mpi"; else "".
std::string_view program_in(std::string_view word) {
  word.remove_prefix(std::min(word.find_last_of('/') + 1, word.size()));
  for (const std::string_view suffix : {"_mpi", "_perf"}) {
    if (word.ends_with(suffix)) {
      word.remove_suffix(suffix.size());
    } else if (suffix == "_perf") {
      return "";
    }
  }
  return word;
}

/// Of a command line, as "mpirun -np 8 ./build/alltoall_perf -b 8": the program with its options
/// behind, which tells it from a list of files.
std::string_view program_of_command(const Words& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view program = program_in(words[i]);
    const bool is_run = i + 1 == words.size() ? i == 0 : words[i + 1].starts_with('-');
    if (!program.empty() && is_run) return program;
  }
  return "";
}

class LogReader {
 public:
  LogReader(std::string_view text, const std::string& name)
      : name_(name), complaints_(name, out_.complaints), lines_(text, complaints_) {}

  Samples read() {
    while (lines_.next()) read_line(without_tag(lines_.line()));
    finish_run();
    if (!saw_table_) complaints_.add(0, "expected a table of nccl-tests, got none");
    return std::move(out_);
  }

 private:
  void complain(std::string_view message) { complaints_.add(lines_.number(), message); }
  void note(std::string text) {
    if (std::find(out_.notes.begin(), out_.notes.end(), text) == out_.notes.end()) {
      out_.notes.push_back(std::move(text));
    }
  }

  void read_line(std::string_view line) {
    const Words words = words_of(line);
    if (words.empty()) return;
    if (words[0].starts_with('#')) {
      read_header(words);
    } else if (!read_data(words)) {
      read_text(words);
    }
  }

  // --- what stands above a table ---

  void read_header(const Words& words) {
    const auto word = [&](std::size_t i) { return i < words.size() ? words[i] : ""; };
    if (word(1) == "Collective" && word(3) == "starting:") {
      if (run_.has_settings || !run_.rows.empty()) finish_run();
      run_.program = program_in(word(4));
    } else if (word(1) == "nThread" || word(1) == "nThread:") {
      read_settings(words);
    } else if (word(1) == "Rank") {
      read_device(words);
    } else if (word(1) == "size" && word(2) == "count") {
      read_columns(words);
    } else if (word(1) == "(B)" || word(1) == "(bytes)") {
      read_units(words);
    } else if (word(1) == "Avg" && word(2) == "bus") {
      finish_run();
    } else {
      read_text(words);
    }
  }

  void read_settings(const Words& words) {
    if (run_.has_settings || !run_.rows.empty()) finish_run();
    run_.has_settings = true;
    for (std::size_t i = 1; i + 1 < words.size(); ++i) {
      if (words[i] != "iters:" || words[i - 1] == "warmup" || words[i - 1] == "agg") continue;
      run_.iterations = std::max(whole_number_in<std::uint32_t>(words[i + 1]).value_or(1), 1U);
    }
  }

  /// "# Rank 0 Group 0 Pid 123 on host device 0 [0x07] NVIDIA A40"; Group and Pid may be absent.
  void read_device(const Words& words) {
    if (!run_.rows.empty()) finish_run();
    Device device;
    std::size_t at = 2;
    const auto value_after = [&](std::string_view key) -> std::string_view {
      if (at + 1 >= words.size() || words[at] != key) return "";
      at += 2;
      return words[at - 1];
    };
    const auto rank = at < words.size() ? whole_number_in<std::size_t>(words[at++])
                                        : std::optional<std::size_t>();
    device.group = value_after("Group");
    value_after("Pid");
    device.host = value_after("on");
    const std::string_view number = value_after("device");
    if (at < words.size() && words[at].starts_with('[')) ++at;
    if (!rank || device.host.empty() || number.empty() || at >= words.size()) {
      return complain("expected a device as in \"# Rank 0 Pid 1 on host device 0 [0x07] NAME\"");
    }
    device.rank = *rank;
    device.name = fmt::format(
        "{}", fmt::join(words.begin() + static_cast<std::ptrdiff_t>(at), words.end(), " "));
    run_.devices.push_back(std::move(device));
  }

  void read_columns(const Words& words) {
    if (!run_.rows.empty()) {  // one more table of the same processes
      Run again{.iterations = run_.iterations, .devices = run_.devices};
      finish_run();
      again.program = run_.program;
      run_ = std::move(again);
    }
    const auto is_time = [](std::string_view word) { return word == "time" || word == "cputime"; };
    const auto time = std::find_if(words.begin(), words.end(), is_time);
    Columns columns;
    columns.has_timestamp = words.back() == "timestamp";
    columns.trailing = static_cast<std::size_t>(words.end() - time);
    if (columns.has_timestamp) --columns.trailing;
    columns.has_redop = std::find(words.begin(), time, "redop") != time;
    columns.counts_wrong = std::find(time, words.end(), "#wrong") != words.end();
    columns.cpu_time = time != words.end() && *time == "cputime";
    constexpr std::size_t fewest = 4;
    if (columns.trailing < fewest || columns.trailing % 2 != 0) {
      return complain("expected columns time, algbw, busbw and #wrong");
    }
    run_.columns = columns;
  }

  void read_units(const Words& words) {
    static const std::map<std::string_view, double> units = {
        {"(ns)", 1e-9}, {"(us)", 1e-6}, {"(ms)", 1e-3}, {"(s)", 1}};
    const auto is_unit = [&](std::string_view word) {
      return word.starts_with('(') && word != words[1] && word != "(elements)";
    };
    const auto unit = std::find_if(words.begin(), words.end(), is_unit);
    if (unit == words.end()) return;
    const auto known = units.find(*unit);
    run_.columns.time_unit = known == units.end() ? 0 : known->second;
  }

  void read_text(const Words& words) {
    for (const std::string_view word : words) {
      if (std::string date = date_in(word); !date.empty()) date_ = std::move(date);
    }
    if (const std::string_view program = program_of_command(words); !program.empty()) {
      (run_.rows.empty() ? run_.program : next_program_) = program;
    }
  }

  // --- rows ---

  /// Whether the line is, or was meant to be, a row of a table.
  bool read_data(const Words& words) {
    constexpr std::size_t beginning = 3;  // size, count, type
    const auto starts_row = [&](std::size_t i) {
      return i + beginning <= words.size() && whole_number_in<std::int64_t>(words[i]) &&
             whole_number_in<std::int64_t>(words[i + 1]) && dtype_in(words[i + 2]) != nullptr;
    };
    std::size_t start = 0;
    while (start < words.size() && !starts_row(start)) ++start;
    if (start == words.size()) return false;
    saw_table_ = true;
    const std::size_t behind =
        run_.columns.trailing + (run_.columns.has_timestamp ? std::size_t{2} : 0);
    constexpr std::size_t most_before = beginning + 2;  // redop, root
    const std::size_t fields = words.size() - start;
    if (start > 0 || fields < beginning + behind || fields > most_before + behind) {
      complain("other text runs into this row of the table");
      return true;
    }
    add_row(words, words.size() - behind);
    return true;
  }

  void add_row(const Words& words, std::size_t first_time) {
    Row row{.line = lines_.number(), .dtype = dtype_in(words[2])};
    row.bytes = static_cast<double>(whole_number_in<std::int64_t>(words[0]).value_or(0));
    if (row.bytes == 0) return;
    if (row.bytes > most_size) return complain(expected("a size up to 1e12", words[0]));
    if (row.bytes < 0) return complain(expected("a size above 0", words[0]));
    row.elements = static_cast<double>(whole_number_in<std::int64_t>(words[1]).value_or(0));
    for (std::size_t i = 3; i < first_time; ++i) {
      if (const auto root = whole_number_in<int>(words[i])) {
        row.has_root = *root >= 0;
      } else {
        row.redop = words[i] == "none" ? "" : words[i];
      }
    }
    const auto numbers_at = [&](std::size_t at) {
      return std::array{printed_number(words[at]), printed_number(words[at + 1]),
                        printed_number(words[at + 2])};
    };
    const auto [time, algbw, busbw] = numbers_at(first_time);
    if (!time || !algbw || !busbw || !wrong_at(words[first_time + 3], row.checked, row.wrong)) {
      return complain(expected(
          "numbers",
          fmt::format("{}", fmt::join(words.begin() + static_cast<std::ptrdiff_t>(first_time),
                                      words.end(), " "))));
    }
    if (time->value * run_.columns.time_unit <= 0 && run_.columns.time_unit > 0) {
      return complain(expected("a time above 0", words[first_time]));
    }
    const std::size_t half = run_.columns.trailing / 2;
    double ignored = 0;
    if (run_.columns.trailing >= 8 &&
        !wrong_at(words[first_time + half + 3], row.checked_in_place, ignored)) {
      return complain("other text runs into this row of the table");
    }
    constexpr double giga = 1e9;
    row.time = *time * run_.columns.time_unit;
    row.algbw = *algbw * giga;
    row.busbw = *busbw * giga;
    row.date = run_.columns.has_timestamp ? date_in(words[words.size() - 2]) : date_;
    if (run_.rows.empty()) run_.first_line = row.line;
    run_.rows.push_back(std::move(row));
  }

  /// Reads the last column of a half; false when that is neither a number nor N/A.
  static bool wrong_at(std::string_view word, bool& checked, double& wrong) {
    const auto value = parse_decimal(word);
    checked = value.has_value();
    wrong = value.value_or(0);
    return checked || word == "N/A";
  }

  // --- a whole run ---

  void finish_run() {
    const bool has_rows = !run_.rows.empty();
    const std::string_view next = std::exchange(next_program_, "");
    const Run run = std::exchange(run_, Run{.program = has_rows ? next : run_.program});
    if (!has_rows) return;
    const auto refuse = [&](std::string_view why) { complaints_.add(run.first_line, why); };
    if (run.columns.time_unit <= 0) return refuse("unknown unit of times");
    if (run.columns.cpu_time) return refuse("times are of the CPU, not of the exchange: left out");
    const std::string fault = fault_of_devices(run);
    if (!fault.empty()) return refuse(fault);
    const Candidates which = candidates(run);
    if (which.size() > 1) {
      return refuse(
          fmt::format("which collective is this? Name the file after it: {}", names_of(which)));
    }
    const auto op = which.empty() ? std::nullopt : which[0]->op;
    if (!op) {
      return note(fmt::format("{}:{}: {} is no exchange that zebroid predicts: left out", name_,
                              run.first_line, which.empty() ? run.program : which[0]->name));
    }
    add_samples(run, *which[0], *op);
  }

  static std::string names_of(const Candidates& which) {
    std::vector<std::string_view> names;
    names.reserve(which.size());
    for (const Program* program : which) names.push_back(program->name);
    return fmt::format("{}", fmt::join(names, " or "));
  }

  static std::string fault_of_devices(const Run& run) {
    if (run.devices.empty()) return "no \"# Rank\" lines: how many ranks there are is not known";
    std::vector<bool> seen(run.devices.size());
    std::set<std::string> groups;
    for (const Device& device : run.devices) {
      groups.insert(device.group);
      if (device.rank >= seen.size()) {
        return fmt::format("\"# Rank\" lines of some ranks below {} are missing", device.rank);
      }
      if (seen[device.rank]) {
        return fmt::format(
            "rank {} is listed twice: processes that MPI did not join, or ranks "
            "that print at once",
            device.rank);
      }
      seen[device.rank] = true;
    }
    if (groups.size() > 1) return "several groups of ranks exchanged at once";
    if (seen.size() < 2) return "one rank exchanges nothing";
    return "";
  }

  /// Programs that this may be: the one that the log names, else those whose bandwidths, then
  /// columns, then name fit what is seen; each is asked only while several are left.
  Candidates candidates(const Run& run) const {
    Candidates out;
    for (const Program& program : programs) {
      if (run.program.empty() || program.name == run.program) out.push_back(&program);
    }
    if (!run.program.empty()) return out;
    narrow(out, [&](const Program& p) { return fits_bandwidths(run, p); });
    narrow(out, [&](const Program& p) { return fits_counts(run, p); });
    narrow(out, [&](const Program& p) { return fits_columns(run, p); });
    narrow(out, [&](const Program& p) { return fits_checks(run, p); });
    const std::string file = lower_case(name_.substr(name_.find_last_of('/') + 1));
    narrow(out, [&](const Program& p) {
      return contains(file, p.name) || contains(file, p.other_name);
    });
    const Candidates named = out;  // "reduce" is part of "reduce_scatter"
    narrow(out, [&](const Program& p) {
      return std::none_of(named.begin(), named.end(), [&](const Program* other) {
        return other != &p && contains(other->name, p.name);
      });
    });
    return out;
  }

  /// Keeps those that fit; all of them when none does, which then says nothing.
  template <class Fits>
  static void narrow(Candidates& which, Fits fits) {
    if (which.size() < 2) return;
    Candidates kept;
    std::copy_if(which.begin(), which.end(), std::back_inserter(kept),
                 [&](const Program* program) { return fits(*program); });
    if (!kept.empty()) which = std::move(kept);
  }

  /// Whether busbw of the row that shows it best is the program's share of size / time.
  static bool fits_bandwidths(const Run& run, const Program& program) {
    const auto best =
        std::max_element(run.rows.begin(), run.rows.end(),
                         [](const Row& a, const Row& b) { return a.busbw.value < b.busbw.value; });
    return agrees(*best, best->busbw, value_of(program.factor, ranks_of(run)));
  }

  /// Programs that cut the buffer into a part per peer count the elements of a part.
  static bool fits_counts(const Run& run, const Program& program) {
    const Row& row = run.rows.back();
    const double parts = program.factor == Factor::peers ? ranks_of(run) : 1;
    return row.elements * parts * row.dtype->bytes == row.bytes;
  }

  static bool fits_columns(const Run& run, const Program& program) {
    const Row& row = run.rows.front();
    if (program.has_root != row.has_root) return false;
    if (run.columns.counts_wrong) return program.fills_redop == !row.redop.empty();
    // Old tables had the column where it was filled, but for alltoall's.
    const bool had_column = run.columns.has_redop;
    if (had_column && row.redop.empty()) return program.name == "alltoall";
    const bool fills = program.fills_redop && program.name != "sendrecv";
    return had_column == fills && program.name != "alltoall";
  }

  static bool fits_checks(const Run& run, const Program& program) {
    if (!run.columns.counts_wrong) return true;  // old versions checked all
    return std::all_of(run.rows.begin(), run.rows.end(), [&](const Row& row) {
      return !row.checked || row.checked_in_place == program.checks_in_place;
    });
  }

  static double ranks_of(const Run& run) { return static_cast<double>(run.devices.size()); }

  /// Whether `rate` is `factor` times size / time, within what was rounded away of either.
  static bool agrees(const Row& row, Number rate, double factor) {
    constexpr double slack = 1 + 1e-9;
    const double least_time = std::max(row.time.value - row.time.half_step, 0.0);
    const double low = factor * row.bytes / (row.time.value + row.time.half_step);
    const double high =
        least_time > 0 ? factor * row.bytes / least_time : std::numeric_limits<double>::infinity();
    return rate.value + rate.half_step * slack >= low / slack &&
           rate.value - rate.half_step * slack <= high * slack;
  }

  /// What is wrong with a row; "" when nothing is.
  static std::string fault_of(const Row& row, const Run& run, const Program& program) {
    constexpr double largest_error = 0.1;  // far above what summing in half precision leaves
    if (run.columns.counts_wrong && row.wrong > 0) {
      return fmt::format("{:g} values of the result are wrong", row.wrong);
    }
    if (row.wrong > largest_error) {
      return fmt::format("the result is wrong by {:g}", row.wrong);
    }
    const double ranks = ranks_of(run);
    const double factor = value_of(program.factor, ranks);
    // Before 2020-06 algbw of all_gather and reduce_scatter was what busbw is.
    const bool old_algbw = program.factor == Factor::peers && agrees(row, row.algbw, factor);
    if (!old_algbw && !agrees(row, row.algbw, 1)) {
      return fmt::format("algbw is {:g} GB/s, but {:.0f} bytes in {:g} us are {:.4g}",
                         row.algbw.value / 1e9, row.bytes, row.time.value * 1e6,
                         row.bytes / row.time.value / 1e9);
    }
    if (!agrees(row, row.busbw, factor)) {
      return fmt::format("busbw is {:g} GB/s, but {} over {:.0f} ranks makes {:.4g} of this time",
                         row.busbw.value / 1e9, program.name, ranks,
                         factor * row.bytes / row.time.value / 1e9);
    }
    return "";
  }

  void add_samples(const Run& run, const Program& program, MeasuredOp op) {
    std::map<std::string_view, std::size_t> hosts;
    std::set<std::string> kinds;
    for (const Device& device : run.devices) {
      ++hosts[device.host];
      const std::string known = gpu_of_device(device.name);
      kinds.insert(known.empty() ? device.name : known);
    }
    std::size_t per_node = 0;
    for (const auto& [host, count] : hosts) per_node = std::max(per_node, count);
    if (per_node * hosts.size() != run.devices.size()) {
      note(fmt::format("{}:{}: hosts have unequal numbers of ranks: {} per node assumed", name_,
                       run.first_line, per_node));
    }
    const double ranks = ranks_of(run);
    for (const Row& row : run.rows) {
      const std::string fault = fault_of(row, run, program);
      if (!fault.empty()) {
        complaints_.add(row.line, fault);
        continue;
      }
      Sample sample{.gpu = fmt::format("{}", fmt::join(kinds, "+")),
                    .op = op,
                    .kernel = "nccl",
                    .dtype = std::string(row.dtype->ours),
                    .shape = {row.bytes, ranks, static_cast<double>(per_node)},
                    .time = {row.time.value},
                    .repeats = run.iterations,
                    .source = name_,
                    .line = row.line,
                    .date = row.date};
      out_.samples.push_back(std::move(sample));
    }
  }

  const std::string& name_;
  Samples out_;
  Complaints complaints_;
  LineReader lines_;
  Run run_;
  std::string_view next_program_;  // of the run after this one
  std::string date_;
  bool saw_table_ = false;
};

}  // namespace

Samples read_nccl_log(std::string_view text, const std::string& name,
                      const ReadOptions& /*options*/) {  // a log without devices is refused
  return LogReader(text, name).read();
}

}  // namespace zebroid
