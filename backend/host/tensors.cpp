#include "backend/host/tensors.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <numbers>
#include <utility>

#include "core/error.hpp"

namespace zebroid {
namespace {

constexpr double embedding_scale = 0.02;

/// Lays tensors out one after the other.
class Layout {
 public:
  explicit Layout(const MoeModel& model)
      : residual_(std::sqrt(2.0 * static_cast<double>(model.layers.size()))) {}

  Tensor norm(std::string name, std::size_t width) {
    return place({.name = std::move(name), .rows = 1, .columns = width, .is_norm = true});
  }
  Tensor matrix(std::string name, std::size_t rows, std::size_t columns) {
    return scaled(std::move(name), rows, columns, 1 / std::sqrt(static_cast<double>(rows)));
  }
  /// One whose output is added to the residual, once by attention and once by the FFN of a layer:
  /// scaled down so that their sum does not grow with depth (GPT-2).
  Tensor residual(std::string name, std::size_t rows, std::size_t columns) {
    Tensor out = matrix(std::move(name), rows, columns);
    out.scale /= residual_;
    return out;
  }
  Tensor scaled(std::string name, std::size_t rows, std::size_t columns, double scale) {
    return place({.name = std::move(name), .rows = rows, .columns = columns, .scale = scale});
  }

 private:
  Tensor place(Tensor tensor) {
    tensor.offset = end_;
    end_ += tensor.size();
    return tensor;
  }

  double residual_;
  std::size_t end_ = 0;
};

std::size_t total(const std::vector<Tensor>& tensors) {
  return tensors.empty() ? 0 : tensors.back().offset + tensors.back().size();
}

std::size_t largest(const std::vector<Tensor>& tensors) {
  std::size_t out = 0;
  for (const Tensor& tensor : tensors) {
    if (tensor.name != "embedding") out = std::max(out, tensor.size());
  }
  return out;
}

/// The finalizer of splitmix64 (Steele, Lea and Flood 2014) on the next of its states.
std::uint64_t hash(std::uint64_t state) {
  state += 0x9e3779b97f4a7c15U;
  state = (state ^ (state >> 30U)) * 0xbf58476d1ce4e5b9U;
  state = (state ^ (state >> 27U)) * 0x94d049bb133111ebU;
  return state ^ (state >> 31U);
}

/// In (0, 1].
double uniform(std::uint64_t bits) { return static_cast<double>((bits >> 11U) + 1) * 0x1p-53; }

/// Two normal numbers (Box and Muller 1958), which depend on key and pair alone.
std::pair<double, double> normals(std::uint64_t key, std::uint64_t pair) {
  const double radius = std::sqrt(-2 * std::log(uniform(hash(key ^ hash(2 * pair)))));
  const double angle = 2 * std::numbers::pi * uniform(hash(key ^ hash(2 * pair + 1)));
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

}  // namespace

std::vector<Tensor> SharedTensors::all() const {
  std::vector<Tensor> out;
  const auto append = [&out](const std::optional<Tensor>& tensor) {
    if (tensor) out.push_back(*tensor);
  };
  append(embedding);
  for (const Tensor* tensor : {&attention_norm, &query, &key, &value, &output, &ffn_norm}) {
    out.push_back(*tensor);
  }
  for (const auto* tensor : {&router, &gate, &up, &down, &final_norm, &head}) append(*tensor);
  return out;
}

std::size_t SharedTensors::size() const { return total(all()); }

SharedTensors shared_tensors(const MoeModel& model, std::uint32_t layer) {
  const Layer& of_layer = model.layers.at(layer);
  const Attention& attention = of_layer.attention;
  const std::size_t hidden = model.hidden;
  const std::size_t heads = attention.heads;
  const std::size_t kv_heads = attention.kv_heads;
  const std::size_t ffn = std::size_t{of_layer.dense_ffn} + of_layer.shared_ffn;
  Layout layout(model);
  SharedTensors out;
  if (layer == 0) {
    out.embedding = layout.scaled("embedding", model.vocabulary, hidden, embedding_scale);
  }
  out.attention_norm = layout.norm("attention_norm", hidden);
  out.query = layout.matrix("query", hidden, heads * attention.head_dim);
  out.key = layout.matrix("key", hidden, kv_heads * attention.head_dim);
  out.value = layout.matrix("value", hidden, kv_heads * attention.value_dim);
  out.output = layout.residual("output", heads * attention.value_dim, hidden);
  out.ffn_norm = layout.norm("ffn_norm", hidden);
  if (of_layer.has_experts) out.router = layout.matrix("router", hidden, model.experts);
  if (ffn > 0) {
    out.gate = layout.matrix("gate", hidden, ffn);
    out.up = layout.matrix("up", hidden, ffn);
    out.down = layout.residual("down", ffn, hidden);
  }
  if (layer + 1 == model.layers.size()) {
    out.final_norm = layout.norm("final_norm", hidden);
    out.head = layout.scaled("head", hidden, model.vocabulary, embedding_scale);
  }
  return out;
}

const Tensor& held(const std::optional<Tensor>& tensor) {
  if (!tensor) throw Error(ErrorKind::internal, "the layer does not have this tensor");
  return *tensor;
}

std::vector<Tensor> ExpertTensors::all() const { return {gate, up, down}; }

std::size_t ExpertTensors::size() const { return total(all()); }

ExpertTensors expert_tensors(const MoeModel& model) {
  Layout layout(model);
  ExpertTensors out;
  out.gate = layout.matrix("gate", model.hidden, model.expert_ffn);
  out.up = layout.matrix("up", model.hidden, model.expert_ffn);
  out.down = layout.residual("down", model.expert_ffn, model.hidden);
  return out;
}

std::size_t largest_tensor(const MoeModel& model) {
  std::size_t out = 0;
  for (std::uint32_t layer = 0; layer < model.layers.size(); ++layer) {
    out = std::max(out, largest(shared_tensors(model, layer).all()));
    if (model.layers[layer].has_experts) {
      out = std::max(out, largest(expert_tensors(model).all()));
    }
  }
  return out;
}

template <class Real>
void initialise(const std::vector<Tensor>& tensors, std::uint64_t seed, std::uint64_t where,
                Real* parameters) {
  const std::uint64_t place = hash(hash(seed) ^ where);
  for (std::size_t index = 0; index < tensors.size(); ++index) {
    const Tensor& tensor = tensors[index];
    Real* out = parameters + tensor.offset;
    if (tensor.is_norm) {
      std::fill_n(out, tensor.size(), Real{1});
      continue;
    }
    const std::uint64_t key = hash(place ^ index);
    for (std::size_t i = 0; i < tensor.size(); i += 2) {
      const auto [first, second] = normals(key, i / 2);
      out[i] = static_cast<Real>(tensor.scale * first);
      if (i + 1 < tensor.size()) out[i + 1] = static_cast<Real>(tensor.scale * second);
    }
  }
}

template void initialise(const std::vector<Tensor>&, std::uint64_t, std::uint64_t, float*);
template void initialise(const std::vector<Tensor>&, std::uint64_t, std::uint64_t, double*);

}  // namespace zebroid
