#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/file.hpp"
#include "core/gzip.hpp"
#include "traces/lines.hpp"
#include "traces/readers.hpp"

namespace zebroid {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

Samples read(const std::string& text, const std::string& gpu = "A40") {
  return read_kernel_table(text, "x.csv", {.gpu = gpu});
}

/// The one sample of a text that holds one, without complaints.
Sample only_sample(const std::string& text) {
  Samples found = read(text);
  EXPECT_THAT(found.complaints, IsEmpty());
  EXPECT_THAT(found.samples, SizeIs(1));
  return found.samples.empty() ? Sample{} : found.samples.front();
}

// --- AIConfigurator ---

TEST(AiConfigurator, GemmInAnyOrderOfColumns) {
  const Sample expected = {.gpu = "L40S",
                           .op = MeasuredOp::gemm,
                           .kernel = "vllm_default",
                           .dtype = "bf16",
                           .shape = {128, 4096, 2048},
                           .time = {0.00025},
                           .source = "x.csv",
                           .line = 2};
  EXPECT_EQ(only_sample("framework,device,op_name,kernel_source,gemm_dtype,m,n,k,latency\n"
                        "VLLM,NVIDIA L40S,gemm,vllm_default,bfloat16,128,4096,2048,0.25\n"),
            expected);
  EXPECT_EQ(only_sample("latency,k,n,m,gemm_dtype,kernel_source,device\n"
                        "0.25,2048,4096,128,bfloat16,vllm_default,NVIDIA L40S\n"),
            expected);
}

TEST(AiConfigurator, MoeIsTheShareOfOneGpu) {
  // 64 tokens with 8 copies each over 4 GPUs of experts: 128 rows for 32 of 128 experts; half of
  // an FFN of 768.
  const Sample got = only_sample(
      "device,op_name,kernel_source,moe_dtype,num_tokens,hidden_size,inter_size,topk,num_experts,"
      "moe_tp_size,moe_ep_size,distribution,latency\n"
      "NVIDIA H200,moe,fused,half,64,2048,768,8,128,2,4,balanced,1.5\n");
  EXPECT_EQ(got.op, MeasuredOp::grouped_gemm);
  EXPECT_EQ(got.gpu, "H200");
  EXPECT_EQ(got.kernel, "fused balanced");
  EXPECT_EQ(got.dtype, "fp16");
  EXPECT_EQ(got.shape, (Shape{128, 32, 2048, 384}));
  EXPECT_EQ(got.time.value, 0.0015);
}

constexpr const char* attention_header =
    "device,op_name,kernel_source,batch_size,isl,num_heads,num_key_value_heads,head_dim,attn_dtype,"
    "kv_cache_dtype,step,latency\n";

TEST(AiConfigurator, ContextAttention) {
  const Sample got =
      only_sample(attention_header + std::string("NVIDIA H200,context_attention,flash,2,4096,32,8,"
                                                 "128,bfloat16,bfloat16,0,3\n"));
  EXPECT_EQ(got.op, MeasuredOp::attention);
  EXPECT_EQ(got.kernel, "flash");
  EXPECT_EQ(got.shape, (Shape{2, 4096, 32, 8, 128}));
  EXPECT_EQ(got.time.value, 0.003);
}

TEST(AiConfigurator, AttentionAfterAPrefixIsLeftOutAndNoted) {
  const Samples got =
      read(attention_header +
           std::string("NVIDIA H200,context_attention,flash,2,64,32,8,128,half,half,64,3\n"
                       "NVIDIA H200,context_attention,flash,2,64,32,8,128,half,fp8,0,3\n"));
  ASSERT_THAT(got.samples, SizeIs(1));
  EXPECT_EQ(got.samples[0].kernel, "flash fp8 cache");
  EXPECT_THAT(got.notes,
              ElementsAre("x.csv: 1 row left out: attention after a prefix in the cache"));
}

TEST(AiConfigurator, GenerationAttentionIsAnotherOp) {
  const Samples got =
      read(attention_header +
           std::string("NVIDIA H200,generation_attention,flash,2,64,32,8,128,half,half,0,3\n"));
  EXPECT_THAT(got.samples, IsEmpty());
  EXPECT_THAT(got.complaints, ElementsAre("x.csv:2: op_name: expected context_attention, got "
                                          "'generation_attention'"));
}

TEST(AiConfigurator, NcclCountsElements) {
  const Samples got = read(
      "device,op_name,kernel_source,nccl_dtype,num_gpus,message_size,latency\n"
      "NVIDIA L40S,alltoall,NCCL,half,4,1024,0.5\n"
      "NVIDIA L40S,all_reduce,NCCL,int8,2,1024,0.25\n"
      "NVIDIA L40S,all_gather,NCCL,float,2,1024,1\n"
      "NVIDIA L40S,reduce_scatter,NCCL,bfloat16,2,1024,1\n"
      "NVIDIA L40S,gossip,NCCL,half,2,1024,1\n"
      "NVIDIA L40S,alltoall,NCCL,int4,2,1024,1\n");
  ASSERT_THAT(got.samples, SizeIs(4));
  EXPECT_EQ(got.samples[0].op, MeasuredOp::all_to_all);
  EXPECT_EQ(got.samples[0].shape, (Shape{2048, 4, 4}));
  EXPECT_EQ(got.samples[0].dtype, "fp16");
  EXPECT_EQ(got.samples[1].op, MeasuredOp::all_reduce);
  EXPECT_EQ(got.samples[1].shape, (Shape{1024, 2, 2}));
  EXPECT_EQ(got.samples[1].dtype, "int8");
  EXPECT_EQ(got.samples[2].op, MeasuredOp::all_gather);
  EXPECT_EQ(got.samples[2].shape, (Shape{4096, 2, 2}));
  EXPECT_EQ(got.samples[3].op, MeasuredOp::reduce_scatter);
  EXPECT_THAT(got.complaints,
              ElementsAre("x.csv:6: op_name: expected a collective, got 'gossip'",
                          "x.csv:7: nccl_dtype: expected a type of known size, got 'int4'"));
}

// --- Vidur ---

/// A model of hidden 64 with 8 heads of 8, 4 of them for keys and values, and an FFN of 128.
std::string vidur_mlp(const std::string& gated, int tokens, int workers) {
  std::string header =
      "n_head,n_kv_head,n_embd,n_expanded_embd,use_gated_mlp,num_tokens,"
      "num_tensor_parallel_workers";
  std::string row = fmt::format("8,4,64,128,{},{},{}", gated, tokens, workers);
  int time = 0;
  for (const char* op :
       {"emb", "input_layernorm", "attn_pre_proj", "attn_rope", "attn_post_proj",
        "post_attention_layernorm", "mlp_up_proj", "mlp_act", "mlp_down_proj", "add"}) {
    for (const char* statistic : {"mean", "median", "std"}) {
      header += fmt::format(",time_stats.{}.{}", op, statistic);
    }
    ++time;
    row += fmt::format(",4,{},1", time);
  }
  return header + "\n" + row + "\n";
}

TEST(VidurMlp, IsFourGemmsAndSixOthersOfOneWorker) {
  const Samples got = read(vidur_mlp("True", 10, 2));
  EXPECT_THAT(got.complaints, IsEmpty());
  struct Expected {
    const char* kernel;
    Shape shape;
    double time_ms;
  };
  const std::vector<Expected> expected = {{"cublas", {10, 64, 64}, 3},   // (8 + 2 * 4) * 8 / 2
                                          {"cublas", {10, 64, 32}, 5},   // in: 64 / 2
                                          {"cublas", {10, 128, 64}, 7},  // 2 * 128 / 2
                                          {"cublas", {10, 64, 64}, 9},   // in: 128 / 2
                                          {"embedding", {2560}, 1},      // 2 * 10 * 64 * 2
                                          {"rms_norm", {2560}, 2},       //
                                          {"rope", {1920}, 4},           // 2 * 10 * (32 + 16) * 2
                                          {"rms_norm", {2560}, 6},       //
                                          {"silu_mul", {3840}, 8},       // 3 * 10 * 64 * 2
                                          {"add", {3840}, 10}};          // 3 * 10 * 64 * 2
  ASSERT_THAT(got.samples, SizeIs(expected.size()));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const Sample& sample = got.samples[i];
    EXPECT_EQ(sample.op, i < 4 ? MeasuredOp::gemm : MeasuredOp::elementwise) << i;
    EXPECT_EQ(sample.kernel, expected[i].kernel) << i;
    EXPECT_EQ(sample.shape, expected[i].shape) << i;
    EXPECT_EQ(sample.time.value, expected[i].time_ms / 1000) << i;
    EXPECT_EQ(sample.scatter, 0.25) << i;
    EXPECT_EQ(sample.repeats, 1U) << i;
    EXPECT_EQ(sample.dtype, "fp16") << i;
    EXPECT_EQ(sample.line, 2U) << i;
  }
}

