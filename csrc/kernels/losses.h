// The three losses, on raw pointers to contiguous arrays. float and double.
//
// P replicas, B samples, D coordinates, C classes. Labels must be in [0, C) (see labels_fit). A replica's result depends on
// nothing but that replica. `grad` may be null: then only the value is computed.
#pragma once

#include "platform.h"

namespace hill {

struct Shape {
  int64_t P, B, D, C;
};

// value[P] = mean over pairs i < j of different labels of max(0, M[y_i, y_j] - |z_i - z_j|)^2
template <class T>
void pair_separation(const Shape& shape,
                     const T* z,        // [P, B, D]
                     const int64_t* y,  // [P, B]
                     const T* margins,  // [P, C, C], symmetric
                     T* value,          // [P]
                     T* grad,           // [P, B, D] or null
                     ParallelFor run);

// value[P] = mean over samples of |z_i - centers[y_i]|^2
template <class T>
void center_loss(const Shape& shape,
                 const T* z,        // [P, B, D]
                 const int64_t* y,  // [P, B]
                 const T* centers,  // [P, C, D]
                 T* value,          // [P]
                 T* grad,           // [P, B, D] or null
                 ParallelFor run);

enum class Form : int64_t { kPaper = 0, kMean = 1 };

template <class T>
struct StructureTargets {
  const T* centers;        // [P, C, D]
  const T* spreads;        // [P, C]
  const bool* touched;     // [P, C] or null: all
  const T* weights;        // [3, P] or null: `uniform`
  double uniform[3];       // center, spread, separation
  Form form;
};

// What the gradient of the structure loss needs, per class: the gradient of sample i of class c is
//   g_center * center[c] + g_separation * separation[c] + g_spread * (slope[c] * unit(z_i - mu[c]) + spread[c])
// State row: center [D], spread [D], separation [D], slope [1], mu [D] and what mu's rounding to T lost [D].
inline int64_t structure_state_width(int64_t D) { return 5 * D + 1; }

template <class T>
void structure_forward(const Shape& shape,
                       const T* z,        // [P, B, D]
                       const int64_t* y,  // [P, B]
                       const StructureTargets<T>& targets,
                       T* terms,  // [4, P]: center, spread, separation, total
                       T* state,  // [P, C, 5 D + 1]
                       ParallelFor run);

template <class T>
void structure_backward(const Shape& shape,
                        const T* z,              // [P, B, D]
                        const int64_t* y,        // [P, B]
                        const T* state,          // [P, C, 5 D + 1]
                        const T* const* upstream,  // 4 x ([P] or null): center, spread, separation, total
                        T* grad,                 // [P, B, D]
                        ParallelFor run);

// Both at once: terms, and the gradient of the total (`grad` may be null). Keeps no state.
template <class T>
void structure_loss(const Shape& shape, const T* z, const int64_t* y, const StructureTargets<T>& targets, T* terms, T* grad,
                    ParallelFor run);

}  // namespace hill
