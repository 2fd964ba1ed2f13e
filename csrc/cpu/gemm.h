// C[M, N] = init + A[M, K] B[K, N] for small matrices, with the vector lanes along N. A is read one scalar at a time, so
// any strides will do; B is row-major with N a multiple of kPad; C is row-major.
#pragma once

#include <cstdint>
#include <utility>

#include "../kernels/chain.h"

namespace hill {

template <class T>
struct Product {
  const T* a;  // A[i, k] = a[i * a_row + k * a_col]
  int64_t a_row, a_col;
  const T* b;  // [K, ldb]
  int64_t ldb, M, N, K;
  T* c;  // [M, ldc]
  int64_t ldc;
  const T* bias = nullptr;  // [M]: where C starts from
  const T* init = nullptr;  // [M, ldc]: instead
  bool relu = false;        // C = max(C, 0), NaN kept
  const T* gate = nullptr;  // [M, ldc]: C = 0 where gate <= 0
};

// A register of Bytes. Unaligned by type: rows of B and C need not start at a multiple of it.
template <class T, int Bytes>
struct Register {
  typedef T type __attribute__((vector_size(Bytes), aligned(alignof(T)), may_alias));
};

template <class T, int Bytes, int Rows, int Columns>
HILL_INLINE void tile(const Product<T>& p, int64_t i, int64_t j) {
  using V = typename Register<T, Bytes>::type;
  constexpr int kWide = Bytes / static_cast<int>(sizeof(T));
  V sum[Rows][Columns];
  for (int r = 0; r < Rows; ++r) {
    for (int l = 0; l < Columns; ++l) {
      if (p.bias != nullptr) {
        sum[r][l] = V{} + p.bias[i + r];
      } else if (p.init != nullptr) {
        sum[r][l] = *reinterpret_cast<const V*>(p.init + (i + r) * p.ldc + j + l * kWide);
      } else {
        sum[r][l] = V{};
      }
    }
  }
  const T* a = p.a + i * p.a_row;
  const T* b = p.b + j;
  for (int64_t k = 0; k < p.K; ++k, a += p.a_col, b += p.ldb) {
    V lanes[Columns];
    for (int l = 0; l < Columns; ++l) lanes[l] = *reinterpret_cast<const V*>(b + l * kWide);
    for (int r = 0; r < Rows; ++r) {
      const T scalar = a[r * p.a_row];
      for (int l = 0; l < Columns; ++l) sum[r][l] += scalar * lanes[l];
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int l = 0; l < Columns; ++l) {
      const int64_t at = (i + r) * p.ldc + j + l * kWide;
      V v = sum[r][l];
      if (p.relu) v = v < 0 ? V{} : v;
      if (p.gate != nullptr) v = *reinterpret_cast<const V*>(p.gate + at) <= 0 ? V{} : v;
      *reinterpret_cast<V*>(p.c + at) = v;
    }
  }
}

// The last rows of a panel: as many as are left, at most Rows.
template <class T, int Bytes, int Rows, int Columns>
HILL_INLINE void remainder(const Product<T>& p, int64_t i, int64_t j) {
  if constexpr (Rows > 0) {
    if (p.M - i == Rows) {
      tile<T, Bytes, Rows, Columns>(p, i, j);
    } else {
      remainder<T, Bytes, Rows - 1, Columns>(p, i, j);
    }
  }
}

// As many whole panels of Columns registers as fit from column j on; returns the first column not done.
template <class T, int Bytes, int Rows, int Columns>
HILL_INLINE int64_t panels(const Product<T>& p, int64_t j) {
  constexpr int64_t kWide = Columns * Bytes / static_cast<int64_t>(sizeof(T));
  for (; j + kWide <= p.N; j += kWide) {
    int64_t i = 0;
    for (; i + Rows <= p.M; i += Rows) tile<T, Bytes, Rows, Columns>(p, i, j);
    remainder<T, Bytes, Rows - 1, Columns>(p, i, j);
  }
  return j;
}

// Tile shapes that just fill the registers of each level: 32 of 64 bytes, 16 of 32, 16 of 16.
template <class T>
HILL_INLINE void product_512(const Product<T>& p) {
  int64_t j = panels<T, 64, 6, 4>(p, 0);
  j = panels<T, 64, 8, 2>(p, j);
  panels<T, 64, 16, 1>(p, j);
}
template <class T>
HILL_INLINE void product_256(const Product<T>& p) {
  panels<T, 32, 6, 2>(p, 0);
}
template <class T>
HILL_INLINE void product_128(const Product<T>& p) {
  panels<T, 16, 6, 2>(p, 0);
}

// The widest level that may be taken; the tests lower it to reach the others on one machine.
#ifndef HILL_MAX_LEVEL
#define HILL_MAX_LEVEL 512
#endif

#if defined(__x86_64__) && defined(__GNUC__)
#define HILL_LEVEL(type, level, arch) \
  __attribute__((target("arch=" arch), noinline)) inline void product_##level##_(const Product<type>& p) { product_##level(p); }
HILL_LEVEL(float, 512, "x86-64-v4")
HILL_LEVEL(double, 512, "x86-64-v4")
HILL_LEVEL(float, 256, "x86-64-v3")
HILL_LEVEL(double, 256, "x86-64-v3")
#undef HILL_LEVEL

template <class T>
void multiply(const Product<T>& p) {
  static const int best = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                                   __builtin_cpu_supports("avx512cd")
                               ? 512
                           : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 256
                                                                                              : 128;
  const int level = best < HILL_MAX_LEVEL ? best : HILL_MAX_LEVEL;
  if (level == 512) {
    product_512_(p);
  } else if (level == 256) {
    product_256_(p);
  } else {
    product_128(p);
  }
}
#else
template <class T>
void multiply(const Product<T>& p) {
  product_128(p);
}
#endif

}  // namespace hill
