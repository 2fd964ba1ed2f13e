// Pair separation by coordinate differences: one row against a tile of columns, all vector lanes full.
#pragma once

#include "../kernels/vec.h"
#include "pair_plan.h"

namespace hill {

constexpr int64_t kTile = 1024;  // columns a tile: coordinates, margins and gradients of D = 2 stay in the L1 cache
constexpr int64_t kMaxDirect = 16;

template <class T>
struct DirectPlan : PairPlan<T> {
  int64_t stride;  // padded(B): length of one coordinate's array
  T* x;            // [D, stride] sorted by class, padded with zeros

  static size_t bytes(int64_t B, int64_t D, int64_t C) {
    return PairPlan<T>::bytes(B, D, C) + Scratch::size_of<T>(D * padded(B));
  }
};

template <class T>
HILL_INLINE DirectPlan<T> make_direct_plan(Scratch& scratch, int64_t B, int64_t D, int64_t C, const T* z, const int64_t* y,
                                           const T* margins) {
  DirectPlan<T> plan{PairPlan<T>::make(scratch, B, D, C, y, margins), padded(B), scratch.take<T>(D * padded(B))};
  const ClassOrder& o = plan.order;
  T poison = 0;  // becomes NaN when any coordinate is not finite
  for (int64_t d = 0; d < D; ++d) {
    T* x = plan.x + d * plan.stride;
    for (int64_t j = 0; j < B; ++j) x[j] = z[o.order[j] * D + d];
    for (int64_t j = B; j < plan.stride; ++j) x[j] = 0;
    if (!plan.boxed) continue;
    for (int64_t k = 0; k < o.present; ++k) {
      T lo = x[o.start[k]], hi = lo, sum = 0;
#pragma omp simd reduction(min : lo) reduction(max : hi) reduction(+ : sum)
      for (int64_t j = o.start[k]; j < o.start[k + 1]; ++j) {
        lo = x[j] < lo ? x[j] : lo;
        hi = x[j] > hi ? x[j] : hi;
        sum += x[j] * 0;
      }
      poison += sum;
      plan.lo[k * D + d] = lo;
      plan.hi[k * D + d] = hi;
    }
  }
  plan.boxed = plan.boxed && poison == 0;
  return plan;
}

// kRows rows against n columns. Adds h / d * (x_i - x_j) to the columns' g and the squares h^2 to `value`; sum[r][d] receives
// each row's share, by lane. Comparisons are written so that NaN comes through: h < 0 ? 0 : h keeps it, and so does
// d == 0 ? 0 : h / d.
template <class T, int D, int kRows, bool kGrad>
HILL_INLINE void rows_against_tile(const T (*xi)[D], Vec<T> (*sum)[D], Vec<T>& value, const T* x, T* g, int64_t stride, const T* m,
                                   int64_t n) {
  const Vec<T> zero = {};
  for (int64_t j = 0; j < n; j += kLanes<T>) {
    Vec<T> column[D], received[D], margin = at(m + j);
#pragma GCC unroll 4
    for (int d = 0; d < D; ++d) {
      column[d] = at(x + d * stride + j);
      if constexpr (kGrad) received[d] = at(g + d * stride + j);
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      Vec<T> diff[D], square = zero;
#pragma GCC unroll 4
      for (int d = 0; d < D; ++d) {
        diff[d] = xi[r][d] - column[d];
        square += diff[d] * diff[d];
      }
      const Vec<T> distance = square_root<T>(square);
      Vec<T> h = margin - distance;
      h = h < 0 ? zero : h;
      value += h * h;
      if constexpr (kGrad) {
        const Vec<T> c = square == 0 ? zero : h / distance;
#pragma GCC unroll 4
        for (int d = 0; d < D; ++d) {
          const Vec<T> push = c * diff[d];
          sum[r][d] += push;
          received[d] += push;
        }
      }
    }
    if constexpr (kGrad) {
#pragma GCC unroll 4
      for (int d = 0; d < D; ++d) at(g + d * stride + j) = received[d];
    }
  }
}

// Rows [i, i + kRows) of the plan against the tile; their sums go to `rows`.
template <class T, int D, int kRows, bool kGrad>
HILL_INLINE void some_rows(const DirectPlan<T>& plan, int64_t i, int64_t from, const T* m, int64_t n, Vec<T>& value, T* g, T* rows) {
  T xi[kRows][D];
  Vec<T> sum[kRows][D] = {};
  for (int r = 0; r < kRows; ++r) {
    for (int d = 0; d < D; ++d) xi[r][d] = plan.x[d * plan.stride + i + r];
  }
  rows_against_tile<T, D, kRows, kGrad>(xi, sum, value, plan.x + from, g + from, plan.stride, m, n);
  if constexpr (kGrad && D == 2 && kRows == 2) {
    T sums[4];
    lane_sums(sum[0][0], sum[1][0], sum[0][1], sum[1][1], sums);
    for (int k = 0; k < 4; ++k) rows[k / 2 * plan.stride + i + k % 2] += sums[k];
  } else if constexpr (kGrad) {
    for (int r = 0; r < kRows; ++r) {
      for (int d = 0; d < D; ++d) rows[d * plan.stride + i + r] += lane_sum(sum[r][d]);
    }
  }
}

// One row for any D, one coordinate after the other through a buffer as long as the tile. Returns its sum of h^2.
template <class T, bool kGrad>
HILL_INLINE T row_against_tile_any(int64_t D, const T* xi, T* gi, const T* x, T* g, int64_t stride, const T* m, int64_t n,
                                   T* buffer) {
  for (int64_t j = 0; j < n; j += kLanes<T>) {
    const Vec<T> diff = xi[0] - at(x + j);
    at(buffer + j) = diff * diff;
  }
  for (int64_t d = 1; d < D; ++d) {
    for (int64_t j = 0; j < n; j += kLanes<T>) {
      const Vec<T> diff = xi[d] - at(x + d * stride + j);
      at(buffer + j) += diff * diff;
    }
  }
  const Vec<T> zero = {};
  Vec<T> value = {};
  for (int64_t j = 0; j < n; j += kLanes<T>) {
    const Vec<T> square = at(buffer + j), distance = square_root<T>(square);
    Vec<T> h = at(m + j) - distance;
    h = h < 0 ? zero : h;
    value += h * h;
    at(buffer + j) = square == 0 ? zero : h / distance;
  }
  if constexpr (kGrad) {
    for (int64_t d = 0; d < D; ++d) {
      Vec<T> sum = {};
      for (int64_t j = 0; j < n; j += kLanes<T>) {
        const Vec<T> push = at(buffer + j) * (xi[d] - at(x + d * stride + j));
        sum += push;
        at(g + d * stride + j) += push;
      }
      gi[d] += lane_sum(sum);
    }
  }
  return lane_sum(value);
}

// Sorted rows [begin, end) against all later classes. g [D, stride] receives sum h/d (x_i - x_j) for the columns and
// `rows` [D, stride] for the rows; in one array, each row's scalar store would stall the next row's vector load.
template <class T, int kD, bool kGrad>
HILL_INLINE double direct_rows(const DirectPlan<T>& plan, int64_t begin, int64_t end, T* g, T* rows, T* m) {
  const int64_t D = kD > 0 ? kD : plan.D, stride = plan.stride;
  double value = 0;
  for_active(plan, begin, end, [&](int64_t r0, int64_t r1, int64_t j0, int64_t j1, int64_t a, int64_t k)
                                   __attribute__((always_inline)) {
    while (j0 < j1) {
      const int64_t from = j0 / kLane * kLane;
      const int64_t stop = j1 < from + kTile ? j1 : from + kTile;
      expand_margins(plan, a, k, j0, stop, from, padded(stop), m);
      const int64_t n = padded(stop) - from;
      if constexpr (kD > 0) {
        constexpr int64_t kFlush = 8;  // rows whose squares are summed in T, by lane, before they go to the double
        for (int64_t i0 = r0; i0 < r1; i0 += kFlush) {
          const int64_t last = r1 < i0 + kFlush ? r1 : i0 + kFlush;
          Vec<T> squares = {};
          int64_t i = i0;
          for (; i + 2 <= last; i += 2) some_rows<T, kD, 2, kGrad>(plan, i, from, m, n, squares, g, rows);
          if (i < last) some_rows<T, kD, 1, kGrad>(plan, i, from, m, n, squares, g, rows);
          value += static_cast<double>(lane_sum(squares));
        }
      } else {
        for (int64_t i = r0; i < r1; ++i) {
          T xi[kMaxDirect], gi[kMaxDirect] = {};
          for (int64_t d = 0; d < D; ++d) xi[d] = plan.x[d * stride + i];
          value += static_cast<double>(
              row_against_tile_any<T, kGrad>(D, xi, gi, plan.x + from, g + from, stride, m, n, m + kTile + kLane));
          if constexpr (kGrad) {
            for (int64_t d = 0; d < D; ++d) rows[d * stride + i] += gi[d];
          }
        }
      }
      j0 = stop;
      while (k + 1 < plan.order.present && plan.order.start[k + 1] <= j0) ++k;
    }
  });
  return value;
}

}  // namespace hill
