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

}  // namespace hill
