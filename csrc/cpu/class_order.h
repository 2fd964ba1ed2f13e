// Samples sorted by class: where each class present starts, and which sample stands where.
#pragma once

#include "../kernels/platform.h"

namespace hill {

constexpr int64_t kLane = 16;  // every vector width in use divides it

inline int64_t padded(int64_t n) { return (n + kLane - 1) / kLane * kLane; }

struct ClassOrder {
  int64_t present;   // K, the number of classes present
  int32_t* classes;  // [K] their labels, ascending
  int32_t* start;    // [K + 1] first position of each in `order`
  int32_t* order;    // [B] position -> sample

  static size_t bytes(int64_t B, int64_t C) {
    const int64_t K = B < C ? B : C;
    return Scratch::size_of<int32_t>(K) + Scratch::size_of<int32_t>(K + 1) + Scratch::size_of<int32_t>(B) +
           Scratch::size_of<int32_t>(C);
  }

  static ClassOrder make(Scratch& scratch, int64_t B, int64_t C, const int64_t* y) {
    const int64_t K = B < C ? B : C;
    ClassOrder o{0, scratch.take<int32_t>(K), scratch.take<int32_t>(K + 1), scratch.take<int32_t>(B)};
    int32_t* next = scratch.take<int32_t>(C);
    for (int64_t c = 0; c < C; ++c) next[c] = 0;
    for (int64_t i = 0; i < B; ++i) ++next[y[i]];
    int32_t begin = 0;
    for (int64_t c = 0; c < C; ++c) {
      const int32_t count = next[c];
      if (count == 0) continue;
      o.classes[o.present] = static_cast<int32_t>(c);
      o.start[o.present++] = begin;
      next[c] = begin;
      begin += count;
    }
    o.start[o.present] = begin;
    for (int64_t i = 0; i < B; ++i) o.order[next[y[i]]++] = static_cast<int32_t>(i);
    return o;
  }

  // Pairs of samples with different labels.
  double pairs() const {
    double same = 0;
    const double n = start[present];
    for (int64_t k = 0; k < present; ++k) {
      const double m = start[k + 1] - start[k];
      same += m * (m - 1) / 2;
    }
    return n * (n - 1) / 2 - same;
  }
};

}  // namespace hill
