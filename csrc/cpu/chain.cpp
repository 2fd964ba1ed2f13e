#include "../kernels/chain.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gemm.h"

namespace hill {
namespace {

// One stage of a block transpose: exchanges the off-diagonal blocks of S lanes between each pair of registers.
template <class V, int S, int... L>
HILL_INLINE void exchange(V& a, V& b, std::integer_sequence<int, L...>) {
  constexpr int n = sizeof...(L);
  const V low = __builtin_shufflevector(a, b, ((L & S) == 0 ? L : n + L - S)...);
  const V high = __builtin_shufflevector(a, b, ((L & S) == 0 ? L + S : n + L)...);
  a = low;
  b = high;
}
template <class V, int N, int S>
HILL_INLINE void stages(V* rows) {
  if constexpr (S < N) {
    for (int i = 0; i < N; ++i) {
      if ((i & S) == 0) exchange<V, S>(rows[i], rows[i + S], std::make_integer_sequence<int, N>{});
    }
    stages<V, N, 2 * S>(rows);
  }
}

// from [rows, ld_from] -> to [columns, ld_to]; rows of `to` are filled with 0 up to ld_to.
template <class T>
HILL_INLINE void transpose_any(const T* from, int64_t ld_from, int64_t rows, int64_t columns, T* to, int64_t ld_to) {
  constexpr int64_t n = 32 / sizeof(T);
  using V = typename Register<T, 32>::type;
  const int64_t whole_rows = rows / n * n, whole_columns = columns / n * n;
  for (int64_t c = 0; c < whole_columns; c += n) {
    for (int64_t r = 0; r < whole_rows; r += n) {
      V block[n];
      for (int64_t i = 0; i < n; ++i) block[i] = *reinterpret_cast<const V*>(from + (r + i) * ld_from + c);
      stages<V, n, 1>(block);
      for (int64_t i = 0; i < n; ++i) *reinterpret_cast<V*>(to + (c + i) * ld_to + r) = block[i];
    }
    for (int64_t j = c; j < c + n; ++j) {
      for (int64_t i = whole_rows; i < rows; ++i) to[j * ld_to + i] = from[i * ld_from + j];
    }
  }
  for (int64_t j = whole_columns; j < columns; ++j) {
    for (int64_t i = 0; i < rows; ++i) to[j * ld_to + i] = from[i * ld_from + j];
  }
  for (int64_t j = 0; j < columns; ++j) std::fill(to + j * ld_to + rows, to + (j + 1) * ld_to, T(0));
}
HILL_CLONES void transpose(const float* from, int64_t ldf, int64_t rows, int64_t columns, float* to, int64_t ldt) {
  transpose_any(from, ldf, rows, columns, to, ldt);
}
HILL_CLONES void transpose(const double* from, int64_t ldf, int64_t rows, int64_t columns, double* to, int64_t ldt) {
  transpose_any(from, ldf, rows, columns, to, ldt);
}

template <class T>
HILL_INLINE void row_sums_any(const T* m, int64_t rows, int64_t ld, T* out) {  // ld a multiple of kPad
  for (int64_t r = 0; r < rows; ++r) {
    T lanes[kPad] = {};
    for (int64_t j = 0; j < ld; j += kPad) {
      for (int64_t l = 0; l < kPad; ++l) lanes[l] += m[r * ld + j + l];
    }
    for (int64_t half = kPad / 2; half > 0; half /= 2) {
      for (int64_t l = 0; l < half; ++l) lanes[l] += lanes[l + half];
    }
    out[r] = lanes[0];
  }
}
HILL_CLONES void row_sums(const float* m, int64_t rows, int64_t ld, float* out) { row_sums_any(m, rows, ld, out); }
HILL_CLONES void row_sums(const double* m, int64_t rows, int64_t ld, double* out) { row_sums_any(m, rows, ld, out); }

// Rows of a batch worked on together while nothing is saved: they fit the first-level cache with their weights.
constexpr int64_t kRows = 64;

template <class T>
struct Saved {
  // Places in one replica's saved activations: `rows[l]` of layer l's inputs, `lanes[l]` of layer l - 1's outputs.
  static int64_t rows(const Chain& c, int64_t B, int64_t layer) {
    int64_t at = 0;
    for (int64_t l = 0; l < layer; ++l) at += B * padded(c.width[l]) + (l > 0 ? c.width[l] * padded(B) : 0);
    return at;
  }
  static int64_t lanes(const Chain& c, int64_t B, int64_t layer) { return rows(c, B, layer) + B * padded(c.width[layer]); }
};

template <class T>
void forward_rows(const Chain& chain, int64_t B, const T* params, const T* x, T* logits, T* latents, T* saved) {
  const int64_t Bp = padded(B), n = chain.layers;
  int64_t widest = 0;
  for (int64_t l = 0; l <= n; ++l) widest = std::max(widest, chain.width[l]);
  Scratch& scratch = Scratch::of_this_thread();
  scratch.reset(2 * Scratch::size_of<T>(widest * Bp));
  T* in = scratch.take<T>(widest * Bp);
  T* out = scratch.take<T>(widest * Bp);
  transpose(x, chain.width[0], B, chain.width[0], in, Bp);
  if (saved != nullptr) {
    const int64_t width = chain.width[0], ld = padded(width);
    for (int64_t i = 0; i < B; ++i) {
      std::copy(x + i * width, x + (i + 1) * width, saved + i * ld);
      std::fill(saved + i * ld + width, saved + (i + 1) * ld, T(0));
    }
  }
  for (int64_t l = 0; l < n; ++l) {
    const int64_t width = chain.width[l + 1];
    const bool hidden = l + 1 < n;
    T* to = hidden && saved != nullptr ? saved + Saved<T>::lanes(chain, B, l + 1) : out;
    multiply(Product<T>{params + chain.weight[l], chain.width[l], 1, in, Bp, width, Bp, chain.width[l], to, Bp,
                        params + chain.bias[l], nullptr, hidden, nullptr});
    if (!hidden) {
      transpose(to, Bp, width, B, logits, width);
      break;
    }
    if (l + 2 == n && latents != nullptr) transpose(to, Bp, width, B, latents, width);
    if (saved != nullptr) transpose(to, Bp, width, B, saved + Saved<T>::rows(chain, B, l + 1), padded(width));
    if (saved != nullptr) {
      in = to;
    } else {
      std::swap(in, out);
    }
  }
}

template <class T>
void backward_rows(const Chain& chain, int64_t B, const T* params, const T* saved, const T* dlogits, const T* dlatents, T* grads) {
  const int64_t Bp = padded(B), n = chain.layers;
  int64_t widest = 0, largest = 0;
  for (int64_t l = 0; l <= n; ++l) widest = std::max(widest, chain.width[l]);
  for (int64_t l = 0; l < n; ++l) largest = std::max(largest, chain.width[l + 1] * padded(chain.width[l]));
  Scratch& scratch = Scratch::of_this_thread();
  scratch.reset(3 * Scratch::size_of<T>(widest * Bp) + Scratch::size_of<T>(largest));
  T* delta = scratch.take<T>(widest * Bp);
  T* next = scratch.take<T>(widest * Bp);
  T* human = scratch.take<T>(widest * Bp);
  T* wide = scratch.take<T>(largest);
  transpose(dlogits, chain.width[n], B, chain.width[n], delta, Bp);
  for (int64_t l = n - 1; l >= 0; --l) {
    const int64_t in = chain.width[l], out = chain.width[l + 1], ld = padded(in);
    T* weights = grads + chain.weight[l];
    multiply(Product<T>{delta, Bp, 1, saved + Saved<T>::rows(chain, B, l), ld, out, ld, B, ld == in ? weights : wide, ld});
    if (ld != in) {
      for (int64_t o = 0; o < out; ++o) std::copy(wide + o * ld, wide + o * ld + in, weights + o * in);
    }
    row_sums(delta, out, Bp, grads + chain.bias[l]);
    if (l == 0) break;
    const T* init = nullptr;
    if (l + 1 == n && dlatents != nullptr) {
      transpose(dlatents, in, B, in, human, Bp);
      init = human;
    }
    multiply(Product<T>{params + chain.weight[l], 1, in, delta, Bp, in, Bp, out, next, Bp, nullptr, init, false,
                        saved + Saved<T>::lanes(chain, B, l)});
    std::swap(delta, next);
  }
}

}  // namespace

int64_t chain_saved_size(const Chain& chain, int64_t B) {
  return padded(Saved<float>::rows(chain, B, chain.layers));
}

template <class T>
void chain_forward(const Chain& chain, int64_t P, int64_t B, const T* params, int64_t row, const T* x, int64_t x_stride, T* logits,
                   T* latents, T* saved, ParallelFor run) {
  const int64_t H = chain.width[chain.layers - 1], C = chain.width[chain.layers], size = chain_saved_size(chain, B);
  auto replica = [&](int64_t p) {
    const int64_t step = saved != nullptr ? B : kRows;
    for (int64_t begin = 0; begin < B; begin += step) {
      const int64_t rows = std::min(step, B - begin);
      forward_rows(chain, rows, params + p * row, x + p * x_stride + begin * chain.width[0], logits + (p * B + begin) * C,
                   latents != nullptr ? latents + (p * padded(B) + begin) * H : nullptr, saved != nullptr ? saved + p * size : nullptr);
    }
  };
  parallel_for(run, P, replica);
}

template <class T>
void chain_backward(const Chain& chain, int64_t P, int64_t B, const T* params, int64_t row, const T* saved, const T* dlogits,
                    const T* dlatents, int64_t Q, T* grads, ParallelFor run) {
  const int64_t H = chain.width[chain.layers - 1], C = chain.width[chain.layers], size = chain_saved_size(chain, B);
  auto replica = [&](int64_t p) {
    backward_rows(chain, B, params + p * row, saved + p * size, dlogits + p * B * C, p < Q ? dlatents + p * B * H : nullptr,
                  grads + p * row);
  };
  parallel_for(run, P, replica);
}

template <class T>
void softmax_cross_entropy(int64_t P, int64_t B, int64_t C, const T* logits, const int64_t* y, int64_t y_stride, double* measures,
                           T* dlogits, ParallelFor run) {
  auto replica = [&](int64_t p) {
    double loss = 0;
    int64_t correct = 0;
    const T scale = T(1) / static_cast<T>(B);
    Scratch& scratch = Scratch::of_this_thread();
    scratch.reset(Scratch::size_of<T>(C));
    T* e = scratch.take<T>(C);
    for (int64_t i = 0; i < B; ++i) {
      const T* s = logits + (p * B + i) * C;
      const int64_t label = y[p * y_stride + i];
      int64_t best = 0;
      for (int64_t c = 1; c < C; ++c) best = s[c] > s[best] ? c : best;
      T total = 0;
      for (int64_t c = 0; c < C; ++c) total += e[c] = std::exp(s[c] - s[best]);
      loss += static_cast<double>(std::log(total) - (s[label] - s[best]));
      correct += best == label;
      if (dlogits == nullptr) continue;
      T* d = dlogits + (p * B + i) * C;
      for (int64_t c = 0; c < C; ++c) d[c] = scale * (e[c] / total - (c == label ? T(1) : T(0)));
    }
    measures[p] = loss / static_cast<double>(B);
    measures[P + p] = static_cast<double>(correct) / static_cast<double>(B);
  };
  parallel_for(run, P, replica);
}

#define HILL_INSTANTIATE(T)                                                                                                     \
  template void chain_forward<T>(const Chain&, int64_t, int64_t, const T*, int64_t, const T*, int64_t, T*, T*, T*, ParallelFor); \
  template void chain_backward<T>(const Chain&, int64_t, int64_t, const T*, int64_t, const T*, const T*, const T*, int64_t, T*,  \
                                  ParallelFor);                                                                                 \
  template void softmax_cross_entropy<T>(int64_t, int64_t, int64_t, const T*, const int64_t*, int64_t, double*, T*,    \
                                         ParallelFor);
HILL_INSTANTIATE(float)
HILL_INSTANTIATE(double)

}  // namespace hill
