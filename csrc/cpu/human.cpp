#include "../kernels/human.h"

#include <cmath>
#include <limits>

namespace hill {
namespace {

constexpr int64_t kWide = 16;

// sum_k a[k] b[k], in lanes of 16 that are added by halves: the same order everywhere on a machine.
template <class T>
HILL_INLINE T dot(const T* a, const T* b, int64_t n) {
  T lanes[kWide] = {};
  int64_t k = 0;
  for (; k + kWide <= n; k += kWide) {
    for (int64_t l = 0; l < kWide; ++l) lanes[l] += a[k + l] * b[k + l];
  }
  for (int64_t l = 0; k + l < n; ++l) lanes[l] += a[k + l] * b[k + l];
  for (int64_t half = kWide / 2; half > 0; half /= 2) {
    for (int64_t l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  }
  return lanes[0];
}

template <class T>
HILL_INLINE void project_any(int64_t B, int64_t H, const T* h, const T* weight, const T* bias, const T* origin, T unit, T* z) {
  for (int64_t i = 0; i < B; ++i) {
    for (int64_t d = 0; d < 2; ++d) z[2 * i + d] = (dot(h + i * H, weight + d * H, H) + bias[d] - origin[d]) / unit;
  }
}
HILL_CLONES void project(int64_t B, int64_t H, const float* h, const float* weight, const float* bias, const float* origin,
                         float unit, float* z) {
  project_any(B, H, h, weight, bias, origin, unit, z);
}
HILL_CLONES void project(int64_t B, int64_t H, const double* h, const double* weight, const double* bias, const double* origin,
                         double unit, double* z) {
  project_any(B, H, h, weight, bias, origin, unit, z);
}

template <class T>
HILL_INLINE void back_any(int64_t B, int64_t H, const T* dz, const T* weight, T unit, T* dh) {
  for (int64_t i = 0; i < B; ++i) {
    const T first = dz[2 * i] / unit, second = dz[2 * i + 1] / unit;
    for (int64_t k = 0; k < H; ++k) dh[i * H + k] = first * weight[k] + second * weight[H + k];
  }
}
HILL_CLONES void back(int64_t B, int64_t H, const float* dz, const float* weight, float unit, float* dh) {
  back_any(B, H, dz, weight, unit, dh);
}
HILL_CLONES void back(int64_t B, int64_t H, const double* dz, const double* weight, double unit, double* dh) {
  back_any(B, H, dz, weight, unit, dh);
}

// Adds the gradient of lam * |1 - rms(z) / scale0| to dz; returns rms(z) / scale0. No force where all points coincide.
template <class T>
T add_scale_term(int64_t B, const T* z, T lam, T scale0, T* dz) {
  double mean[2] = {0, 0}, square = 0;
  for (int64_t i = 0; i < B; ++i) {
    for (int64_t d = 0; d < 2; ++d) mean[d] += static_cast<double>(z[2 * i + d]);
  }
  for (double& m : mean) m /= static_cast<double>(B);
  for (int64_t i = 0; i < B; ++i) {
    for (int64_t d = 0; d < 2; ++d) {
      const double centred = static_cast<double>(z[2 * i + d]) - mean[d];
      square += centred * centred;
    }
  }
  const double rms = std::sqrt(square / static_cast<double>(B)), scale = rms / static_cast<double>(scale0);
  const double size = static_cast<double>(B) * rms * static_cast<double>(scale0);
  const double pull = static_cast<double>(lam) * static_cast<double>((scale > 1.0) - (scale < 1.0)) / size;
  if (size > 0) {
    for (int64_t i = 0; i < B; ++i) {
      for (int64_t d = 0; d < 2; ++d) dz[2 * i + d] += static_cast<T>(pull * (static_cast<double>(z[2 * i + d]) - mean[d]));
    }
  }
  return static_cast<T>(scale);
}

}  // namespace

template <class T>
void human_gradient(const Shape& s, int64_t H, const T* h, int64_t h_stride, const int64_t* y, const AffineLayout<T>& layout,
                    const StructureTargets<T>& targets, T* z, T* dz, T* terms, T* scale, T* dh, ParallelFor run) {
  auto forth = [&](int64_t p) {
    project(s.B, H, h + p * h_stride, layout.weight + p * 2 * H, layout.bias + 2 * p, layout.origin + 2 * p, layout.unit[p],
            z + p * 2 * s.B);
  };
  parallel_for(run, s.P, forth);
  structure_loss(s, z, y, targets, terms, dz, run);
  auto and_back = [&](int64_t p) {
    T* d = dz + p * 2 * s.B;
    for (int64_t i = 0; i < 2 * s.B; ++i) d[i] *= layout.w[p];
    if (layout.trust != nullptr) {
      for (int64_t i = 0; i < 2 * s.B; ++i) d[i] *= layout.trust[p * s.C + y[p * s.B + i / 2]];
    }
    scale[p] = layout.scale0 != nullptr ? add_scale_term(s.B, z + p * 2 * s.B, layout.lam[p], layout.scale0[p], d)
                                        : std::numeric_limits<T>::quiet_NaN();
    back(s.B, H, d, layout.weight + p * 2 * H, layout.unit[p], dh + p * s.B * H);
  };
  parallel_for(run, s.P, and_back);
}

#define HILL_INSTANTIATE(T)                                                                                            \
  template void human_gradient<T>(const Shape&, int64_t, const T*, int64_t, const int64_t*, const AffineLayout<T>&,    \
                                  const StructureTargets<T>&, T*, T*, T*, T*, T*, ParallelFor);
HILL_INSTANTIATE(float)
HILL_INSTANTIATE(double)

}  // namespace hill
