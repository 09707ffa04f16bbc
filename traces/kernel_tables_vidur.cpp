// Vidur's profiles of one model's layers in half precision, and of sends between two GPUs. Times
// are milliseconds where the header does not say otherwise; neither names its device.

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <utility>

#include "traces/tables.hpp"

namespace zebroid {
namespace {

constexpr int milliseconds = -3;
constexpr double half_bytes = 2;

std::string column_of(std::string_view op, std::string_view statistic) {
  return fmt::format("time_stats.{}.{}", op, statistic);
}

/// Median, else mean; with the standard deviation over the mean.
void read_time(Row& row, std::string_view op, Sample& sample) {
  const std::string median = column_of(op, "median");
  const std::string mean = column_of(op, "mean");
  const std::string deviation = column_of(op, "std");
  sample.time = row.time(row.has_time(median) ? median : mean, milliseconds);
  if (row.has_time(mean) && row.has_time(deviation)) {
    sample.scatter = row.spread(deviation, milliseconds) / row.time(mean, milliseconds);
  }
}

bool was_measured(const Row& row, std::string_view op) {
  return row.has_time(column_of(op, "median")) || row.has_time(column_of(op, "mean"));
}

/// One rank's layer.
struct Layer {
  double tokens = 0;
  double hidden = 0;
  double ffn = 0;    ///< of this rank
  double query = 0;  ///< width of this rank's query heads
  double kv = 0;     ///< and of its keys, or of its values
  bool gated = false;
};

bool read_flag(Row& row, std::string_view column) {
  const std::string_view flag = row.text(column);
  if (flag == "True" || flag == "true" || flag == "1") return true;
  if (flag != "False" && flag != "false" && flag != "0") {
    row.refuse(fmt::format("{}: {}", column, expected("True or False", flag)));
  }
  return false;
}

Layer read_layer(Row& row) {
  const double ranks = row.whole("num_tensor_parallel_workers");
  const double hidden = row.whole("n_embd");
  const double heads = row.whole("n_head");
  const double head_dim = hidden / heads;
  const Layer out = {.tokens = row.whole("num_tokens"),
                     .hidden = hidden,
                     .ffn = row.whole("n_expanded_embd") / ranks,
                     .query = hidden / ranks,
                     .kv = row.whole("n_kv_head") * head_dim / ranks,
                     .gated = read_flag(row, "use_gated_mlp")};
  for (const double width : {head_dim, out.ffn, out.query, out.kv}) {
    if (width == std::floor(width)) continue;
    row.refuse(expected("widths that heads and workers divide",
                        fmt::format("{} heads, {} workers", heads, ranks)));
    break;
  }
  return out;
}

struct Measured {
  const char* op;      ///< as in the names of the columns
  const char* kernel;  ///< what it is called in samples; of GEMMs the library
  Shape (*shape)(const Layer& layer);
};

constexpr std::array<Measured, 4> gemms = {
    {{"attn_pre_proj", "cublas",
      [](const Layer& l) -> Shape {
        return {l.tokens, l.query + 2 * l.kv, l.hidden};
      }},
     {"attn_post_proj", "cublas",
      [](const Layer& l) -> Shape {
        return {l.tokens, l.hidden, l.query};
      }},
     {"mlp_up_proj", "cublas",
      [](const Layer& l) -> Shape {
        return {l.tokens, (l.gated ? 2 : 1) * l.ffn, l.hidden};
      }},
     {"mlp_down_proj", "cublas", [](const Layer& l) -> Shape {
        return {l.tokens, l.hidden, l.ffn};
      }}}};

/// Bytes of activations read and written; weights, positions and token ids are small beside them.
constexpr std::array<Measured, 6> others = {
    {{"emb", "embedding",
      [](const Layer& l) -> Shape { return {2 * l.tokens * l.hidden * half_bytes}; }},
     {"input_layernorm", "rms_norm",
      [](const Layer& l) -> Shape { return {2 * l.tokens * l.hidden * half_bytes}; }},
     {"attn_rope", "rope",
      [](const Layer& l) -> Shape { return {2 * l.tokens * (l.query + l.kv) * half_bytes}; }},
     {"post_attention_layernorm", "rms_norm",
      [](const Layer& l) -> Shape { return {2 * l.tokens * l.hidden * half_bytes}; }},
     {"mlp_act", "silu_mul",
      [](const Layer& l) -> Shape { return {(l.gated ? 3 : 2) * l.tokens * l.ffn * half_bytes}; }},
     {"add", "add",
      [](const Layer& l) -> Shape { return {3 * l.tokens * l.hidden * half_bytes}; }}}};

void read_one(Row& row, const Measured& measured, std::pair<MeasuredOp, const Layer*> what,
              std::vector<Sample>& out) {
  if (!was_measured(row, measured.op)) return;  // as the second norm of models that have one only
  const auto [op, layer] = what;
  Sample sample;
  sample.op = op;
  sample.kernel = measured.kernel;
  if (!layer->gated && sample.kernel == "silu_mul") sample.kernel = "activation";
  sample.dtype = "fp16";
  sample.shape = measured.shape(*layer);
  read_time(row, measured.op, sample);
  out.push_back(std::move(sample));
}

void read_mlp(Row& row, std::vector<Sample>& out) {
  const Layer layer = read_layer(row);
  for (const Measured& gemm : gemms) read_one(row, gemm, {MeasuredOp::gemm, &layer}, out);
  for (const Measured& other : others) {
    read_one(row, other, {MeasuredOp::elementwise, &layer}, out);
  }
  if (out.empty()) row.refuse("expected a time of one of its ops, got none");
}

/// `size` is in bytes: as two-byte elements, two A100s would send 456 GB/s over NVLink's 300.
/// devices_per_node: of the two workers, 1 when they are on two nodes.
void read_send_recv(Row& row, std::vector<Sample>& out) {
  if (row.text("collective") != "send_recv") {
    row.refuse("collective: " + expected("send_recv", row.text("collective")));
  }
  Sample sample;
  sample.op = MeasuredOp::send_recv;
  sample.kernel = "nccl";
  sample.dtype = "fp16";
  sample.shape = {row.whole("size"), row.whole("num_workers"), row.whole("devices_per_node")};
  read_time(row, "send_recv", sample);
  out.push_back(std::move(sample));
}

std::vector<std::string> times_of(const std::vector<std::string>& ops) {
  std::vector<std::string> out;
  for (const std::string& op : ops) {
    out.push_back(column_of(op, "median"));
    out.push_back(column_of(op, "mean"));
  }
  return out;
}

}  // namespace

std::vector<TableFormat> vidur_tables() {
  std::vector<std::string> ops;
  for (const Measured& gemm : gemms) ops.emplace_back(gemm.op);
  for (const Measured& other : others) ops.emplace_back(other.op);
  return {{.name = "Vidur mlp",
           .columns = {"n_head", "n_kv_head", "n_embd", "n_expanded_embd", "use_gated_mlp",
                       "num_tokens", "num_tensor_parallel_workers"},
           .times = times_of(ops),
           .device = "device",
           .read = read_mlp},
          {.name = "Vidur send_recv",
           .columns = {"collective", "num_workers", "size", "devices_per_node"},
           .times = times_of({"send_recv"}),
           .device = "device",
           .read = read_send_recv}};
}

}  // namespace zebroid
