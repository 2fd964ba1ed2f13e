// What both ways of pair_separation share: the samples in class order and a box around each class.
#pragma once

#include <cmath>
#include <limits>

#include "class_order.h"

namespace hill {

constexpr int64_t kBoxFrom = 192;  // below this batch, doing a far pair costs less than finding out that it is far

template <class T>
struct PairPlan {
  int64_t B, D, C;
  ClassOrder order;
  T* lo;             // [K, D] box around each class
  T* hi;             // [K, D]
  const T* margins;  // [C, C]
  bool boxed;        // boxes were made, and no NaN or infinity in z makes them lie

  static size_t bytes(int64_t B, int64_t D, int64_t C) {
    const int64_t K = B < C ? B : C;
    return ClassOrder::bytes(B, C) + 2 * Scratch::size_of<T>(K * D);
  }

  static PairPlan make(Scratch& scratch, int64_t B, int64_t D, int64_t C, const int64_t* y, const T* margins) {
    const int64_t K = B < C ? B : C;
    const ClassOrder order = ClassOrder::make(scratch, B, C, y);
    return {B, D, C, order, scratch.take<T>(K * D), scratch.take<T>(K * D), margins, B >= kBoxFrom};
  }

  T margin(int64_t a, int64_t k) const {
    return margins[static_cast<int64_t>(order.classes[a]) * C + order.classes[k]];
  }

  // False only when no sample of class a can be within the margin of one of class k. Box gaps are lower bounds of the
  // distances in exact arithmetic; the factor covers rounding.
  bool may_touch(int64_t a, int64_t k) const {
    const T m = margin(a, k);
    if (m <= 0) return false;
    if (!boxed) return true;
    T square = 0;
    for (int64_t d = 0; d < D; ++d) {
      const T gap1 = lo[k * D + d] - hi[a * D + d], gap2 = lo[a * D + d] - hi[k * D + d];
      const T gap = gap1 > gap2 ? gap1 : gap2;
      if (gap > 0) square += gap * gap;
    }
    return !(square * (1 - 8 * std::numeric_limits<T>::epsilon()) >= m * m);
  }
};

// Margins of row class a against columns [j0, j1), laid out from the vector boundary below j0; 0 where there is no pair,
// which makes a lane do nothing: its hinge is max(0, -distance). Whole vectors are written, each class over the end of the
// one before, so m needs kLane numbers of room past `to`.
template <class T>
HILL_INLINE void expand_margins(const PairPlan<T>& plan, int64_t a, int64_t k, int64_t j0, int64_t j1, int64_t from, int64_t to,
                                T* m) {
  const ClassOrder& o = plan.order;
  const auto fill = [](T* begin, const T* end, T v) __attribute__((always_inline)) {
    do {
      for (int64_t l = 0; l < kLane; ++l) begin[l] = v;
      begin += kLane;
    } while (begin < end);
  };
  fill(m, m + kLane, T(0));
  for (; j0 < j1; ++k) {
    const int64_t stop = o.start[k + 1] < j1 ? o.start[k + 1] : j1;
    fill(m + (j0 - from), m + (stop - from), plan.margin(a, k));
    j0 = stop;
  }
  if (j1 < to) fill(m + (j1 - from), m + (to - from), T(0));
}

// Calls f(row_begin, row_end, column_begin, column_end, a, k_begin) for the sorted rows [begin, end) against every
// stretch of later columns that may be within a margin. A stretch covers whole
// classes, the first of them k_begin.
template <class T, class F>
HILL_INLINE void for_active(const PairPlan<T>& plan, int64_t begin, int64_t end, F&& f) {
  const ClassOrder& o = plan.order;
  for (int64_t a = 0; a + 1 < o.present; ++a) {
    const int64_t r0 = o.start[a] > begin ? o.start[a] : begin, r1 = o.start[a + 1] < end ? o.start[a + 1] : end;
    if (r0 >= r1) continue;
    int64_t first = -1;  // class at which the stretch began
    for (int64_t k = a + 1; k <= o.present; ++k) {
      const bool active = k < o.present && plan.may_touch(a, k);
      if (active && first < 0) first = k;
      if (!active && first >= 0) {
        f(r0, r1, static_cast<int64_t>(o.start[first]), static_cast<int64_t>(o.start[k]), a, first);
        first = -1;
      }
    }
  }
}

}  // namespace hill
