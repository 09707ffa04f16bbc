#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>

#include "traces/readers.hpp"

namespace zebroid {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* first_line = "{\"schema\": \"zebroid.samples/1\"}\n";

Samples read(const std::string& lines) { return read_samples(first_line + lines, "x.ndjson"); }

TEST(SampleLines, AreReadWithEveryKey) {
  const Samples got =
      read(R"({"gpu": "NVIDIA A40", "op": "all_to_all", "kernel": "nccl", "dtype": "float",)"
           R"( "direction": "backward", "bytes": 65536, "ranks": 8, "ranks_per_node": 4,)"
           R"( "time_us": 15.25, "repeats": 20, "scatter": 0.5, "source": "log.txt:9",)"
           R"( "date": "2026-11"})");
  EXPECT_THAT(got.complaints, IsEmpty());
  EXPECT_THAT(got.samples, ElementsAre(Sample{.gpu = "A40",
                                              .op = MeasuredOp::all_to_all,
                                              .kernel = "nccl",
                                              .dtype = "fp32",
                                              .backward = true,
                                              .shape = {65536, 8, 4},
                                              .time = {15.25e-6},
                                              .repeats = 20,
                                              .scatter = 0.5,
                                              .source = "log.txt",
                                              .line = 9,
                                              .date = "2026-11"}));
}

TEST(SampleLines, MayLackWhatIsOptional) {
  const Samples got = read(
      "\n{\"gpu\":\"X\",\"op\":\"gemm\",\"kernel\":\"\",\"dtype\":\"\",\"m\":1,\"n\":2,\"k\":3,"
      "\"time_us\":1,\"scatter\":null}\n");
  EXPECT_THAT(got.complaints, IsEmpty());
  EXPECT_THAT(
      got.samples,
      ElementsAre(
          Sample{.gpu = "X", .shape = {1, 2, 3}, .time = {1e-6}, .source = "x.ndjson", .line = 3}));
}

std::string gemm_line(const std::string& more) {
  return R"({"gpu":"A40","op":"gemm","kernel":"c","dtype":"bf16",)" + more + "}\n";
}

TEST(SampleLines, ThatMakeNoSenseAreLeftOut) {
  const std::vector<std::pair<std::string, std::string>> lines = {
      {"{", "expected an object of numbers and strings, got text that is not valid JSON"},
      {"7", "expected an object of numbers and strings, got a number"},
      {"[]", "expected an object of numbers and strings, got an array"},
      {"null", "expected an object of numbers and strings, got null"},
      {gemm_line(R"("m":[1])"), "expected an object of numbers and strings, got an array"},
      {gemm_line(R"("m":{})"), "expected an object of numbers and strings, got an object in it"},
      {gemm_line(R"("m":true)"), "expected an object of numbers and strings, got true"},
      {gemm_line(R"("m":1e999)"),
       "expected an object of numbers and strings, got text that is not valid JSON"},
      {R"({"op":"gemm"})", "expected a key gpu, got none"},
      {R"({"gpu":"","op":"gemm","kernel":"","dtype":""})", "gpu: expected a name, got ''"},
      {R"({"gpu":"X","op":"gem","kernel":"","dtype":"","m":1})",
       "unknown op 'gem'; did you mean 'gemm'?"},
      {gemm_line(R"("m":1,"n":1,"k":1,"time_us":"1")"), "time_us: expected a number, got '1'"},
      {gemm_line(R"("m":1,"n":1,"k":1,"time_us":1,"date":2026)"),
       "date: expected a string, got '2026'"},
      {gemm_line(R"("m":1,"n":1,"k":1,"time_us":-1)"), "expected a time above 0, got '-1'"},
      {gemm_line(R"("m":1,"n":1,"k":1)"), "expected a time above 0, got ''"},
      {gemm_line(R"("m":1,"n":1,"time_us":1)"),
       "k: expected a size above 0 and up to 1e12, got ''"},
      {gemm_line(R"("m":1,"n":1,"kk":1,"time_us":1)"), "unknown key 'kk'"},
      {gemm_line(R"("m":1,"n":1,"k":1,"time_ms":1)"), "unknown key 'time_ms'"},
      {gemm_line(R"("m":1,"n":1,"k":1,"bytes":1,"time_us":1)"), "unknown key 'bytes'"},
      {gemm_line(R"("m":1,"m":1,"n":1,"k":1,"time_us":1)"), "expected one key m, got "}};
  for (const auto& [line, complaint] : lines) {
    const Samples got = read(line + "\n" + gemm_line(R"("m":1,"n":1,"k":1,"time_us":1)"));
    EXPECT_THAT(got.complaints, ElementsAre(HasSubstr("x.ndjson:2: " + complaint))) << line;
    EXPECT_THAT(got.samples, SizeIs(1)) << line;
  }
}

TEST(SampleLines, FollowALineWithTheSchema) {
  const std::string line = gemm_line(R"("m":1,"n":1,"k":1,"time_us":1)");
  EXPECT_THAT(read_samples(line, "x").complaints,
              ElementsAre(HasSubstr("x:1: expected {\"schema\": \"zebroid.samples/1\"}, got ")));
  EXPECT_THAT(read_samples("{\"schema\":\"zebroid.samples/2\"}\n" + line, "x").samples, IsEmpty());
  EXPECT_THAT(read_samples("", "x").complaints, ElementsAre("x: expected samples, got no lines"));
  EXPECT_THAT(read(line + first_line + line).samples, SizeIs(2)) << "two files put together";
}

TEST(SampleLines, AreWrittenAsPeopleDo) {
  const std::string text = to_ndjson({{.gpu = "A40",
                                       .op = MeasuredOp::elementwise,
                                       .kernel = "add",
                                       .dtype = "bf16",
                                       .backward = true,
                                       .shape = {4096},
                                       .time = {0.0152875},
                                       .repeats = 3,
                                       .scatter = 0.1,
                                       .source = "x.csv",
                                       .line = 7,
                                       .date = "2026"},
                                      {.gpu = "\"T4\"",
                                       .kernel = "c",
                                       .dtype = "fp16",
                                       .shape = {1, 2, 2.5},
                                       .time = {2e-6},
                                       .source = "x:1"}});
  EXPECT_EQ(text,
            "{\"schema\":\"zebroid.samples/1\"}\n"
            "{\"gpu\":\"A40\",\"op\":\"elementwise\",\"kernel\":\"add\",\"dtype\":\"bf16\","
            "\"direction\":\"backward\",\"bytes\":4096,\"time_us\":15287.5,\"repeats\":3,"
            "\"scatter\":0.1,\"source\":\"x.csv:7\",\"date\":\"2026\"}\n"
            "{\"gpu\":\"\\\"T4\\\"\",\"op\":\"gemm\",\"kernel\":\"c\",\"dtype\":\"fp16\",\"m\":1,"
            "\"n\":2,\"k\":2.5,\"time_us\":2,\"source\":\"x:1:0\"}\n");
}

/// Any positive finite number up to `most`, of all magnitudes.
double positive(double most) {
  return *rc::gen::suchThat(
      rc::gen::map(rc::gen::arbitrary<std::uint64_t>(),
                   [](std::uint64_t bits) { return std::abs(std::bit_cast<double>(bits)); }),
      [most](double value) { return value > 0 && value <= most; });
}

std::string any_text() {
  return *rc::gen::container<std::string>(rc::gen::elementOf(std::string("ab:19 ,\"\\\n\t#{}'")));
}

Sample any_sample() {
  constexpr double most_size = 1e12;
  constexpr double most_time = 1e9;
  Sample out;
  out.gpu = *rc::gen::element<std::string>("A40", "V100-SXM2-32GB", "prototype 1");
  out.op = static_cast<MeasuredOp>(*rc::gen::inRange<std::size_t>(0, measured_op_count));
  out.kernel = any_text();
  out.dtype = *rc::gen::element<std::string>("bf16", "fp16", "int8", "");
  out.backward = *rc::gen::arbitrary<bool>();
  for (std::size_t i = 0; i < axes_of(out.op).size(); ++i) out.shape.at(i) = positive(most_size);
  out.time = {positive(most_time)};
  out.repeats = *rc::gen::inRange<std::uint32_t>(1, 0xFFFFFFFFU);
  out.scatter = *rc::gen::arbitrary<bool>() ? positive(most_time) : 0;
  out.source = any_text() + "x";
  out.line = *rc::gen::inRange<std::size_t>(0, 1000);
  out.date = any_text();
  return out;
}

RC_GTEST_PROP(SampleLines, GiveBackWhatWasWritten, ()) {
  std::vector<Sample> samples(*rc::gen::inRange<std::size_t>(0, 4));
  for (Sample& sample : samples) sample = any_sample();
  const Samples got = read_samples(to_ndjson(samples), "x.ndjson");
  RC_ASSERT(got.complaints.empty());
  RC_ASSERT(got.samples == samples);
}

}  // namespace
}  // namespace zebroid
