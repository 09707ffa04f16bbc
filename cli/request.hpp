#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/prediction.hpp"
#include "cli/terminal.hpp"
#include "core/json.hpp"
#include "models/scenario.hpp"
#include "planner/planner.hpp"

namespace zebroid {

/// What a person asks of simulate or sweep, as flags or in a --scenario file; not given = the
/// default.
struct Request {
  std::optional<std::string> model;
  std::optional<std::string> cluster;
  std::optional<std::string> network;
  std::optional<std::string> sequence_length;
  std::optional<std::string> global_batch;
  std::optional<std::string> microbatches;
  std::optional<std::string> chunks;
  std::optional<std::string> groups;
  std::vector<std::string> strategies;
  std::optional<std::string> expert_assignment;
  std::optional<std::string> recompute;
  std::optional<std::string> optimizer;
  std::optional<std::string> routing;
  std::optional<std::string> seed;
  std::vector<std::string> calibrations;
  std::vector<std::string> settings;  ///< PATH=VALUE, applied to the resolved scenario
  std::optional<std::string> scenario_file;
  std::optional<std::string> strict;  ///< an evidence grade
  PredictionRequest prediction;
  std::map<std::string, std::string> origin;  ///< of values from that file: "sequence_length" ->
                                              ///< "request.json:4: /sequence_length"

  /// What errors call a value: its origin, or the flag "--sequence-length".
  std::string name_of(const std::string& key) const;

  friend bool operator==(const Request&, const Request&) = default;
};

/// Fills what the flags leave open from the --scenario file, if any. Its settings come before the
/// flags'. Throws Error(input).
void read_scenario_file(Request& request);

/// How the global batch came about.
enum class BatchRule : std::uint8_t { given, tokens_per_gpu, max };

struct Resolved {
  Scenario scenario;
  BatchRule batch_rule = BatchRule::tokens_per_gpu;
};

/// A request made concrete. The inputs that files name are read once, so that a sweep can change
/// fields and resolve again.
class Resolver {
 public:
  /// default_strategies: planned when the request names none.
  Resolver(Request request, const std::vector<std::string>& default_strategies);

  /// The scenario with the request's settings and then `changes` (PATH, value) applied to its
  /// resolved form. With BatchRule::max its batch is 0 and for the caller to find.
  Resolved resolve(const std::vector<std::pair<std::string, Json>>& changes) const;
  /// One per strategy asked for, or of the defaults.
  const std::vector<PlanRequest>& plans() const { return plans_; }
  /// "mixtral-d1 on o1".
  std::string title() const;
  const Predictor& predictor() const { return predictor_; }
  /// No strategy was named: those that cannot be had are left out, as long as one can.
  bool by_default() const { return by_default_; }
  /// The least evidence that a prediction may rest on, where the request asks for one.
  std::optional<Evidence> strict() const { return strict_; }
  bool assignment_given() const { return request_.expert_assignment.has_value(); }
  /// All that results depend on but changes, the build and further values that name files: equal
  /// texts, equal results.
  std::string identity() const;

 private:
  void read_model_file(const std::string& name_or_path);
  void read_training();
  void read_plans(const std::vector<std::string>& default_strategies);

  Request request_;
  Predictor predictor_;
  Json base_;  ///< resolved form, without calibration
  Calibration calibration_;
  std::vector<PlanRequest> plans_;
  bool wants_largest_batch_ = false;
  bool by_default_ = false;
  std::optional<Evidence> strict_;
};

/// Splits "PATH=VALUE"; the value is JSON when it reads as JSON, else a string. Throws
/// Error(input).
std::pair<std::string, Json> parse_setting(const std::string& text);

/// The value as text; one that names a file stands for the file's content too.
std::string identity_of(const Json& value);

/// Sets a field of a resolved scenario by its dotted path, as "training.sequence_length" or
/// "cluster.gpus.0.count"; "cluster.KIND" is the number of GPUs of a kind. Throws Error(input) with
/// the nearest known key when there is no such field.
void set_field(Json& scenario, const std::string& path, const Json& value);

/// A whole number from `low` to `high` written in decimal. Throws Error(input) beginning with
/// `name`.
std::uint64_t parse_count(const std::string& name, const std::string& text, std::uint64_t low,
                          std::uint64_t high);

/// The position of `value` among the values that an option takes. Throws Error(input) beginning
/// with `name`.
std::size_t parse_choice(const std::string& name, const std::string& value,
                         const std::vector<std::string>& known);

/// A built-in model's name, a config.json or a folder with one. Throws Error(input), offering the
/// nearest name.
JsonDocument find_model_config(const std::string& name_or_path);
/// "mixtral-d1" for ".../mixtral-d1.json" or ".../mixtral-d1/config.json".
std::string model_name_of(const std::string& name_or_path);
std::vector<std::string> builtin_names(const std::string& folder);  ///< of configs/FOLDER, sorted

}  // namespace zebroid