TEST(VidurMlp, WithoutAGateHasOneProjectionUp) {
  const Samples got = read(vidur_mlp("False", 10, 1));
  ASSERT_THAT(got.samples, SizeIs(10));
  EXPECT_EQ(got.samples[2].shape, (Shape{10, 128, 64}));
  EXPECT_EQ(got.samples[8].kernel, "activation");
  EXPECT_EQ(got.samples[8].shape, (Shape{2 * 10 * 128 * 2}));
}

TEST(VidurMlp, RefusesWhatItCannotSplit) {
  EXPECT_THAT(read(vidur_mlp("True", 10, 3)).complaints,
              ElementsAre("x.csv:2: expected widths that heads and workers divide, got '8 heads, 3 "
                          "workers'"));
  EXPECT_THAT(read(vidur_mlp("maybe", 10, 1)).complaints,
              ElementsAre("x.csv:2: use_gated_mlp: expected True or False, got 'maybe'"));
}

TEST(VidurMlp, PassesOverOpsThatWereNotMeasured) {
  const std::string header =
      "n_head,n_kv_head,n_embd,n_expanded_embd,use_gated_mlp,num_tokens,"
      "num_tensor_parallel_workers,time_stats.add.mean,time_stats.add.std,time_stats.emb.median\n";
  const Samples got = read(header + "8,8,64,128,True,4,1,2,0,\n8,8,64,128,True,4,1,,,\n");
  ASSERT_THAT(got.samples, SizeIs(1));
  EXPECT_EQ(got.samples[0].kernel, "add");
  EXPECT_EQ(got.samples[0].time.value, 0.002);
  EXPECT_EQ(got.samples[0].scatter, 0);
  EXPECT_THAT(got.complaints, ElementsAre("x.csv:3: expected a time of one of its ops, got none"));
}

