// Pair separation by inner products, for many coordinates: |z_i - z_j|^2 = |z_i|^2 + |z_j|^2 - 2 z_i z_j in tiles.
//
// Coordinates are centred first, and pairs much nearer to each other than to the center, whose difference the
// subtraction would lose, are recomputed from coordinate differences. With c = h / d the gradient needs only the sum of c
// and the sum of c times the other sample, which is again a product of tiles.
#pragma once

#include "../kernels/vec.h"
#include "pair_plan.h"

namespace hill {

constexpr int64_t kMicro = 6;       // accumulators of a product: 6 fit the registers of AVX2 and AVX-512
constexpr int64_t kRowTile = 24;    // rows a tile, a multiple of kMicro
constexpr int64_t kColTile = 128;   // columns a tile
constexpr double kNear = 0.05;      // |z_i - z_j|^2 below this part of |z_i|^2 + |z_j|^2: recompute

template <class T>
struct GramPlan : PairPlan<T> {
  int64_t stride;  // padded(B) + kLane: a micro tile may reach a few samples past the end
  int64_t width;   // row length: D padded, plus a line when needed to make the number of lines odd (cache sets)
  T* rows;         // [stride, width] sorted, centred
  T* panels;       // [padded(B) / lanes, D, lanes] the same, `lanes` samples side by side
  T* norms;        // [stride]

