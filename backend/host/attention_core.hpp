#pragma once

#include <cstddef>

#include "backend/host/blocks.hpp"
#include "models/moe_model.hpp"

namespace zebroid {

/// attended = softmax(query * key / sqrt(head_dim)) * value over the tokens that each token sees,
/// and the logsumexp of that softmax.
template <class Real>
void attend(const Attention& attention, const Tokens& tokens, const AttentionValues<Real>& values);

/// From gradients.attended, the gradients of query, key and value; overwrites nothing else.
template <class Real>
void attend_backward(const Attention& attention, const Tokens& tokens,
                     const AttentionValues<Real>& values, const AttentionValues<Real>& gradients);

}  // namespace zebroid
