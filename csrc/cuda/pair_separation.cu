// Pair separation: every row against all columns, so that a row's gradient stays with one thread (or one warp).
//
// That is twice the arithmetic of the symmetric half, and in exchange needs no float atomics: the result is reproducible.
// Few coordinates (D <= 4): a thread a row, columns in tiles in shared memory. More: a warp a row, lanes over coordinates.
// Columns are cut into chunks (a number that depends on B alone) to fill the machine; `finish` adds the chunks in order.
#include "common.cuh"

namespace hill::cuda {
namespace {

constexpr int kTile = 128;             // columns a shared-memory tile
constexpr int kMaxSharedMargins = 64;  // classes up to which the margin matrix is kept in shared memory

// h = max(0, m - d), and h / d, with NaN passing through and no force between coincident points.
template <class T>
__device__ __forceinline__ T hinge(T square, T margin, T& ratio) {
  const T distance = sqrt(square);
  T h = margin - distance;
  h = h < 0 ? T(0) : h;
  ratio = square == 0 ? T(0) : h / distance;
  return h;
}

template <class T, int D, bool kGrad>
__global__ void __launch_bounds__(kThreads) thread_a_row(Shape s, const T* __restrict__ z,   // [P, B, D]
                                                         const int64_t* __restrict__ y,      // [P, B]
                                                         const T* __restrict__ margins,      // [P, C, C]
                                                         int64_t chunks,                     //
                                                         T* __restrict__ part,               // [chunks, P, B, D]
                                                         double* __restrict__ part_value,    // [chunks, P, B]
                                                         int32_t* __restrict__ part_count) { // [chunks, P, B]
  __shared__ T tile[D][kTile];
  __shared__ int32_t tile_y[kTile];
  extern __shared__ __align__(16) unsigned char dynamic[];
  const int64_t p = blockIdx.z, chunk = blockIdx.y, i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int C = static_cast<int>(s.C);
  const T* M = margins + p * s.C * s.C;
  if (C <= kMaxSharedMargins) {
    T* copy = reinterpret_cast<T*>(dynamic);
    for (int k = threadIdx.x; k < C * C; k += kThreads) copy[k] = M[k];
    M = copy;
  }
  const bool here = i < s.B;
  const int64_t label = here ? y[p * s.B + i] : 0;
  const bool good = fits(label, s.C);
  const int own = good ? static_cast<int>(label) : 0;
  T x[D], g[D];
#pragma unroll
  for (int d = 0; d < D; ++d) {
    x[d] = here ? z[(p * s.B + i) * D + d] : T(0);
    g[d] = 0;
  }
  double value = 0;
  int32_t count = 0;
  const int64_t columns = blocks_for(blocks_for(s.B, chunks), kTile) * kTile;  // of this chunk, whole tiles
  const int64_t first = chunk * columns, last = first + columns < s.B ? first + columns : s.B;
  for (int64_t j0 = first; j0 < last; j0 += kTile) {
    const int n = static_cast<int>(last - j0 < kTile ? last - j0 : kTile);
    __syncthreads();
    for (int j = threadIdx.x; j < n; j += kThreads) {
      const int64_t other = y[p * s.B + j0 + j];
      tile_y[j] = fits(other, s.C) ? static_cast<int32_t>(other) : -1;
#pragma unroll
      for (int d = 0; d < D; ++d) tile[d][j] = z[(p * s.B + j0 + j) * D + d];
    }
    __syncthreads();
    T sum = 0;
#pragma unroll 4
    for (int j = 0; j < n; ++j) {
      const int other = tile_y[j];
      // Margins are symmetric: this row of the matrix is the same for the whole warp, its lanes read along it.
      T margin = M[(other < 0 ? 0 : other) * C + own];
      margin = other == own ? T(0) : margin;
      margin = other < 0 ? nan_value<T>() : margin;
      count += other != own;
      T diff[D], square = 0;
#pragma unroll
      for (int d = 0; d < D; ++d) {
        diff[d] = x[d] - tile[d][j];
        square += diff[d] * diff[d];
      }
      T ratio;
      const T h = hinge(square, margin, ratio);
      sum += h * h;
      if constexpr (kGrad) {
#pragma unroll
        for (int d = 0; d < D; ++d) g[d] -= ratio * diff[d];
      }
    }
    value += static_cast<double>(sum);
  }
  if (!here) return;
  const int64_t at = (chunk * s.P + p) * s.B + i;
  part_value[at] = good ? value : nan_value<double>();
  part_count[at] = count;
  if constexpr (kGrad) {
#pragma unroll
    for (int d = 0; d < D; ++d) part[at * D + d] = good ? g[d] : nan_value<T>();
  }
}

// kPer coordinates a lane, in registers. kPer = 0: any number of them, the sums kept in `part` itself (this warp's alone).
template <class T, int kPer, bool kGrad>
__global__ void __launch_bounds__(kThreads) warp_a_row(Shape s, const T* __restrict__ z, const int64_t* __restrict__ y,
                                                       const T* __restrict__ margins, int64_t chunks, T* __restrict__ part,
                                                       double* __restrict__ part_value, int32_t* __restrict__ part_count) {
  const int64_t p = blockIdx.z, chunk = blockIdx.y;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (i >= s.B) return;  // whole warps leave together, and nothing below waits for the block
  const int lane = threadIdx.x % 32;
  const T* zp = z + p * s.B * s.D;
  const int64_t label = y[p * s.B + i];
  const bool good = fits(label, s.C);
  const T* M = margins + p * s.C * s.C + (good ? label : 0) * s.C;
  const int64_t at = (chunk * s.P + p) * s.B + i;
  T x[kPer > 0 ? kPer : 1], g[kPer > 0 ? kPer : 1];
  if constexpr (kPer > 0) {
#pragma unroll
    for (int k = 0; k < kPer; ++k) {
      const int64_t d = lane + 32 * k;
      x[k] = d < s.D ? zp[i * s.D + d] : T(0);
      g[k] = 0;
    }
  } else if constexpr (kGrad) {
    for (int64_t d = lane; d < s.D; d += 32) part[at * s.D + d] = 0;
  }
  double value = 0;
  int32_t count = 0;
  const int64_t columns = blocks_for(blocks_for(s.B, chunks), kTile) * kTile;
  const int64_t first = chunk * columns, last = first + columns < s.B ? first + columns : s.B;
  for (int64_t j = first; j < last; ++j) {
    const int64_t other = y[p * s.B + j];
    if (other == label) continue;  // the same for all lanes
    ++count;
    const T margin = fits(other, s.C) ? M[other] : nan_value<T>();
    T diff[kPer > 0 ? kPer : 1], square = 0;
    if constexpr (kPer > 0) {
#pragma unroll
      for (int k = 0; k < kPer; ++k) {
        const int64_t d = lane + 32 * k;
        diff[k] = d < s.D ? x[k] - zp[j * s.D + d] : T(0);
        square += diff[k] * diff[k];
      }
    } else {
      for (int64_t d = lane; d < s.D; d += 32) {
        const T one = zp[i * s.D + d] - zp[j * s.D + d];
        square += one * one;
      }
    }
    T ratio;
    const T h = hinge(warp_sum(square), margin, ratio);
    value += static_cast<double>(h) * static_cast<double>(h);
    if constexpr (kGrad) {
      if (ratio == 0) continue;
      if constexpr (kPer > 0) {
#pragma unroll
        for (int k = 0; k < kPer; ++k) g[k] -= ratio * diff[k];
      } else {
        for (int64_t d = lane; d < s.D; d += 32) part[at * s.D + d] -= ratio * (zp[i * s.D + d] - zp[j * s.D + d]);
      }
    }
  }
  if (lane == 0) {
    part_value[at] = good ? value : nan_value<double>();
    part_count[at] = count;
  }
  if constexpr (kGrad && kPer > 0) {
#pragma unroll
    for (int k = 0; k < kPer; ++k) {
      const int64_t d = lane + 32 * k;
      if (d < s.D) part[at * s.D + d] = good ? g[k] : nan_value<T>();
    }
  } else if constexpr (kGrad) {
    for (int64_t d = lane; !good && d < s.D; d += 32) part[at * s.D + d] = nan_value<T>();
  }
}

// A block a replica: the value, and the factor of the gradient. Each pair was seen from both of its ends.
template <class T>
__global__ void __launch_bounds__(kThreads) reduce(Shape s, int64_t chunks, const double* __restrict__ part_value,
                                                   const int32_t* __restrict__ part_count, T* __restrict__ value,
                                                   double* __restrict__ factor) {
  __shared__ double room[kThreads / 32];
  __shared__ long long count_room[kThreads / 32];
  const int64_t p = blockIdx.x;
  double sum = 0;
  long long count = 0;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    for (int64_t i = threadIdx.x; i < s.B; i += kThreads) {
      sum += part_value[(chunk * s.P + p) * s.B + i];
      count += part_count[(chunk * s.P + p) * s.B + i];
    }
  }
  sum = block_sum(sum, room);
  count = block_sum(count, count_room);
  if (threadIdx.x == 0) {
    value[p] = count > 0 ? static_cast<T>(sum / static_cast<double>(count)) : static_cast<T>(sum);  // 0, or NaN of a bad label
    factor[p] = count > 0 ? 4.0 / static_cast<double>(count) : 1.0;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) finish(Shape s, int64_t chunks, const T* __restrict__ part,
                                                   const double* __restrict__ factor, T* __restrict__ grad) {
  const int64_t each = s.B * s.D, all = s.P * each;
  for (int64_t k = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; k < all;
       k += static_cast<int64_t>(gridDim.x) * kThreads) {
    T sum = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += part[chunk * all + k];
    grad[k] = static_cast<T>(factor[k / each]) * sum;
  }
}

template <class T, bool kGrad>
cudaError_t launch(const Shape& s, const T* z, const int64_t* y, const T* margins, T* value, T* grad, T* part, double* part_value,
                   int32_t* part_count, cudaStream_t stream) {
  const int64_t chunks = pair_chunks(s.B);
  double* factor = part_value + chunks * s.P * s.B;
  constexpr int64_t kMaxZ = 65535;  // replicas in one launch
  for (int64_t p0 = 0; p0 < s.P; p0 += kMaxZ) {
    // A launch over a slice of the replicas: its arrays are [chunks, slice, ...], so slices get room of their own.
    const Shape part_s{s.P - p0 < kMaxZ ? s.P - p0 : kMaxZ, s.B, s.D, s.C};
    const T* zs = z + p0 * s.B * s.D;
    const int64_t* ys = y + p0 * s.B;
    const T* ms = margins + p0 * s.C * s.C;
    T* ps = part + chunks * p0 * s.B * s.D;
    double* vs = part_value + chunks * p0 * s.B;
    int32_t* cs = part_count + chunks * p0 * s.B;
    const unsigned z_blocks = static_cast<unsigned>(part_s.P), c_blocks = static_cast<unsigned>(chunks);
    if (s.D <= 4) {
      const dim3 grid(static_cast<unsigned>(blocks_for(s.B, kThreads)), c_blocks, z_blocks);
      const size_t bytes = s.C <= kMaxSharedMargins ? static_cast<size_t>(s.C * s.C) * sizeof(T) : 0;
      switch (s.D) {
        case 1: thread_a_row<T, 1, kGrad><<<grid, kThreads, bytes, stream>>>(part_s, zs, ys, ms, chunks, ps, vs, cs); break;
        case 2: thread_a_row<T, 2, kGrad><<<grid, kThreads, bytes, stream>>>(part_s, zs, ys, ms, chunks, ps, vs, cs); break;
        case 3: thread_a_row<T, 3, kGrad><<<grid, kThreads, bytes, stream>>>(part_s, zs, ys, ms, chunks, ps, vs, cs); break;
        default: thread_a_row<T, 4, kGrad><<<grid, kThreads, bytes, stream>>>(part_s, zs, ys, ms, chunks, ps, vs, cs); break;
      }
    } else {
      const dim3 grid(static_cast<unsigned>(blocks_for(s.B, kThreads / 32)), c_blocks, z_blocks);
      if (s.D <= 32) {
        warp_a_row<T, 1, kGrad><<<grid, kThreads, 0, stream>>>(part_s, zs, ys, ms, chunks, ps, vs, cs);
      } else if (s.D <= 64) {
        warp_a_row<T, 2, kGrad><<<grid, kThreads, 0, stream>>>(part_s, zs, ys, ms, chunks, ps, vs, cs);
      } else if (s.D <= 128) {
        warp_a_row<T, 4, kGrad><<<grid, kThreads, 0, stream>>>(part_s, zs, ys, ms, chunks, ps, vs, cs);
      } else if (s.D <= 512) {
        warp_a_row<T, 16, kGrad><<<grid, kThreads, 0, stream>>>(part_s, zs, ys, ms, chunks, ps, vs, cs);
      } else {
        warp_a_row<T, 0, kGrad><<<grid, kThreads, 0, stream>>>(part_s, zs, ys, ms, chunks, ps, vs, cs);
      }
    }
    reduce<T><<<z_blocks, kThreads, 0, stream>>>(part_s, chunks, vs, cs, value + p0, factor + p0);
    if constexpr (kGrad) {
      const int64_t blocks = blocks_for(part_s.P * s.B * s.D, kThreads);
      finish<T><<<static_cast<unsigned>(blocks < 65535 ? blocks : 65535), kThreads, 0, stream>>>(part_s, chunks, ps, factor + p0,
                                                                                               grad + p0 * s.B * s.D);
    }
  }
  return cudaGetLastError();
}

}  // namespace

template <class T>
cudaError_t pair_separation(const Shape& s, const T* z, const int64_t* y, const T* margins, T* value, T* grad, T* room_T,
                            double* room_double, int32_t* room_int, cudaStream_t stream) {
  if (s.P == 0) return cudaSuccess;
  if (s.B == 0) return cudaMemsetAsync(value, 0, static_cast<size_t>(s.P) * sizeof(T), stream);
  return grad != nullptr ? launch<T, true>(s, z, y, margins, value, grad, room_T, room_double, room_int, stream)
                         : launch<T, false>(s, z, y, margins, value, grad, room_T, room_double, room_int, stream);
}

#define HILL_INSTANTIATE(T)                                                                                                \
  template cudaError_t pair_separation(const Shape&, const T*, const int64_t*, const T*, T*, T*, T*, double*, int32_t*, cudaStream_t);
HILL_INSTANTIATE(float)
HILL_INSTANTIATE(double)
#undef HILL_INSTANTIATE

}  // namespace hill::cuda
