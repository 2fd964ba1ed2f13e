// Mean over samples of |z_i - c_{y_i}|^2: a block a replica.
#include "common.cuh"

namespace hill::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(kThreads) center_kernel(Shape s, const T* __restrict__ z,        // [P, B, D]
                                                          const int64_t* __restrict__ y,           // [P, B]
                                                          const T* __restrict__ centers,           // [P, C, D]
                                                          T* __restrict__ value,                   // [P]
                                                          T* __restrict__ grad) {                  // [P, B, D] or null
  __shared__ double room[kThreads / 32];
  for (int64_t p = blockIdx.x; p < s.P; p += gridDim.x) {
    const T* zp = z + p * s.B * s.D;
    const T scale = static_cast<T>(2) / static_cast<T>(s.B > 0 ? s.B : 1);
    double sum = 0;
    for (int64_t i = threadIdx.x; i < s.B; i += kThreads) {
      const int64_t label = y[p * s.B + i];
      const bool good = fits(label, s.C);
      const T* c = centers + (p * s.C + (good ? label : 0)) * s.D;
      for (int64_t d = 0; d < s.D; ++d) {
        const T residual = good ? zp[i * s.D + d] - c[d] : nan_value<T>();
        sum += static_cast<double>(residual) * static_cast<double>(residual);
        if (grad != nullptr) grad[(p * s.B + i) * s.D + d] = scale * residual;
      }
    }
    sum = block_sum(sum, room);
    if (threadIdx.x == 0) value[p] = static_cast<T>(sum / static_cast<double>(s.B > 0 ? s.B : 1));
  }
}

}  // namespace

template <class T>
cudaError_t center_loss(const Shape& s, const T* z, const int64_t* y, const T* centers, T* value, T* grad, cudaStream_t stream) {
  if (s.P == 0) return cudaSuccess;
  const unsigned blocks = static_cast<unsigned>(s.P < 65535 ? s.P : 65535);
  center_kernel<T><<<blocks, kThreads, 0, stream>>>(s, z, y, centers, value, grad);
  return cudaGetLastError();
}

template cudaError_t center_loss(const Shape&, const float*, const int64_t*, const float*, float*, float*, cudaStream_t);
template cudaError_t center_loss(const Shape&, const double*, const int64_t*, const double*, double*, double*, cudaStream_t);

}  // namespace hill::cuda
