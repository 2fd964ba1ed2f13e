// Vectors of 64 bytes in the compiler's own notation: one register with AVX-512, two with AVX2, four with SSE2.
#pragma once

#include <cmath>

#include "platform.h"

namespace hill {

template <class T>
struct VecOf;
template <>
struct VecOf<float> {
  using type = float __attribute__((vector_size(64)));
};
template <>
struct VecOf<double> {
  using type = double __attribute__((vector_size(64)));
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
constexpr int kLanes = static_cast<int>(sizeof(Vec<T>) / sizeof(T));

template <class T>
HILL_INLINE Vec<T>& at(T* p) {  // p aligned to 64 bytes
  return *reinterpret_cast<Vec<T>*>(p);
}
template <class T>
HILL_INLINE const Vec<T>& at(const T* p) {
  return *reinterpret_cast<const Vec<T>*>(p);
}

template <class T>
HILL_INLINE Vec<T> square_root(const Vec<T>& v) {  // the compiler turns this loop into the vector instruction
  Vec<T> r;
  for (int l = 0; l < kLanes<T>; ++l) r[l] = std::sqrt(v[l]);
  return r;
}

// Sum of the lanes, halves first: always in this order, whatever the width of the machine.
HILL_INLINE float lane_sum(const Vec<float>& v) {
  using V8 = float __attribute__((vector_size(32)));
  using V4 = float __attribute__((vector_size(16)));
  const V8 a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  const V4 b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
  return (b[0] + b[2]) + (b[1] + b[3]);
}
HILL_INLINE double lane_sum(const Vec<double>& v) {
  using V4 = double __attribute__((vector_size(32)));
  const V4 a = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
  return (a[0] + a[2]) + (a[1] + a[3]);
}

// The sums of four vectors' lanes at once: a quarter of the shuffles. Pairs of neighbours first.
HILL_INLINE void lane_sums(const Vec<float>& a, const Vec<float>& b, const Vec<float>& c, const Vec<float>& d, float* out) {
  using V8 = float __attribute__((vector_size(32)));
  using V4 = float __attribute__((vector_size(16)));
  const Vec<float> ab = __builtin_shufflevector(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
                        __builtin_shufflevector(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
  const Vec<float> cd = __builtin_shufflevector(c, d, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
                        __builtin_shufflevector(c, d, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
  const Vec<float> all = __builtin_shufflevector(ab, cd, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
                         __builtin_shufflevector(ab, cd, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  const V8 half = __builtin_shufflevector(all, all, 0, 1, 2, 3, 4, 5, 6, 7) +
                  __builtin_shufflevector(all, all, 8, 9, 10, 11, 12, 13, 14, 15);
  const V4 sums = __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
  for (int k = 0; k < 4; ++k) out[k] = sums[k];
}
HILL_INLINE void lane_sums(const Vec<double>& a, const Vec<double>& b, const Vec<double>& c, const Vec<double>& d, double* out) {
  using V4 = double __attribute__((vector_size(32)));
  const Vec<double> ab = __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14) + __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
  const Vec<double> cd = __builtin_shufflevector(c, d, 0, 8, 2, 10, 4, 12, 6, 14) + __builtin_shufflevector(c, d, 1, 9, 3, 11, 5, 13, 7, 15);
  const V4 left = __builtin_shufflevector(ab, ab, 0, 1, 2, 3) + __builtin_shufflevector(ab, ab, 4, 5, 6, 7);
  const V4 right = __builtin_shufflevector(cd, cd, 0, 1, 2, 3) + __builtin_shufflevector(cd, cd, 4, 5, 6, 7);
  out[0] = left[0] + left[2];
  out[1] = left[1] + left[3];
  out[2] = right[0] + right[2];
  out[3] = right[1] + right[3];
}

}  // namespace hill
