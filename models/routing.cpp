#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <random>

#include "core/error.hpp"
#include "models/training.hpp"

namespace zebroid {
namespace {

/// Scales to sum 1 and moves what exceeds 1 / top_k to the others: a token picks an expert at most
/// once.
void normalise(std::vector<double>& shares, std::uint32_t top_k) {
  const double most = 1.0 / top_k;
  std::vector<bool> full(shares.size(), false);
  double scale = 1;  // of those that are not full
  for (bool changed = true; changed;) {
    changed = false;
    double open = 0;
    double taken = 0;
    for (std::size_t e = 0; e < shares.size(); ++e) {
      (full[e] ? taken : open) += full[e] ? most : shares[e];
    }
    if (open <= 0) break;
    scale = (1 - taken) / open;
    for (std::size_t e = 0; e < shares.size(); ++e) {
      if (full[e] || shares[e] * scale <= most) continue;
      full[e] = changed = true;
    }
  }
  for (std::size_t e = 0; e < shares.size(); ++e) shares[e] = full[e] ? most : shares[e] * scale;
}

/// A standard normal number from uniform bits by the Box-Muller transform: the same on every
/// platform, which std::normal_distribution is not.
double standard_normal(std::mt19937_64& bits) {
  constexpr double two_pi = 6.283185307179586;
  constexpr double unit = 1.0 / 9007199254740992.0;  // 2^-53
  const double u = (static_cast<double>(bits() >> 11U) + 0.5) * unit;
  const double v = static_cast<double>(bits() >> 11U) * unit;
  return std::sqrt(-2 * std::log(u)) * std::cos(two_pi * v);
}

double parse_sigma(const std::string& spec) {
  const std::string_view text =
      std::string_view(spec).substr(std::string_view("lognormal:").size());
  double sigma = -1;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), sigma);
  constexpr double most_sigma = 10;
  if (failure != std::errc() || end != text.data() + text.size() || !(sigma >= 0) ||
      sigma > most_sigma) {
    throw Error(ErrorKind::input,
                fmt::format("routing: expected lognormal:SIGMA with SIGMA from 0 to {}, got '{}'",
                            most_sigma, spec));
  }
  return sigma;
}

bool is_drawn(const std::string& spec) {
  return spec == "uniform" || spec.starts_with("lognormal:");
}

std::vector<std::vector<double>> read_tokens(const JsonView& view) {
  constexpr double most_tokens = 1e18;
  std::vector<std::vector<double>> out;
  for (const JsonView& row : view.elements()) {
    auto& counts = out.emplace_back();
    for (const JsonView& count : row.elements()) counts.push_back(count.number(0, most_tokens));
  }
  return out;
}

std::vector<std::vector<double>> read_token_file(const std::string& path) {
  if (path.find_first_of("./") == std::string::npos) {
    throw Error(
        ErrorKind::input,
        fmt::format("routing: expected uniform, lognormal:SIGMA or a file, got '{}'", path));
  }
  const JsonDocument document = read_json(path);
  Faults faults;
  const JsonView root(document, faults);
  root.only_keys({"schema", "tokens"});
  root.at("schema").name_of("schema", {"zebroid.routing/1"});
  auto out = read_tokens(root.at("tokens"));
  faults.throw_if_any();
  return out;
}

/// The counts of a file, spread over the layers that have experts.
Routing recorded(const RoutingRequest& request, const std::vector<bool>& layer_has_experts,
                 std::uint32_t experts, std::uint32_t top_k) {
  const auto refuse = [&](const std::string& expected) {
    throw Error(ErrorKind::input, fmt::format("{}: /tokens: expected {}", request.spec, expected));
  };
  const auto moe_layers = static_cast<std::size_t>(
      std::count(layer_has_experts.begin(), layer_has_experts.end(), true));
  if (request.tokens.size() != moe_layers) {
    refuse(fmt::format("{} rows, one per layer with experts, got {}", moe_layers,
                       request.tokens.size()));
  }
  Routing out;
  std::size_t next = 0;
  for (const bool has_experts : layer_has_experts) {
    auto& shares = out.emplace_back();
    if (!has_experts) continue;
    shares = request.tokens[next++];
    if (shares.size() != experts) {
      refuse(fmt::format("{} counts in each row, one per expert, got {}", experts, shares.size()));
    }
    if (std::count_if(shares.begin(), shares.end(), [](double n) { return n > 0; }) < top_k) {
      refuse(fmt::format("tokens on at least {} experts of each layer: every token picks that many",
                         top_k));
    }
  }
  return out;
}

Routing drawn(const RoutingRequest& request, const std::vector<bool>& layer_has_experts,
              std::uint32_t experts) {
  const double sigma = request.spec == "uniform" ? 0 : parse_sigma(request.spec);
  std::mt19937_64 bits(request.seed);
  Routing out;
  for (const bool has_experts : layer_has_experts) {
    auto& shares = out.emplace_back();
    if (!has_experts) continue;
    for (std::uint32_t e = 0; e < experts; ++e) {
      shares.push_back(sigma > 0 ? std::exp(sigma * standard_normal(bits)) : 1.0);
    }
  }
  return out;
}

}  // namespace

RoutingRequest read_routing(const JsonView& view) {
  view.only_keys({"spec", "seed", "tokens"});
  RoutingRequest out;
  if (const auto v = view.find("spec")) out.spec = v->text();
  if (const auto v = view.find("seed")) {
    out.seed = static_cast<std::uint64_t>(v->integer(0, INT64_MAX));
  }
  if (const auto v = view.find("tokens")) out.tokens = read_tokens(*v);
  if (out.tokens.empty() && !is_drawn(out.spec)) out.tokens = read_token_file(out.spec);
  return out;
}

Json to_json(const RoutingRequest& request) {
  Json out = {{"spec", request.spec}, {"seed", request.seed}};
  if (!request.tokens.empty()) out["tokens"] = request.tokens;
  return out;
}

Routing make_routing(const RoutingRequest& request, const std::vector<bool>& layer_has_experts,
                     std::uint32_t experts, std::uint32_t top_k) {
  Routing out = is_drawn(request.spec) ? drawn(request, layer_has_experts, experts)
                                       : recorded(request, layer_has_experts, experts, top_k);
  for (auto& shares : out) {
    if (!shares.empty()) normalise(shares, top_k);
  }
  return out;
}

}  // namespace zebroid