TEST(VidurSendRecv, SaysWhetherBothAreOnOneNode) {
  const Samples got = read(
      ",time_stats.send_recv.mean,time_stats.send_recv.median,time_stats.send_recv.std,rank,"
      "num_workers,size,collective,devices_per_node,max_devices_per_node\n"
      "0,0.5,0.25,0.125,0,2,4096,send_recv,1,8\n"
      "1,0.5,0.25,0.125,0,2,4096,send_recv,2,8\n"
      "2,0.5,0.25,0.125,0,2,4096,all_reduce,2,8\n");
  ASSERT_THAT(got.samples, SizeIs(2));
  EXPECT_EQ(got.samples[0].op, MeasuredOp::send_recv);
  EXPECT_EQ(got.samples[0].shape, (Shape{4096, 2, 1}));
  EXPECT_EQ(got.samples[1].shape, (Shape{4096, 2, 2}));
  EXPECT_EQ(got.samples[0].time.value, 0.00025);
  EXPECT_EQ(got.samples[0].scatter, 0.25);
  EXPECT_THAT(got.complaints,
              ElementsAre("x.csv:4: collective: expected send_recv, got 'all_reduce'"));
}

// --- DeepBench and our own ---

TEST(DeepBench, IsOneTableWhateverTheTransposition) {
  const Samples got = read(
      "application,m,n,k,a_transpose,b_transpose,time_ms,tflops\n"
      "Speech,512,16,500000,T,N,2.5E-1,1\n"
      "Speech,512,16,512,X,N,1,1\n");
  ASSERT_THAT(got.samples, SizeIs(1));
  EXPECT_EQ(got.samples[0].kernel, "cublas");
  EXPECT_EQ(got.samples[0].dtype, "fp16");
  EXPECT_EQ(got.samples[0].shape, (Shape{512, 16, 500000}));
  EXPECT_EQ(got.samples[0].time.value, 0.00025);
  EXPECT_THAT(got.complaints, ElementsAre("x.csv:3: a_transpose: expected N or T, got 'X'"));
}

