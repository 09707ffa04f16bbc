#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "core/error.hpp"
#include "report/table.hpp"

namespace zebroid {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double gib = 1024.0 * 1024.0 * 1024.0;

Json result(const std::string& strategy, double iteration_s) {
  return {{"strategy", strategy},
          {"expert_assignment", "even"},
          {"microbatches", 8},
          {"chunks", 1},
          {"groups", 1},
          {"global_batch_sequences", 192},
          {"batch_rule", "given"},
          {"iteration_s", iteration_s},
          {"tokens_per_s", 786432 / iteration_s},
          {"experts_offloaded", {{"per_layer", {0, 0}}, {"total", 0}}},
          {"lower_bound_s", iteration_s / 1.1},
          {"binding", "compute of rank 0 (A40, all)"},
          {"exposed_communication_s", 0.0121},
          {"evidence", {{"measured", 0.62}, {"interpolated", 0.0}, {"roofline", 0.38}}},
          {"pools",
           {{{"role", "all"},
             {"gpu", "A40"},
             {"count", 6},
             {"busy_fraction", 0.931},
             {"effective_fraction", 0.702},
             {"exposed_communication_fraction", 0.012},
             {"bubble_fraction", 0.057},
             {"peak_memory_bytes", 31.2 * gib},
             {"memory_capacity_bytes", 48 * gib}}}},
          {"feasible", true}};
}

Json zebra_and_ep() {
  Json zebra = result("zebra", 4);
  zebra["expert_assignment"] = "gather-and-squeeze";
  zebra["experts_offloaded"]["total"] = 12;
  zebra["binding"] = "compute of rank 0 (A40, attention)";
  return {{"schema", "zebroid.result/1"},
          {"scenario",
           {{"model_name", "mixtral-8x7b"},
            {"cluster", {{"name", "6xA40,6xV100-16GB"}}},
            {"training", {{"sequence_length", 4096}}}}},
          {"results", {zebra, result("ep", 5.24)}},
          {"notes", {"no network given: 100 Gbps per node assumed"}}};
}

std::size_t widest_line(const std::string& text) {
  std::istringstream in(text);
  std::size_t widest = 0;
  for (std::string line; std::getline(in, line);) widest = std::max(widest, display_width(line));
  return widest;
}

TEST(ResultTable, HasARowPerStrategyWithItsRatioToEp) {
  const std::string text = result_table(zebra_and_ep(), false);
  EXPECT_THAT(
      text,
      HasSubstr(
          "strategy  R  chunks  iteration  tokens/s  vs ep  lower bound     gap  exposed  fits\n"
          "zebra     8       1    4.000 s   196,608  1.31x      3.636 s  10.0 %  12.1 ms  yes\n"
          "ep        8       1    5.240 s   150,082  1.00x      4.764 s  10.0 %  12.1 ms  yes\n"));
}

TEST(ResultTable, EndsWithAVerdict) {
  EXPECT_THAT(result_table(zebra_and_ep(), false),
              EndsWith("\nzebra is 1.31x as fast as ep; attention GPUs bind.\n"));
}

TEST(ResultTable, NamesWhatTheBestIsComparedWith) {
  Json document = zebra_and_ep();
  document["results"][1]["strategy"] = "dist-ep";
  const std::string text = result_table(document, false);
  EXPECT_THAT(text, HasSubstr("vs best"));
  EXPECT_THAT(text, HasSubstr("zebra is 1.31x as fast as dist-ep;"));
}

TEST(ResultTable, ComparesEpWithTheRunnerUpWhenEpIsBest) {
  Json document = zebra_and_ep();
  document["results"][0]["tokens_per_s"] = 100000.0;
  EXPECT_THAT(result_table(document, false),
              EndsWith("ep is 1.50x as fast as zebra; A40 GPUs bind.\n"));
}

TEST(ResultTable, CallsEqualSpeedsEqual) {
  Json document = zebra_and_ep();
  document["results"][0]["tokens_per_s"] = 786432 / 5.24 * 1.001;
  EXPECT_THAT(result_table(document, false), HasSubstr("zebra is as fast as ep;"));
}

TEST(ResultTable, GivesTheTimeOfASingleStrategy) {
  Json document = zebra_and_ep();
  document["results"].erase(1);
  document["results"][0]["binding"] = "port gpu3 out";
  EXPECT_THAT(result_table(document, false),
              EndsWith("zebra takes 4.000 s; the port gpu3 out binds.\n"));
}

TEST(ResultTable, SaysWhatTheBusiestWaitForFarFromTheLowerBound) {
  Json document = zebra_and_ep();
  document["results"][0]["lower_bound_s"] = 3;
  document["results"][0]["pools"][0]["exposed_communication_fraction"] = 0.2;
  EXPECT_THAT(result_table(document, false),
              EndsWith("its A40 GPUs wait for communication 20.0 % of the time.\n"));
  document["results"][0]["pools"][0]["bubble_fraction"] = 0.25;
  EXPECT_THAT(result_table(document, false),
              EndsWith("its A40 GPUs wait for other GPUs 25.0 % of the time.\n"));
}

TEST(ResultTable, SaysWhoseExchangesBind) {
  Json document = zebra_and_ep();
  document["results"][0]["binding"] = "dispatch of rank 3 (A40, attention)";
  EXPECT_THAT(result_table(document, false), EndsWith("dispatch of attention GPUs binds.\n"));
}

TEST(ResultTable, DescribesShapeEvidenceAndPools) {
  const std::string text = result_table(zebra_and_ep(), false);
  EXPECT_THAT(text,
              HasSubstr("zebra: 1 group, 8 microbatches, expert assignment gather-and-squeeze, "
                        "12 experts on attention GPUs\n"));
  EXPECT_THAT(
      text,
      HasSubstr("  lower bound by compute of rank 0 (A40, attention)\n"
                "  times are 62.0 % measured, 38.0 % roofline\n"
                "  role  GPU  count    busy  effective  exposed  bubble       peak memory  fits\n"
                "  all   A40      6  93.1 %     70.2 %    1.2 %   5.7 %  31.2 of 48.0 GiB  yes\n"));
}

TEST(ResultTable, StatesTheScenarioTheBatchRuleAndNotes) {
  const std::string text = result_table(zebra_and_ep(), false);
  EXPECT_THAT(text, HasSubstr("mixtral-8x7b on 6xA40,6xV100-16GB, sequences of 4,096 tokens, "
                              "global batch 192 (given)\n"));
  EXPECT_THAT(text, HasSubstr("\nnote: no network given: 100 Gbps per node assumed\n"));
}

TEST(ResultTable, GivesTheReasonOfWhatDoesNotFitAndNeverCallsItBest) {
  Json document = zebra_and_ep();
  document["results"][0]["feasible"] = false;
  document["results"][0]["reason"] = "rank 8 lacks 1 byte";
  document["results"][0]["pools"][0]["peak_memory_bytes"] = 50 * gib;
  const std::string text = result_table(document, false);
  EXPECT_THAT(text, HasSubstr("12.1 ms  no\n"));
  EXPECT_THAT(text, HasSubstr("  does not fit: rank 8 lacks 1 byte\n"));
  EXPECT_THAT(text, HasSubstr("50.0 of 48.0 GiB  no\n"));
  EXPECT_THAT(
      text,
      EndsWith("ep is 0.76x as fast as zebra would be, which does not fit; A40 GPUs bind.\n"));
}

TEST(ResultTable, SaysSoWhenNothingFits) {
  Json document = zebra_and_ep();
  for (Json& entry : document["results"]) entry["feasible"] = false;
  EXPECT_THAT(result_table(document, false), EndsWith("\nNothing fits.\n"));
}

TEST(ResultTable, StaysWithinAHundredColumns) {
  Json document = zebra_and_ep();
  Json& zebra = document["results"][0];
  zebra["strategy"] = "dist-ep";
  zebra["microbatches"] = 128;
  zebra["chunks"] = 64;
  zebra["iteration_s"] = 1234.567;
  zebra["tokens_per_s"] = 123456789.0;
  zebra["lower_bound_s"] = 12.345;
  zebra["exposed_communication_s"] = 1000.5;
  zebra["binding"] =
      std::string(300, 'x').replace(50, 1, " ").replace(120, 1, " ").replace(210, 1, " ");
  Json& pool = zebra["pools"][0];
  pool["role"] = "attention";
  pool["gpu"] = "V100-SXM2-32GB-and-a-long-name";
  pool["count"] = 1024;
  for (const char* key : {"busy_fraction", "effective_fraction", "bubble_fraction"})
    pool[key] = 1.0;
  pool["peak_memory_bytes"] = 200.5 * gib;
  pool["memory_capacity_bytes"] = 192.5 * gib;
  document["notes"].push_back("a long note " + std::string(90, 'y') + " and more of it");
  const std::string text = result_table(document, false);
  EXPECT_LE(widest_line(text), 100) << text;
  EXPECT_GE(widest_line(text), 80);
}

TEST(ResultTable, UsesColoursOnlyWhenAsked) {
  EXPECT_THAT(result_table(zebra_and_ep(), false), Not(HasSubstr("\x1b")));
  const std::string coloured = result_table(zebra_and_ep(), true);
  EXPECT_THAT(coloured, HasSubstr("\x1b[32mzebra\x1b[0m"));
  EXPECT_LE(widest_line(coloured), 100);
}

TEST(ResultTable, LeavesOutWhatTheDocumentDoesNotHave) {
  const Json document = {{"results", {{{"strategy", "zebra"}, {"iteration_s", 0.5}}}}};
  const std::string text = result_table(document, false);
  EXPECT_THAT(text, HasSubstr("zebra     -       -   500.0 ms         -"));
  EXPECT_THAT(text, Not(HasSubstr("nan")));
}

TEST(ResultTable, RefusesADocumentWithoutResults) {
  EXPECT_THROW(result_table(Json::object(), false), Error);
}

}  // namespace
}  // namespace zebroid
