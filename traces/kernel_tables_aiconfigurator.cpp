// AIConfigurator's tables of one device each, exported as CSV; DeepBench's list of GEMMs. Times are
// milliseconds where the header does not say otherwise.

#include <fmt/format.h>

#include <array>
#include <optional>
#include <utility>

#include "traces/tables.hpp"

namespace zebroid {
namespace {

constexpr int milliseconds = -3;

/// Generation and context tables have the same columns.
void expect_op(Row& row, std::string_view op) {
  if (!row.has("op_name") || row.text("op_name") == op) return;
  row.refuse("op_name: " + expected(op, row.text("op_name")));
}

Sample sample_of(Row& row, MeasuredOp op, std::string_view dtype_column) {
  Sample out;
  out.op = op;
  out.kernel = row.text("kernel_source");
  out.dtype = dtype_name(row.text(dtype_column));
  out.time = row.time("latency", milliseconds);
  return out;
}

void read_gemm(Row& row, std::vector<Sample>& out) {
  expect_op(row, "gemm");
  Sample sample = sample_of(row, MeasuredOp::gemm, "gemm_dtype");
  sample.shape = {row.whole("m"), row.whole("n"), row.whole("k")};
  out.push_back(std::move(sample));
}

void read_moe(Row& row, std::vector<Sample>& out) {
  expect_op(row, "moe");
  Sample sample = sample_of(row, MeasuredOp::grouped_gemm, "moe_dtype");
  sample.kernel += fmt::format(" {}", row.text("distribution"));
  const double expert_gpus = row.whole("moe_ep_size");
  sample.shape = {row.whole("num_tokens") * row.whole("topk") / expert_gpus,
                  row.whole("num_experts") / expert_gpus, row.whole("hidden_size"),
                  row.whole("inter_size") / row.whole("moe_tp_size")};
  out.push_back(std::move(sample));
}

void read_attention(Row& row, std::vector<Sample>& out) {
  expect_op(row, "context_attention");
  Sample sample = sample_of(row, MeasuredOp::attention, "attn_dtype");
  const std::string cache = dtype_name(row.text("kv_cache_dtype"));
  if (!cache.empty() && cache != sample.dtype) sample.kernel += fmt::format(" {} cache", cache);
  sample.shape = {row.whole("batch_size"), row.whole("isl"), row.whole("num_heads"),
                  row.whole("num_key_value_heads"), row.whole("head_dim")};
  if (row.has("step") && row.at_least_0("step") > 0) {
    row.leave_out("attention after a prefix in the cache");
  }
  if (row.has("window_size") && row.at_least_0("window_size") > 0) {
    row.leave_out("attention in a window");
  }
  out.push_back(std::move(sample));
}

double bytes_of_element(Row& row, std::string_view column) {
  constexpr std::array<std::pair<std::string_view, double>, 7> sizes = {
      {{"fp16", 2}, {"bf16", 2}, {"fp32", 4}, {"fp64", 8}, {"int8", 1}, {"uint8", 1}, {"fp8", 1}}};
  const std::string dtype = dtype_name(row.text(column));
  for (const auto& [name, bytes] : sizes) {
    if (name == dtype) return bytes;
  }
  row.refuse(fmt::format("{}: {}", column, expected("a type of known size", row.text(column))));
  return 1;
}

void read_nccl(Row& row, std::vector<Sample>& out) {
  constexpr std::array<std::pair<std::string_view, MeasuredOp>, 5> ops = {
      {{"alltoall", MeasuredOp::all_to_all},
       {"all_reduce", MeasuredOp::all_reduce},
       {"all_gather", MeasuredOp::all_gather},
       {"reduce_scatter", MeasuredOp::reduce_scatter},
       {"broadcast", MeasuredOp::broadcast}}};
  std::optional<MeasuredOp> op;
  for (const auto& [name, value] : ops) {
    if (name == row.text("op_name")) op = value;
  }
  if (!op) return row.refuse("op_name: " + expected("a collective", row.text("op_name")));
  Sample sample = sample_of(row, *op, "nccl_dtype");
  // message_size counts elements: rows of half take as long as rows of int8 with twice the number.
  const double gpus = row.whole("num_gpus");
  sample.shape = {row.whole("message_size") * bytes_of_element(row, "nccl_dtype"), gpus, gpus};
  out.push_back(std::move(sample));
}

void read_deepbench(Row& row, std::vector<Sample>& out) {
  // A training step has all transpositions, and costs do not tell them apart.
  for (const std::string_view column : {"a_transpose", "b_transpose"}) {
    const std::string_view flag = row.text(column);
    if (flag != "N" && flag != "T") {
      row.refuse(fmt::format("{}: {}", column, expected("N or T", flag)));
    }
  }
  Sample sample;
  sample.op = MeasuredOp::gemm;
  sample.kernel = "cublas";
  sample.dtype = "fp16";
  sample.shape = {row.whole("m"), row.whole("n"), row.whole("k")};
  sample.time = row.time("time", milliseconds);
  out.push_back(std::move(sample));
}

}  // namespace

std::vector<TableFormat> aiconfigurator_tables() {
  return {{.name = "AIConfigurator gemm",
           .columns = {"gemm_dtype", "m", "n", "k"},
           .times = {"latency"},
           .device = "device",
           .read = read_gemm},
          {.name = "AIConfigurator moe",
           .columns = {"moe_dtype", "num_tokens", "hidden_size", "inter_size", "topk",
                       "num_experts", "moe_tp_size", "moe_ep_size", "distribution"},
           .times = {"latency"},
           .device = "device",
           .read = read_moe},
          {.name = "AIConfigurator context_attention",
           .columns = {"attn_dtype", "batch_size", "isl", "num_heads", "num_key_value_heads",
                       "head_dim"},
           .times = {"latency"},
           .device = "device",
           .read = read_attention},
          {.name = "AIConfigurator nccl",
           .columns = {"nccl_dtype", "op_name", "num_gpus", "message_size"},
           .times = {"latency"},
           .device = "device",
           .read = read_nccl}};
}

TableFormat deepbench_table() {
  return {.name = "DeepBench gemm",
          .columns = {"m", "n", "k", "a_transpose", "b_transpose"},
          .times = {"time"},
          .device = "device",
          .read = read_deepbench};
}

}  // namespace zebroid