TEST(SampleTable, TakesEveryColumn) {
  const Samples got = read(
      "date,op,direction,kernel,dtype,sequences,sequence_length,heads,kv_heads,head_dim,m,n,k,gpu,"
      "time_us,repeats,scatter,source,line\n"
      "2026-11,attention,backward,flash,bf16,1,128,8,2,64,,,,NVIDIA A40,2.5,20,0.01,log.txt,7\n"
      ",gemm,,cublas,float16,,,,,,1,2,3,Prototype X,1,,,,\n");
  EXPECT_THAT(got.complaints, IsEmpty());
  EXPECT_THAT(got.samples, ElementsAre(Sample{.gpu = "A40",
                                              .op = MeasuredOp::attention,
                                              .kernel = "flash",
                                              .dtype = "bf16",
                                              .backward = true,
                                              .shape = {1, 128, 8, 2, 64},
                                              .time = {2.5e-6},
                                              .repeats = 20,
                                              .scatter = 0.01,
                                              .source = "log.txt",
                                              .line = 7,
                                              .date = "2026-11"},
                                       Sample{.gpu = "Prototype X",
                                              .op = MeasuredOp::gemm,
                                              .kernel = "cublas",
                                              .dtype = "fp16",
                                              .shape = {1, 2, 3},
                                              .time = {1e-6},
                                              .source = "x.csv",
                                              .line = 3}));
}

TEST(SampleTable, ComplainsOnceAboutAColumnThatNobodyKnows) {
  const Samples got = read(
      "op,kernel,dtype,bytes,colour,time_us\nelementwise,add,bf16,8,red,1\n"
      "elementwise,add,bf16,16,blue,1\n");
  EXPECT_THAT(got.samples, SizeIs(2));
  EXPECT_THAT(got.complaints,
              ElementsAre("x.csv:1: expected a column of zebroid samples, got 'colour'"));
}

TEST(SampleTable, RefusesBadCells) {
  const Samples got = read(
      "op,kernel,dtype,direction,m,n,k,time_us,repeats,scatter\n"
      "gem,c,bf16,,1,1,1,1,1,0\n"
      "gemm,c,bf16,sideways,1,1,1,1,1,0\n"
      "gemm,c,bf16,,1,1,,1,1,0\n"
      "gemm,c,bf16,,1,1,1,1,1.5,0\n"
      "gemm,c,bf16,,1,1,1,1,4294967296,0\n"
      "gemm,c,bf16,,1,1,1,1,1,-0.1\n");
  EXPECT_THAT(got.samples, IsEmpty());
  EXPECT_THAT(got.complaints,
              ElementsAre("x.csv:2: unknown op 'gem'; did you mean 'gemm'?",
                          "x.csv:3: direction: expected forward or backward, got 'sideways'",
                          "x.csv:4: k: expected a size above 0 and up to 1e12, got ''",
                          "x.csv:5: repeats: expected a whole number, got '1.5'",
                          HasSubstr("x.csv:6: repeats: expected a whole number from 1 to "),
                          "x.csv:7: scatter: expected a number of at least 0, got '-0.1'"));
}