  static int64_t width_of(int64_t D) { return padded(D) / kLane % 2 == 1 ? padded(D) : padded(D) + kLane; }
  static int64_t stride_of(int64_t B) { return padded(B) + kLane; }
  static size_t bytes(int64_t B, int64_t D, int64_t C) {
    return PairPlan<T>::bytes(B, D, C) + Scratch::size_of<T>(stride_of(B) * width_of(D)) +
           Scratch::size_of<T>(padded(B) * D) + Scratch::size_of<T>(stride_of(B)) + Scratch::size_of<double>(D);
  }
};

template <class T>
HILL_INLINE GramPlan<T> make_gram_plan(Scratch& scratch, int64_t B, int64_t D, int64_t C, const T* z, const int64_t* y,
                                       const T* margins) {
  const int64_t stride = GramPlan<T>::stride_of(B), width = GramPlan<T>::width_of(D);
  GramPlan<T> plan{PairPlan<T>::make(scratch, B, D, C, y, margins), stride,          width, scratch.take<T>(stride * width),
                   scratch.take<T>(padded(B) * D),                  scratch.take<T>(stride)};
  double* mean = scratch.take<double>(D);
  for (int64_t d = 0; d < D; ++d) mean[d] = 0;
  for (int64_t i = 0; i < B; ++i) {
    for (int64_t d = 0; d < D; ++d) mean[d] += static_cast<double>(z[i * D + d]);
  }
  for (int64_t d = 0; d < D; ++d) mean[d] /= static_cast<double>(B > 0 ? B : 1);
  const ClassOrder& o = plan.order;
  constexpr int64_t L = kLanes<T>;
  bool finite = true;
  for (int64_t j = 0; j < stride; ++j) {
    T* row = plan.rows + j * width;
    T norm = 0;
    for (int64_t d = 0; d < width; ++d) row[d] = 0;
    if (j < B) {
      const T* from = z + o.order[j] * D;
      for (int64_t d = 0; d < D; ++d) {
        row[d] = from[d] - static_cast<T>(mean[d]);
        norm += row[d] * row[d];
      }
      finite = finite && norm * 0 == 0;
    }
    plan.norms[j] = norm;
    if (j < padded(B)) {
      T* panel = plan.panels + j / L * D * L + j % L;
      for (int64_t d = 0; d < D; ++d) panel[d * L] = row[d];
    }
  }
  plan.boxed = plan.boxed && finite;
  for (int64_t k = 0; plan.boxed && k < o.present; ++k) {
    T* lo = plan.lo + k * D;
    T* hi = plan.hi + k * D;
    for (int64_t j = o.start[k]; j < o.start[k + 1]; ++j) {
      const T* row = plan.rows + j * width;
      for (int64_t d = 0; d < D; ++d) {
        lo[d] = j == o.start[k] || row[d] < lo[d] ? row[d] : lo[d];
        hi[d] = j == o.start[k] || row[d] > hi[d] ? row[d] : hi[d];
      }
    }
  }
  return plan;
}

// out[r][0..n) = sum over d of rows[r][d] * panels[..][d][..], for kMicro rows; n columns from a panel boundary
template <class T>
HILL_INLINE void inner_products(int64_t D, int64_t width, const T* rows, const T* panels, int64_t n, T* out) {
  constexpr int64_t L = kLanes<T>;
  for (int64_t j = 0; j < n; j += L) {
    const T* panel = panels + j * D;
    Vec<T> sum[kMicro] = {};
    for (int64_t d = 0; d < D; ++d) {
      const Vec<T> column = at(panel + d * L);
      for (int64_t r = 0; r < kMicro; ++r) sum[r] += rows[r * width + d] * column;
    }
    for (int64_t r = 0; r < kMicro; ++r) at(out + r * kColTile + j) = sum[r];
  }
}

// to[r][:] += sum over i < n of c[r * step_r + i * step_i] * from[i][:], for kMicro rows of `to`
template <class T>
HILL_INLINE void weighted_rows(int64_t width, const T* c, int64_t step_r, int64_t step_i, const T* from, int64_t n, T* to) {
  for (int64_t d = 0; d < width; d += kLanes<T>) {
    Vec<T> sum[kMicro];
    for (int64_t r = 0; r < kMicro; ++r) sum[r] = at(to + r * width + d);
    for (int64_t i = 0; i < n; ++i) {
      const Vec<T> v = at(from + i * width + d);
      for (int64_t r = 0; r < kMicro; ++r) sum[r] += c[r * step_r + i * step_i] * v;
    }
    for (int64_t r = 0; r < kMicro; ++r) at(to + r * width + d) = sum[r];
  }
}

// A near pair by coordinate differences: returns its h^2 and adds h / d (other - own) to both rows of W.
template <class T, bool kGrad>
HILL_INLINE T near_pair(const GramPlan<T>& plan, int64_t i, int64_t j, T margin, T* W) {
  const T* a = plan.rows + i * plan.width;
  const T* b = plan.rows + j * plan.width;
  Vec<T> sum = {};
  for (int64_t d = 0; d < plan.width; d += kLanes<T>) sum += (at(a + d) - at(b + d)) * (at(a + d) - at(b + d));
  const T square = lane_sum(sum), distance = std::sqrt(square);
  T h = margin - distance;
  h = h < 0 ? 0 : h;
  if constexpr (kGrad) {
    const T c = square == 0 ? 0 : h / distance;
    for (int64_t d = 0; d < plan.width; d += kLanes<T>) {
      const Vec<T> push = c * (at(b + d) - at(a + d));
      at(W + i * plan.width + d) += push;
      at(W + j * plan.width + d) -= push;
    }
  }
  return h * h;
}

// Sorted rows [begin, end) against all later classes. W [stride, width] receives sum c z_other, S [stride] sum c.
// work: [kRowTile + 1, kColTile].
template <class T, bool kGrad>
HILL_INLINE double gram_rows(const GramPlan<T>& plan, int64_t begin, int64_t end, T* W, T* S, T* work) {
  constexpr int64_t L = kLanes<T>;
  const int64_t width = plan.width;
  const ClassOrder& o = plan.order;
  T* const m = work + kRowTile * kColTile;
  double value = 0;
  for_active(plan, begin, end, [&](int64_t r0, int64_t r1, int64_t j0, int64_t j1, int64_t a, int64_t k)
                                   __attribute__((always_inline)) {
    while (j0 < j1) {
      const int64_t from = j0 / kLane * kLane;
      const int64_t stop = j1 < from + kColTile ? j1 : from + kColTile;
      const int64_t n = padded(stop) - from;
      expand_margins(plan, a, k, j0, stop, from, from + n, m);
      for (int64_t i0 = r0; i0 < r1; i0 += kRowTile) {
        const int64_t rows = r1 - i0 < kRowTile ? r1 - i0 : kRowTile;
        bool any = false;
        for (int64_t r = 0; r < rows; r += kMicro) {
          inner_products(plan.D, width, plan.rows + (i0 + r) * width, plan.panels + from * plan.D, n, work + r * kColTile);
        }
        for (int64_t r = 0; r < rows; ++r) {
          T* c = work + r * kColTile;
          const T own = plan.norms[i0 + r];
          const Vec<T> zero = {};
          Vec<T> sum = {}, row_sum = {};
          for (int64_t j = 0; j < n; j += L) {
            const Vec<T> both = own + at(plan.norms + from + j), margin = at(m + j);
            Vec<T> square = both - 2 * at(c + j);
            const auto near = (square <= static_cast<T>(kNear) * both) & (margin > 0);
            bool nearby = false;
            for (int64_t l = 0; l < L; ++l) nearby |= near[l] != 0;
            if (nearby) {
              for (int64_t l = 0; l < L; ++l) {
                if (near[l] == 0) continue;
                value += static_cast<double>(near_pair<T, kGrad>(plan, i0 + r, from + j + l, margin[l], W));
                square[l] = margin[l] * margin[l] * 2;  // done: now it counts as far
              }
            }
            const Vec<T> distance = square_root<T>(square);
            Vec<T> h = margin - distance;
            h = margin > 0 ? h : zero;  // rounding may have made the square of a pair that does not count negative
            h = h < 0 ? zero : h;
            sum += h * h;
            if constexpr (kGrad) {
              const Vec<T> ratio = h == 0 ? zero : h / distance;
              at(c + j) = ratio;
              row_sum += ratio;
              at(S + from + j) += ratio;
            }
          }
          const T v = lane_sum(sum);
          value += static_cast<double>(v);
          any |= v != 0;
          if constexpr (kGrad) S[i0 + r] += lane_sum(row_sum);
        }
        if (kGrad && any) {
          for (int64_t r = rows; r % kMicro != 0; ++r) {
            for (int64_t j = 0; j < n; ++j) work[r * kColTile + j] = 0;
          }
          for (int64_t r = 0; r < rows; r += kMicro) {
            weighted_rows(width, work + r * kColTile, kColTile, int64_t{1}, plan.rows + from * width, n, W + (i0 + r) * width);
          }
          // Columns in sixes; the last six may reach past the tile, into weights that are 0 here.
          for (int64_t j = n; j < n + kMicro && j < kColTile; ++j) {
            for (int64_t r = 0; r < rows; ++r) work[r * kColTile + j] = 0;
          }
          for (int64_t j = 0; j < n; j += kMicro) {
            const int64_t first = j + kMicro <= kColTile ? j : kColTile - kMicro;
            for (int64_t r = 0; first < j && r < rows; ++r) {
              for (int64_t l = first; l < j; ++l) work[r * kColTile + l] = 0;  // these were added with the six before
            }
            weighted_rows(width, work + first, int64_t{1}, kColTile, plan.rows + i0 * width, rows, W + (from + first) * width);
          }
        }
      }
      j0 = stop;
      while (k + 1 < o.present && o.start[k + 1] <= j0) ++k;
    }
  });
  return value;
}

}  // namespace hill
