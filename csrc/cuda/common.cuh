// What the CUDA kernels share: sums in a fixed order, launch sizes, and what a wrong label does.
//
// No float atomics anywhere: every number is summed by one thread, or by a tree whose shape depends on the launch size
// alone, and launch sizes never depend on P. So a replica's result is reproducible, whatever it is packed with.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "../kernels/losses.h"

namespace hill::cuda {

constexpr int kThreads = 128;

template <class V>
__device__ __forceinline__ V warp_sum(V v) {  // the same sum in every lane
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
  return v;
}

// Sum over a block of kThreads, valid in every thread. `room` is shared memory of kThreads / 32 values.
template <class V>
__device__ __forceinline__ V block_sum(V v, V* room) {
  v = warp_sum(v);
  __syncthreads();
  if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = v;
  __syncthreads();
  V sum = 0;
#pragma unroll
  for (int w = 0; w < kThreads / 32; ++w) sum += room[w];
  return sum;
}

// A label out of range must not read out of bounds, and must not pass for a loss either: it makes NaN.
template <class T>
__device__ __forceinline__ T nan_value() {
  return static_cast<T>(__longlong_as_double(0x7ff8000000000000ll));
}
__device__ __forceinline__ bool fits(int64_t label, int64_t classes) { return label >= 0 && label < classes; }

__host__ __device__ inline int64_t blocks_for(int64_t n, int64_t each) { return (n + each - 1) / each; }

// Columns of a batch are shared among this many blocks: a function of B alone.
__host__ inline int64_t pair_chunks(int64_t B) {
  const int64_t chunks = blocks_for(B, 256);
  return chunks < 16 ? chunks : 16;
}

// Room the launchers need, in numbers of the given type.
__host__ inline int64_t pair_room_T(const Shape& s, bool grad) { return grad ? pair_chunks(s.B) * s.P * s.B * s.D : 0; }
__host__ inline int64_t pair_room_double(const Shape& s) { return pair_chunks(s.B) * s.P * s.B + s.P; }
__host__ inline int64_t pair_room_int(const Shape& s) { return pair_chunks(s.B) * s.P * s.B; }
__host__ inline int64_t structure_room_double(const Shape& s) { return s.P * s.C * (3 * s.D + 1) + s.P * s.B; }
__host__ inline int64_t structure_room_int(const Shape& s) { return s.P * (s.B + 2 * s.C + 1); }

template <class T>
cudaError_t pair_separation(const Shape& s, const T* z, const int64_t* y, const T* margins, T* value, T* grad, T* room_T,
                            double* room_double, int32_t* room_int, cudaStream_t stream);
template <class T>
cudaError_t center_loss(const Shape& s, const T* z, const int64_t* y, const T* centers, T* value, T* grad, cudaStream_t stream);
template <class T>
cudaError_t structure_forward(const Shape& s, const T* z, const int64_t* y, const StructureTargets<T>& targets, T* terms, T* state,
                              double* room_double, int32_t* room_int, cudaStream_t stream);
template <class T>
cudaError_t structure_backward(const Shape& s, const T* z, const int64_t* y, const T* state, const T* const* upstream, T* grad,
                               cudaStream_t stream);

}  // namespace hill::cuda