// --- headers ---

TEST(Header, StatesTheUnitOfATime) {
  const std::vector<std::pair<const char*, double>> columns = {
      {"latency", 2e-3},     {"latency_us", 2e-6}, {"latency_ms", 2e-3},
      {"latency_s", 2},      {"latency_ns", 2e-9}, {"latency (us)", 2e-6},
      {"Latency[ms]", 2e-3}, {"latency us", 2e-6}, {"latency (\xC2\xB5s)", 2e-6}};
  for (const auto& [column, seconds] : columns) {
    const Sample got = only_sample("gemm_dtype,m,n,k," + std::string(column) + "\nfp8,1,1,1,2\n");
    EXPECT_EQ(got.time.value, seconds) << column;
  }
}

TEST(Header, OfAVidurTableMayHaveUnitsToo) {
  const Sample got = only_sample(
      "time_stats.send_recv.median (us),num_workers,size,collective,devices_per_node\n"
      "2,2,8,send_recv,1\n");
  EXPECT_EQ(got.time.value, 2e-6);
}

TEST(Header, OfOurOwnTableMustStateIt) {
  const Samples got = read("op,kernel,dtype,bytes,time\nelementwise,add,bf16,8,1\n");
  EXPECT_THAT(got.samples, IsEmpty());
  EXPECT_THAT(got.complaints, ElementsAre("x.csv:1: expected also the columns time_us of the table "
                                          "zebroid samples, got 'op,kernel,dtype,bytes,time'"));
}

TEST(Header, ThatSaysATimeTwiceIsRefused) {
  for (const char* columns : {"latency,latency", "latency_us,latency_ms", "latency,latency (us)"}) {
    const Samples got = read(fmt::format("gemm_dtype,m,n,k,{}\nfp8,1,1,1,2,2\n", columns));
    EXPECT_THAT(got.samples, IsEmpty());
    EXPECT_THAT(got.complaints,
                ElementsAre(StartsWith("x.csv:1: expected one column for latency")));
  }
  EXPECT_THAT(read("gemm_dtype,m,m,n,k,latency\n").complaints,
              ElementsAre(StartsWith("x.csv:1: expected one column for m")));
}

TEST(Header, ThatNobodyKnowsIsRefusedWithWhatIsKnown) {
  EXPECT_THAT(read("a,b,c\n1,2,3\n").complaints,
              ElementsAre("x.csv:1: expected the columns of a table that zebroid reads "
                          "(AIConfigurator gemm, AIConfigurator moe, AIConfigurator "
                          "context_attention, AIConfigurator nccl, Vidur mlp, Vidur send_recv, "
                          "DeepBench gemm, zebroid samples), got 'a,b,c'"));
  EXPECT_THAT(read("").complaints, ElementsAre("x.csv: expected a table, got no lines"));
  EXPECT_THAT(read("m,n,latency,k\n").complaints,
              ElementsAre("x.csv:1: expected also the columns gemm_dtype of the table "
                          "AIConfigurator gemm, got 'm,n,latency,k'"));
}

// --- lines ---

constexpr const char* gemm_header = "gemm_dtype,m,n,k,latency\n";

