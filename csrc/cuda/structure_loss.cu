// The structure loss: sort by class (stable, integer counts), a block a class, a block a replica, a thread a sample.
// The state that the backward pass reads is laid out as in kernels/losses.h.
#include "common.cuh"

namespace hill::cuda {
namespace {

// One warp a replica. count [P, C], start [P, C + 1] and order [P, B] of the samples whose label is in range.
__global__ void __launch_bounds__(32) sort_by_class(Shape s, const int64_t* __restrict__ y, int32_t* __restrict__ count,
                                                    int32_t* __restrict__ start, int32_t* __restrict__ order) {
  const int64_t p = blockIdx.x;
  const int lane = threadIdx.x;
  const int64_t* yp = y + p * s.B;
  int32_t* n = count + p * s.C;
  int32_t* begin = start + p * (s.C + 1);
  for (int64_t c = lane; c < s.C; c += 32) n[c] = 0;
  __syncwarp();
  for (int64_t i = lane; i < s.B; i += 32) {
    if (fits(yp[i], s.C)) atomicAdd(n + yp[i], 1);
  }
  __syncwarp();
  int32_t before = 0;
  for (int64_t c0 = 0; c0 < s.C; c0 += 32) {  // prefix sums, a warp at a time
    const int64_t c = c0 + lane;
    const int32_t own = c < s.C ? n[c] : 0;
    int32_t sum = own;
    for (int offset = 1; offset < 32; offset *= 2) {
      const int32_t lower = __shfl_up_sync(0xffffffffu, sum, offset);
      if (lane >= offset) sum += lower;
    }
    if (c < s.C) begin[c] = before + sum - own;
    before += __shfl_sync(0xffffffffu, sum, 31);
  }
  if (lane == 0) begin[s.C] = before;
  __syncwarp();
  for (int64_t c = lane; c < s.C; c += 32) n[c] = begin[c];  // the next free place of each class
  __syncwarp();
  for (int64_t i0 = 0; i0 < s.B; i0 += 32) {
    const int64_t i = i0 + lane;
    const int64_t label = i < s.B && fits(yp[i], s.C) ? yp[i] : -1;
    const unsigned alike = __match_any_sync(0xffffffffu, static_cast<long long>(label));
    const int rank = __popc(alike & ((1u << lane) - 1));
    if (label >= 0) order[p * s.B + n[label] + rank] = static_cast<int32_t>(i);
    __syncwarp();
    if (label >= 0 && rank == 0) n[label] += __popc(alike);
    __syncwarp();
  }
  for (int64_t c = lane; c < s.C; c += 32) n[c] = begin[c + 1] - begin[c];
}

// A block a class and replica: mean [P, C, D], sum of unit vectors [P, C, D] and of distances [P, C], all double.
template <class T>
__global__ void __launch_bounds__(kThreads) class_sums(Shape s, const T* __restrict__ z, const int32_t* __restrict__ start,
                                                       const int32_t* __restrict__ order, double* __restrict__ mean,
                                                       double* __restrict__ unit, double* __restrict__ radius,
                                                       double* __restrict__ inverse) {  // [P, B], by sorted position
  __shared__ double room[kThreads / 32];
  const int64_t c = blockIdx.x;
  for (int64_t p = blockIdx.y; p < s.P; p += gridDim.y) {
    const int64_t begin = start[p * (s.C + 1) + c], end = start[p * (s.C + 1) + c + 1];
    const T* zp = z + p * s.B * s.D;
    const int32_t* o = order + p * s.B;
    double* mu = mean + (p * s.C + c) * s.D;
    double* u = unit + (p * s.C + c) * s.D;
    for (int64_t d = 0; d < s.D; ++d) {
      double sum = 0;
      for (int64_t k = begin + threadIdx.x; k < end; k += kThreads) sum += static_cast<double>(zp[o[k] * s.D + d]);
      sum = block_sum(sum, room);
      if (threadIdx.x == 0) mu[d] = end > begin ? sum / static_cast<double>(end - begin) : 0;
    }
    __syncthreads();
    double total = 0;
    for (int64_t k = begin + threadIdx.x; k < end; k += kThreads) {
      double square = 0;
      for (int64_t d = 0; d < s.D; ++d) {
        const double diff = static_cast<double>(zp[o[k] * s.D + d]) - mu[d];
        square += diff * diff;
      }
      const double r = sqrt(square);
      total += r;
      inverse[p * s.B + k] = r == 0 ? 0 : 1 / r;
    }
    total = block_sum(total, room);
    if (threadIdx.x == 0) radius[p * s.C + c] = total;
    for (int64_t d = 0; d < s.D; ++d) {
      double sum = 0;
      for (int64_t k = begin + threadIdx.x; k < end; k += kThreads) {  // each thread reads the inverses it wrote
        sum += (static_cast<double>(zp[o[k] * s.D + d]) - mu[d]) * inverse[p * s.B + k];
      }
      sum = block_sum(sum, room);
      if (threadIdx.x == 0) u[d] = sum;
    }
    __syncthreads();
  }
}

// A block a replica: the terms and the state. A thread owns a class c and looks at all others.
template <class T>
__global__ void __launch_bounds__(kThreads) terms_and_state(Shape s, StructureTargets<T> t, const int32_t* __restrict__ count,
                                                            const int32_t* __restrict__ start, const double* __restrict__ mean,
                                                            const double* __restrict__ unit, const double* __restrict__ radius,
                                                            double* __restrict__ push, T* __restrict__ terms,
                                                            T* __restrict__ state) {
  __shared__ double room[kThreads / 32];
  __shared__ long long int_room[kThreads / 32];
  const int64_t p = blockIdx.x, D = s.D, width = 5 * D + 1;
  const int32_t* n = count + p * s.C;
  long long present = 0, held = 0;
  for (int64_t c = threadIdx.x; c < s.C; c += kThreads) {
    if (n[c] == 0) continue;
    ++present;
    held += t.touched == nullptr || t.touched[p * s.C + c];
  }
  present = block_sum(present, int_room);
  held = block_sum(held, int_room);
  const double pairs = static_cast<double>(present * (present - 1)), all = static_cast<double>(2 * held) + pairs;
  const double own = t.form == Form::kPaper ? all : static_cast<double>(held), others = t.form == Form::kPaper ? all : pairs;
  double w[3];
  for (int k = 0; k < 3; ++k) w[k] = t.weights != nullptr ? static_cast<double>(t.weights[k * s.P + p]) : t.uniform[k];
  const double per_center = own > 0 ? w[0] / own : 0, per_spread = own > 0 ? w[1] / own : 0, per_pair = others > 0 ? w[2] / others : 0;

  double center = 0, spread = 0, separation = 0;
  for (int64_t c = threadIdx.x; c < s.C; c += kThreads) {
    T* row = state + (p * s.C + c) * width;
    if (n[c] == 0) {
      for (int64_t k = 0; k < width; ++k) row[k] = 0;
      continue;
    }
    const double* mu = mean + (p * s.C + c) * D;
    double* f = push + (p * s.C + c) * D;
    for (int64_t d = 0; d < D; ++d) f[d] = 0;
    for (int64_t k = 0; k < s.C; ++k) {
      if (k == c || n[k] == 0) continue;
      const double* nu = mean + (p * s.C + k) * D;
      double square = 0;
      for (int64_t d = 0; d < D; ++d) square += (mu[d] - nu[d]) * (mu[d] - nu[d]);
      const double distance = sqrt(square);
      const double h = static_cast<double>(t.spreads[p * s.C + c]) + static_cast<double>(t.spreads[p * s.C + k]) - distance;
      if (h <= 0) continue;  // NaN goes on
      separation += h;
      if (square == 0) continue;
      for (int64_t d = 0; d < D; ++d) f[d] -= 2 * (mu[d] - nu[d]) / distance;
    }
    const double size = n[c];
    const bool hold = t.touched == nullptr || t.touched[p * s.C + c];
    double slope = 0;
    if (hold) {
      const double miss = radius[p * s.C + c] / size - static_cast<double>(t.spreads[p * s.C + c]);
      spread += fabs(miss);
      slope = per_spread / size * (miss > 0 ? 1 : miss < 0 ? -1 : miss == 0 ? 0 : miss);
    }
    for (int64_t d = 0; d < D; ++d) {
      const double miss = hold ? mu[d] - static_cast<double>(t.centers[(p * s.C + c) * D + d]) : 0;
      center += 0.5 * miss * miss;
      row[d] = static_cast<T>(per_center / size * miss);
      row[D + d] = static_cast<T>(-slope * unit[(p * s.C + c) * D + d] / size);
      row[2 * D + d] = static_cast<T>(per_pair / size * f[d]);
      row[3 * D + 1 + d] = static_cast<T>(mu[d]);
      row[4 * D + 1 + d] = static_cast<T>(mu[d] - static_cast<double>(row[3 * D + 1 + d]));
    }
    row[3 * D] = static_cast<T>(slope);
  }
  center = per_center * block_sum(center, room);
  spread = per_spread * block_sum(spread, room);
  separation = per_pair * block_sum(separation, room);
  if (threadIdx.x == 0) {
    const double bad = start[p * (s.C + 1) + s.C] == s.B ? 0.0 : nan_value<double>();  // a label was out of range
    terms[p] = static_cast<T>(center + bad);
    terms[s.P + p] = static_cast<T>(spread + bad);
    terms[2 * s.P + p] = static_cast<T>(separation + bad);
    terms[3 * s.P + p] = static_cast<T>(center + spread + separation + bad);
  }
}

template <class T>
struct Upstream {
  const T* of[4];  // [P] or null: center, spread, separation, total
};

template <class T>
__global__ void __launch_bounds__(kThreads) backward(Shape s, const T* __restrict__ z, const int64_t* __restrict__ y,
                                                     const T* __restrict__ state, Upstream<T> upstream, bool ones,
                                                     T* __restrict__ grad) {
  const int64_t all = s.P * s.B, D = s.D;
  for (int64_t k = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; k < all;
       k += static_cast<int64_t>(gridDim.x) * kThreads) {
    const int64_t p = k / s.B;
    const bool good = fits(y[k], s.C);
    const T* row = state + (p * s.C + (good ? y[k] : 0)) * (5 * D + 1);
    const T* mu = row + 3 * D + 1;
    const T total = ones ? T(1) : upstream.of[3] != nullptr ? upstream.of[3][p] : T(0);
    T up[3];
    for (int t = 0; t < 3; ++t) up[t] = total + (upstream.of[t] != nullptr ? upstream.of[t][p] : T(0));
    T square = 0;
    for (int64_t d = 0; d < D; ++d) {
      const T diff = (z[k * D + d] - mu[d]) - mu[D + d];
      square += diff * diff;
    }
    const T slope = square == 0 ? T(0) : row[3 * D] / sqrt(square);
    for (int64_t d = 0; d < D; ++d) {
      const T spread = slope * ((z[k * D + d] - mu[d]) - mu[D + d]) + row[D + d];
      grad[k * D + d] = good ? up[0] * row[d] + up[1] * spread + up[2] * row[2 * D + d] : nan_value<T>();
    }
  }
}

}  // namespace

template <class T>
cudaError_t structure_forward(const Shape& s, const T* z, const int64_t* y, const StructureTargets<T>& targets, T* terms, T* state,
                              double* room_double, int32_t* room_int, cudaStream_t stream) {
  if (s.P == 0) return cudaSuccess;
  double* mean = room_double;
  double* unit = mean + s.P * s.C * s.D;
  double* push = unit + s.P * s.C * s.D;
  double* radius = push + s.P * s.C * s.D;
  double* inverse = radius + s.P * s.C;
  int32_t* count = room_int;
  int32_t* start = count + s.P * s.C;
  int32_t* order = start + s.P * (s.C + 1);
  const unsigned replicas = static_cast<unsigned>(s.P);
  sort_by_class<<<replicas, 32, 0, stream>>>(s, y, count, start, order);
  if (s.C > 0) {
    const dim3 grid(static_cast<unsigned>(s.C), replicas < 65535 ? replicas : 65535);
    class_sums<T><<<grid, kThreads, 0, stream>>>(s, z, start, order, mean, unit, radius, inverse);
  }
  terms_and_state<T><<<replicas, kThreads, 0, stream>>>(s, targets, count, start, mean, unit, radius, push, terms, state);
  return cudaGetLastError();
}

template <class T>
cudaError_t structure_backward(const Shape& s, const T* z, const int64_t* y, const T* state, const T* const* upstream, T* grad,
                               cudaStream_t stream) {
  if (s.P * s.B == 0) return cudaSuccess;
  Upstream<T> up{{nullptr, nullptr, nullptr, nullptr}};
  for (int t = 0; upstream != nullptr && t < 4; ++t) up.of[t] = upstream[t];
  const int64_t blocks = blocks_for(s.P * s.B, kThreads);
  backward<T><<<static_cast<unsigned>(blocks < 65535 ? blocks : 65535), kThreads, 0, stream>>>(s, z, y, state, up,
                                                                                             upstream == nullptr, grad);
  return cudaGetLastError();
}

#define HILL_INSTANTIATE(T)                                                                                                      \
  template cudaError_t structure_forward(const Shape&, const T*, const int64_t*, const StructureTargets<T>&, T*, T*, double*, int32_t*, \
                                         cudaStream_t);                                                                          \
  template cudaError_t structure_backward(const Shape&, const T*, const int64_t*, const T*, const T* const*, T*, cudaStream_t);
HILL_INSTANTIATE(float)
HILL_INSTANTIATE(double)
#undef HILL_INSTANTIATE

}  // namespace hill::cuda
