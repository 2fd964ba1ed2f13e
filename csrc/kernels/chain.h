// Forward and backward passes of P replicas of a chain of linear layers with ReLU between them (an MLP), and the
// softmax cross-entropy on top: the training step of the engine's populations. Plain C++ on raw pointers.
//
// Small products (64 x 64 x 128) are what libraries are worst at: one microkernel serves all three of a layer's
// products, because activations are kept feature-major, so that samples are the vector lanes and nothing is packed.
// Every element is a sum over k in ascending order in one register, whatever tile it falls into: results do not
// depend on P, on the replica's place, on alignment or on the number of threads.
#pragma once

#include <cstdint>

#include "platform.h"

namespace hill {

// Widths and places in a replica's row of parameters. Layer l maps width[l] to width[l + 1]; its weight [out, in] and
// its bias [out] start at weight[l] and bias[l].
struct Chain {
  int64_t layers;
  const int64_t* width;   // [layers + 1]
  const int64_t* weight;  // [layers]
  const int64_t* bias;    // [layers]
};

constexpr int64_t kPad = 16;
inline int64_t padded(int64_t n) { return (n + kPad - 1) / kPad * kPad; }

// Elements that the backward pass needs of one replica: per layer its inputs, [B, padded in] row-major; per hidden
// layer also its outputs, [width, padded B] feature-major.
int64_t chain_saved_size(const Chain& chain, int64_t B);

// x [P, B, width[0]] (x_stride elements from one replica to the next; 0 shares one batch) -> logits [P, B, C],
// latents [P, padded B, H] (unless null; B rows of each are written), and, unless null, saved [P, chain_saved_size].
template <class T>
void chain_forward(const Chain& chain, int64_t P, int64_t B, const T* params, int64_t row, const T* x, int64_t x_stride, T* logits,
                   T* latents, T* saved, ParallelFor run);

// dlogits [P, B, C] and, for the first Q replicas, dlatents [Q, B, H] (null if Q is 0) -> the gradients of all weights
// and biases, at their places in grads [P, row]; the padding between them is left alone.
template <class T>
void chain_backward(const Chain& chain, int64_t P, int64_t B, const T* params, int64_t row, const T* saved, const T* dlogits,
                    const T* dlatents, int64_t Q, T* grads, ParallelFor run);

// Mean cross-entropy and accuracy over B of logits [P, B, C] with labels y [P, B] (y_stride as x_stride above), into
// measures [2, P]; unless dlogits is null, the loss's gradient into dlogits [P, B, C].
template <class T>
void softmax_cross_entropy(int64_t P, int64_t B, int64_t C, const T* logits, const int64_t* y, int64_t y_stride, double* measures,
                           T* dlogits, ParallelFor run);

}  // namespace hill