TEST(Csv, MayBeQuotedCommentedPaddedAndFromAnySystem) {
  const Samples got = read(
      "\xEF\xBB\xBF# made by hand\r\n"
      "\r\n"
      "\"gemm_dtype\", m ,n,k,latency,\r\n"
      ",,,,,\r\n"
      "\"fp8\",\"1\" ,2,3,1,\r\n"
      "  # more\r\n"
      "\"with \"\"quotes\"\", and a comma\",4,5,6,1,,\r\n"
      "fp8,7,8,9,1");
  EXPECT_THAT(got.complaints, IsEmpty());
  ASSERT_THAT(got.samples, SizeIs(3));
  EXPECT_EQ(got.samples[0].shape, (Shape{1, 2, 3}));
  EXPECT_EQ(got.samples[0].line, 5U);
  EXPECT_EQ(got.samples[1].dtype, "with \"quotes\", and a comma");
  EXPECT_EQ(got.samples[2].line, 8U);
}

TEST(Csv, LeavesOutLinesThatMakeNoSense) {
  const std::vector<std::pair<std::string, std::string>> lines = {
      {"fp8,1,1,1", "expected 5 fields, got '4'"},
      {"fp8,1,1,1,1,1", "expected 5 fields, got '6'"},
      {"\"fp8,1,1,1,1", "expected a closing quote, got '\\\"fp8,1,1,1,1'"},
      {"\"fp8\"x,1,1,1,1", "expected a comma after a quoted field, got 'x,1,1,1,1'"},
      {"fp8,1,1,1,-3", "expected a time above 0, got '-3'"},
      {"fp8,1,1,1,0", "expected a time above 0, got '0'"},
      {"fp8,1,1,1,", "expected a time above 0, got ''"},
      {"fp8,1,1,1,nan", "expected a time above 0, got 'nan'"},
      {"fp8,1,1,1,inf", "expected a time above 0, got 'inf'"},
      {"fp8,1,1,1,1ms", "expected a time above 0, got '1ms'"},
      {"fp8,1,1,1,1e400", "expected a time above 0, got '1e400'"},
      {"fp8,0,1,1,1", "m: expected a whole number from 1 to 1e+12, got '0'"},
      {"fp8,1,-1,1,1", "n: expected a whole number from 1 to 1e+12, got '-1'"},
      {"fp8,1,1,1.5,1", "k: expected a whole number, got '1.5'"},
      {"fp8,1,1,1e13,1", "k: expected a whole number from 1 to 1e+12, got '1e13'"},
      {"fp8,1,1,one,1", "k: expected a whole number from 1 to 1e+12, got 'one'"}};
  for (const auto& [line, complaint] : lines) {
    const Samples got = read(gemm_header + line + "\nfp8,1,1,1,1\n");
    EXPECT_THAT(got.complaints, ElementsAre("x.csv:2: " + complaint)) << line;
    EXPECT_THAT(got.samples, SizeIs(1)) << line;
  }
}

TEST(Csv, DoesNotReadEndlessLines) {
  const Samples got = read(gemm_header + std::string(most_line_bytes + 1, '1') + "\nfp8,1,1,1,1\n");
  EXPECT_THAT(got.complaints,
              ElementsAre("x.csv:2: expected a line of at most 65536 bytes, got 65537"));
  EXPECT_THAT(got.samples, SizeIs(1));
}

TEST(Csv, DoesNotReadEndlessFiles) {
  std::string text = gemm_header;
  text += std::string(most_lines - 2, '\n') + "fp8,1,1,1,1\nfp8,2,1,1,1\n";
  const Samples got = read(text);
  EXPECT_THAT(got.samples, SizeIs(1));
  EXPECT_THAT(got.complaints,
              ElementsAre("x.csv:2000001: expected at most 2000000 lines, got more"));
}

TEST(Csv, CountsComplaintsBeyondTheFirst) {
  std::string text = gemm_header;
  for (int i = 0; i < 13; ++i) text += "fp8,1,1,1,-1\n";
  const Samples got = read(text);
  ASSERT_THAT(got.complaints, SizeIs(most_complaints + 1));
  EXPECT_EQ(got.complaints[9], "x.csv:11: expected a time above 0, got '-1'");
  EXPECT_EQ(got.complaints[10], "x.csv: 3 more complaints");
}

