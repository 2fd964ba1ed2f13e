// Mean over samples of |z_i - c_{y_i}|^2 (Wen et al. 2016, without the factor 1/2).
#include "../kernels/losses.h"

namespace hill {
namespace {

template <class T>
HILL_INLINE void one_replica(int64_t B, int64_t D, const T* z, const int64_t* y, const T* centers, T* value, T* grad) {
  const T scale = B > 0 ? T(2) / static_cast<T>(B) : T(0);
  double sum = 0;
  for (int64_t i = 0; i < B; ++i) {
    const T* zi = z + i * D;
    const T* c = centers + y[i] * D;
    T square = 0;
    for (int64_t d = 0; d < D; ++d) {
      const T residual = zi[d] - c[d];
      square += residual * residual;
      if (grad != nullptr) grad[i * D + d] = scale * residual;
    }
    sum += static_cast<double>(square);
  }
  *value = B > 0 ? static_cast<T>(sum / static_cast<double>(B)) : T(0);
}

HILL_CLONES void replica(int64_t B, int64_t D, const float* z, const int64_t* y, const float* c, float* v, float* g) {
  one_replica(B, D, z, y, c, v, g);
}
HILL_CLONES void replica(int64_t B, int64_t D, const double* z, const int64_t* y, const double* c, double* v, double* g) {
  one_replica(B, D, z, y, c, v, g);
}

}  // namespace

template <class T>
void center_loss(const Shape& s, const T* z, const int64_t* y, const T* centers, T* value, T* grad, ParallelFor run) {
  auto body = [&](int64_t p) {
    T* g = grad == nullptr ? nullptr : grad + p * s.B * s.D;
    replica(s.B, s.D, z + p * s.B * s.D, y + p * s.B, centers + p * s.C * s.D, value + p, g);
  };
  parallel_for(run, s.P, body);
}

template void center_loss(const Shape&, const float*, const int64_t*, const float*, float*, float*, ParallelFor);
template void center_loss(const Shape&, const double*, const int64_t*, const double*, double*, double*, ParallelFor);

}  // namespace hill