TEST(Csv, KeepsDuplicatesAndTheirOrder) {
  const Samples got = read(std::string(gemm_header) + "a,1,1,1,2\nb,1,1,1,1\na,1,1,1,2\n");
  ASSERT_THAT(got.samples, SizeIs(3));
  EXPECT_EQ(got.samples[0].dtype, "a");
  EXPECT_EQ(got.samples[1].dtype, "b");
  EXPECT_EQ(got.samples[2].line, 4U);
}

// --- real files ---

struct Spot {
  std::size_t at;
  MeasuredOp op;
  Shape shape;
  double time_ms;
};

struct RealFile {
  const char* name;
  const char* gpu;
  std::size_t samples;
  std::vector<Spot> spots;
  std::size_t complaints = 0;
};

// Names the file in the test's name rather than its bytes.
void PrintTo(const RealFile& file, std::ostream* out) { *out << file.name; }

class RealTable : public ::testing::TestWithParam<RealFile> {};

TEST_P(RealTable, IsReadWhole) {
  const RealFile& file = GetParam();
  const auto path = std::filesystem::path(ZEBROID_SHARED_DATA_DIR) / "kernel-bench" / file.name;
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here";
  std::string text = read_file(path, most_unpacked);
  if (is_gzip(text)) text = gunzip(text, most_unpacked, file.name);
  const Samples got = read_kernel_table(text, file.name, {});
  EXPECT_THAT(got.complaints, SizeIs(file.complaints));
  ASSERT_EQ(got.samples.size(), file.samples);
  for (const Sample& sample : got.samples) ASSERT_EQ(sample.gpu, file.gpu);
  for (const Spot& spot : file.spots) {
    const Sample& sample = got.samples.at(spot.at);
    EXPECT_EQ(sample.op, spot.op) << spot.at;
    EXPECT_EQ(sample.shape, spot.shape) << spot.at;
    EXPECT_DOUBLE_EQ(sample.time.value, spot.time_ms * 1e-3) << spot.at;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Tables, RealTable,
    ::testing::Values(RealFile{"aic_a100_sxm_gemm_bf16.csv.gz",
                               "A100-80GB",
                               9240,
                               {{0, MeasuredOp::gemm, {8192, 65536, 4096}, 15.2875},
                                {9239, MeasuredOp::gemm, {1, 32, 32}, 0.00245422}}},
                      RealFile{"aic_l40s_gemm_bf16.csv.gz",
                               "L40S",
                               9240,
                               {{0, MeasuredOp::gemm, {8192, 65536, 8192}, 31.7393},
                                {9239, MeasuredOp::gemm, {1, 32, 32}, 0.00186311}}},
                      RealFile{"aic_a100_sxm_moe_vllm_0.14.0_moe_perf.csv.gz",
                               "A100-80GB",
                               6360,
                               {{0, MeasuredOp::grouped_gemm, {2, 8, 4096, 14336}, 0.454054},
                                {6359, MeasuredOp::grouped_gemm, {5632, 2, 4096, 2688}, 91.9032}}},
                      RealFile{"aic_l40s_moe_vllm_0.14.0_moe_perf.csv.gz",
                               "L40S",
                               12718,
                               {{0, MeasuredOp::grouped_gemm, {2, 8, 4096, 14336}, 1.02717},
                                {12717, MeasuredOp::grouped_gemm, {5632, 2, 4096, 2688}, 121.42}}},
                      RealFile{"aic_a100_sxm_context_attention_bf16.csv.gz",
                               "A100-80GB",
                               5457,
                               {{0, MeasuredOp::attention, {4, 16384, 64, 1, 128}, 96.4749},
                                {5456, MeasuredOp::attention, {1, 1, 1, 1, 128}, 0.01088}}},
                      RealFile{"aic_l40s_context_attention_bf16.csv.gz",
                               "L40S",
                               5457,
                               {{0, MeasuredOp::attention, {4, 16384, 64, 1, 128}, 107.326},
                                {5456, MeasuredOp::attention, {1, 1, 1, 1, 128}, 0.00753067}}},
                      RealFile{"aic_a100_sxm_comm_nccl_2.27.3_nccl_perf.csv.gz",
                               "A100-80GB",
                               504,
                               {{0, MeasuredOp::all_gather, {512, 2, 2}, 0.00898},
                                {503, MeasuredOp::all_reduce, {536870912, 8, 8}, 4.3643}}},
                      RealFile{"aic_l40s_comm_nccl_2.27.3_nccl_perf.csv.gz",
                               "L40S",
                               504,
                               {{0, MeasuredOp::all_gather, {512, 2, 2}, 0.0053},
                                {503, MeasuredOp::all_reduce, {536870912, 8, 8}, 721.028}}},
                      RealFile{"vidur_a40_llama2-7b_mlp.csv.gz",
                               "A40",
                               10440,
                               {{2, MeasuredOp::gemm, {4096, 22016, 4096}, 6.739},
                                // silu * mul at 546.5 GB/s
                                {8, MeasuredOp::elementwise, {270532608}, 0.495}}},
                      RealFile{"vidur_a100_llama2-7b_mlp.csv.gz",
                               "A100-40GB",
                               10440,
                               {{2, MeasuredOp::gemm, {4096, 22016, 4096}, 3.3655},
                                {9, MeasuredOp::elementwise, {100663296}, 0.055}}},
                      RealFile{"vidur_a40_pairwise_send_recv.csv.gz",
                               "A40",
                               1988,
                               {{0, MeasuredOp::send_recv, {2048, 2, 1}, 0.021},
                                {1987, MeasuredOp::send_recv, {67108864, 2, 2}, 16.9}}},
                      RealFile{"vidur_a100_dgx_send_recv.csv.gz",
                               "A100-40GB",
                               1988,
                               {{0, MeasuredOp::send_recv, {2048, 2, 1}, 0.024},
                                {1987, MeasuredOp::send_recv, {67108864, 2, 2}, 0.294}}},
                      RealFile{"DeepBench_NV_V100_gemm_fp16_mixed.csv",
                               "V100-16GB",
                               159,
                               {{0, MeasuredOp::gemm, {1760, 16, 1760}, 0.02},
                                {4, MeasuredOp::gemm, {1760, 7000, 1760}, 0.485}},
                               1}));

/// Bytes per second of the first sample of a kernel.
double rate(const Samples& samples, std::string_view kernel) {
  for (const Sample& sample : samples.samples) {
    if (sample.kernel == kernel) return sample.shape[0] / sample.time.value;
  }
  return 0;
}

TEST(RealRates, OfMemoryBoundKernelsStayBelowTheMemorysRate) {
  const auto path = std::filesystem::path(ZEBROID_SHARED_DATA_DIR) / "kernel-bench" /
                    "vidur_a40_llama2-7b_mlp.csv.gz";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here";
  const Samples got = read_kernel_table(
      gunzip(read_file(path, most_unpacked), most_unpacked, "mlp"), "a40.csv", {});
  constexpr double giga = 1e9;
  constexpr double near = 1;
  EXPECT_NEAR(rate(got, "silu_mul") / giga, 547, near);
  EXPECT_NEAR(rate(got, "rms_norm") / giga, 379, near);
  EXPECT_NEAR(rate(got, "add") / giga, 585, near);
  EXPECT_NEAR(rate(got, "rope") / giga, 538, near);
  EXPECT_NEAR(rate(got, "embedding") / giga, 332, near);
}

}  // namespace
}  // namespace zebroid
