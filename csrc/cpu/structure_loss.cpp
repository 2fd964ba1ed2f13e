// Center, spread and class-pair separation of a batch (L_human of arXiv 2505.06325; formulas in hill_sim.kernels).
//
// The gradient is affine per class: sample i of class c receives a vector of its class plus slope_c times the unit vector
// from the class mean to it. So the forward pass keeps numbers per class only, and the backward pass is one sweep.
// Class sums are double and means are kept in two parts, value and remainder: a float mean far from the origin would lose
// the digits that the distances to it need, while z - mu is exact where the two are close.
#include <cmath>

#include "../kernels/losses.h"
#include "../kernels/vec.h"

namespace hill {
namespace {

HILL_INLINE int64_t mean_at(int64_t D) { return 3 * D + 1; }  // where a state row keeps the mean

constexpr int64_t kBlock = 256;  // samples whose distances are computed together

template <class T>
struct Replica {
  int64_t B, D, C;
  const T* z;            // [B, D]
  const int64_t* y;      // [B]
  const T* centers;      // [C, D]
  const T* spreads;      // [C]
  const bool* touched;   // [C] or null
  double weights[3];
  Form form;
  T* terms[4];
  T* state;              // [C, 5 D + 1]
};

struct Sums {
  double* mean;    // [C, D] sums, then means
  double* unit;    // [C, D] sum of unit vectors from the mean
  double* radius;  // [C] sum of distances to the mean
  double* push;    // [C, D] gradient of the separation sum with respect to each mean
  int64_t* count;  // [C]
  int64_t* seen;   // [C] the classes present

  static size_t bytes(int64_t C, int64_t D) {
    return 3 * Scratch::size_of<double>(C * D) + Scratch::size_of<double>(C) + 2 * Scratch::size_of<int64_t>(C);
  }
  static Sums make(Scratch& s, int64_t C, int64_t D) {
    return {s.take<double>(C * D), s.take<double>(C * D), s.take<double>(C),
            s.take<double>(C * D), s.take<int64_t>(C),    s.take<int64_t>(C)};
  }
};

// z_d - mu_d for the class row `mu` [2, D]
template <class T>
HILL_INLINE T from_mean(const T* z, const T* mu, int64_t D, int64_t d) {
  return (z[d] - mu[d]) - mu[D + d];
}

// Distances r[b] of n samples from their class means, and their inverses (0 at distance 0, so that a unit vector there is 0).
// mu has one row of `step` numbers a class.
template <class T, int kD>
HILL_INLINE void distances(int64_t any_D, int64_t n, const T* z, const int64_t* y, const T* mu, int64_t step, T* r,
                           T* inverse) {
  const int64_t D = kD > 0 ? kD : any_D;
  for (int64_t b = 0; b < n; ++b) {
    const T* m = mu + y[b] * step;
    T square = 0;
    for (int64_t d = 0; d < D; ++d) {
      const T diff = from_mean(z + b * D, m, D, d);
      square += diff * diff;
    }
    r[b] = square;
  }
  for (int64_t b = 0; b < n; ++b) {
    const T length = std::sqrt(r[b]);
    const T inv = T(1) / length;
    inverse[b] = r[b] == 0 ? 0 : inv;
    r[b] = length;
  }
}

template <class T, int kD>
HILL_INLINE void forward(const Replica<T>& a, const Sums& s) {
  const int64_t D = kD > 0 ? kD : a.D, width = structure_state_width(D);
  for (int64_t c = 0; c < a.C; ++c) {
    s.count[c] = 0;
    s.radius[c] = 0;
  }
  for (int64_t k = 0; k < a.C * D; ++k) s.mean[k] = s.unit[k] = s.push[k] = 0;
  for (int64_t i = 0; i < a.B; ++i) {
    ++s.count[a.y[i]];
    double* sum = s.mean + a.y[i] * D;
    for (int64_t d = 0; d < D; ++d) sum[d] += static_cast<double>(a.z[i * D + d]);
  }
  int64_t present = 0, held = 0;
  for (int64_t c = 0; c < a.C; ++c) {
    if (s.count[c] == 0) {
      for (int64_t d = 0; d < width; ++d) a.state[c * width + d] = 0;
      continue;
    }
    s.seen[present++] = c;
    if (a.touched == nullptr || a.touched[c]) ++held;
    for (int64_t d = 0; d < D; ++d) {
      s.mean[c * D + d] /= static_cast<double>(s.count[c]);
      T* mu = a.state + c * width + mean_at(D);
      mu[d] = static_cast<T>(s.mean[c * D + d]);
      mu[D + d] = static_cast<T>(s.mean[c * D + d] - static_cast<double>(mu[d]));
    }
  }
  T r[kBlock], inverse[kBlock];
  for (int64_t begin = 0; begin < a.B; begin += kBlock) {
    const int64_t n = a.B - begin < kBlock ? a.B - begin : kBlock;
    const T* z = a.z + begin * D;
    const int64_t* y = a.y + begin;
    distances<T, kD>(D, n, z, y, a.state + mean_at(D), width, r, inverse);
    for (int64_t b = 0; b < n; ++b) {
      const T* mu = a.state + y[b] * width + mean_at(D);
      double* unit = s.unit + y[b] * D;
      s.radius[y[b]] += static_cast<double>(r[b]);
      for (int64_t d = 0; d < D; ++d) unit[d] += static_cast<double>(from_mean(z + b * D, mu, D, d) * inverse[b]);
    }
  }

  const int64_t pairs = present * (present - 1);
  const double all = static_cast<double>(2 * held + pairs);
  const double own = a.form == Form::kPaper ? all : static_cast<double>(held);
  const double others = a.form == Form::kPaper ? all : static_cast<double>(pairs);
  const double per_center = own > 0 ? a.weights[0] / own : 0, per_spread = own > 0 ? a.weights[1] / own : 0;
  const double per_pair = others > 0 ? a.weights[2] / others : 0;

  double center = 0, spread = 0, separation = 0;
  for (int64_t u = 0; u < present; ++u) {  // each unordered pair stands for two ordered ones
    const int64_t c = s.seen[u];
    for (int64_t v = u + 1; v < present; ++v) {
      const int64_t k = s.seen[v];
      double square = 0;
      for (int64_t d = 0; d < D; ++d) {
        const double diff = s.mean[c * D + d] - s.mean[k * D + d];
        square += diff * diff;
      }
      const double wanted = static_cast<double>(a.spreads[c]) + static_cast<double>(a.spreads[k]);
      const double distance = std::sqrt(square), h = wanted - distance;
      if (h <= 0) continue;  // NaN goes on
      separation += 2 * h;
      if (square == 0) continue;
      for (int64_t d = 0; d < D; ++d) {
        const double direction = 2 * (s.mean[c * D + d] - s.mean[k * D + d]) / distance;
        s.push[c * D + d] -= direction;
        s.push[k * D + d] += direction;
      }
    }
  }
  for (int64_t u = 0; u < present; ++u) {
    const int64_t c = s.seen[u];
    const double n = static_cast<double>(s.count[c]);
    T* row = a.state + c * width;
    const bool hold = a.touched == nullptr || a.touched[c];
    double slope = 0;
    if (hold) {
      const double miss = s.radius[c] / n - static_cast<double>(a.spreads[c]);
      spread += std::fabs(miss);
      slope = per_spread / n * (miss > 0 ? 1 : miss < 0 ? -1 : miss == 0 ? 0 : miss);
    }
    for (int64_t d = 0; d < D; ++d) {
      double miss = 0;
      if (hold) {
        miss = s.mean[c * D + d] - static_cast<double>(a.centers[c * D + d]);
        center += 0.5 * miss * miss;
      }
      row[d] = static_cast<T>(per_center / n * miss);
      row[D + d] = static_cast<T>(-slope * s.unit[c * D + d] / n);
      row[2 * D + d] = static_cast<T>(per_pair / n * s.push[c * D + d]);
    }
    row[3 * D] = static_cast<T>(slope);
  }
  center *= per_center;
  spread *= per_spread;
  separation *= per_pair;
  *a.terms[0] = static_cast<T>(center);
  *a.terms[1] = static_cast<T>(spread);
  *a.terms[2] = static_cast<T>(separation);
  *a.terms[3] = static_cast<T>(center + spread + separation);
}

// One sweep over the samples; up: upstream gradients of center, spread and separation, total already added in.
template <class T, int kD>
HILL_INLINE void backward(int64_t B, int64_t any_D, const T* z, const int64_t* y, const T* state, const T* up, T* grad) {
  const int64_t D = kD > 0 ? kD : any_D, width = structure_state_width(D);
  T r[kBlock], inverse[kBlock];
  for (int64_t begin = 0; begin < B; begin += kBlock) {
    const int64_t n = B - begin < kBlock ? B - begin : kBlock;
    distances<T, kD>(D, n, z + begin * D, y + begin, state + mean_at(D), width, r, inverse);
    for (int64_t b = 0; b < n; ++b) {
      const T* row = state + y[begin + b] * width;
      const T* zi = z + (begin + b) * D;
      const T slope = row[3 * D] * inverse[b];
      for (int64_t d = 0; d < D; ++d) {
        const T own = slope * from_mean(zi, row + mean_at(D), D, d) + row[D + d];
        grad[(begin + b) * D + d] = up[0] * row[d] + up[1] * own + up[2] * row[2 * D + d];
      }
    }
  }
}

#define HILL_ENTRY(T)                                                                                                     \
  HILL_CLONES void run_forward(const Replica<T>& a, const Sums& s) {                                                      \
    if (a.D == 2) {                                                                                                       \
      forward<T, 2>(a, s);                                                                                                \
    } else {                                                                                                              \
      forward<T, 0>(a, s);                                                                                                \
    }                                                                                                                     \
  }                                                                                                                       \
  HILL_CLONES void run_backward(int64_t B, int64_t D, const T* z, const int64_t* y, const T* state, const T* up, T* grad) { \
    if (D == 2) {                                                                                                         \
      backward<T, 2>(B, D, z, y, state, up, grad);                                                                        \
    } else {                                                                                                              \
      backward<T, 0>(B, D, z, y, state, up, grad);                                                                        \
    }                                                                                                                     \
  }
HILL_ENTRY(float)
HILL_ENTRY(double)
#undef HILL_ENTRY

template <class T>
void forward_at(const Shape& n, int64_t p, const T* z, const int64_t* y, const StructureTargets<T>& t, T* terms, T* state) {
  Replica<T> a{n.B,
               n.D,
               n.C,
               z + p * n.B * n.D,
               y + p * n.B,
               t.centers + p * n.C * n.D,
               t.spreads + p * n.C,
               t.touched == nullptr ? nullptr : t.touched + p * n.C,
               {t.uniform[0], t.uniform[1], t.uniform[2]},
               t.form,
               {terms + p, terms + n.P + p, terms + 2 * n.P + p, terms + 3 * n.P + p},
               state};
  for (int64_t w = 0; t.weights != nullptr && w < 3; ++w) a.weights[w] = static_cast<double>(t.weights[w * n.P + p]);
  Scratch& scratch = Scratch::of_this_thread();
  scratch.reset(Sums::bytes(n.C, n.D));
  run_forward(a, Sums::make(scratch, n.C, n.D));
}

}  // namespace

template <class T>
void structure_forward(const Shape& n, const T* z, const int64_t* y, const StructureTargets<T>& targets, T* terms, T* state,
                       ParallelFor run) {
  auto body = [&](int64_t p) { forward_at(n, p, z, y, targets, terms, state + p * n.C * structure_state_width(n.D)); };
  parallel_for(run, n.P, body);
}

template <class T>
void structure_backward(const Shape& n, const T* z, const int64_t* y, const T* state, const T* const* upstream, T* grad,
                        ParallelFor run) {
  auto body = [&](int64_t p) {
    const T all = upstream[3] != nullptr ? upstream[3][p] : T(0);
    T up[3];
    for (int t = 0; t < 3; ++t) up[t] = upstream[t] != nullptr ? upstream[t][p] + all : all;
    run_backward(n.B, n.D, z + p * n.B * n.D, y + p * n.B, state + p * n.C * structure_state_width(n.D), up, grad + p * n.B * n.D);
  };
  parallel_for(run, n.P, body);
}

template <class T>
void structure_loss(const Shape& n, const T* z, const int64_t* y, const StructureTargets<T>& targets, T* terms, T* grad,
                    ParallelFor run) {
  auto body = [&](int64_t p) {
    thread_local Scratch rows;  // the state, beside the sums that forward takes from the thread's other scratch
    const int64_t size = n.C * structure_state_width(n.D);
    rows.reset(Scratch::size_of<T>(size));
    T* state = rows.take<T>(size);
    forward_at(n, p, z, y, targets, terms, state);
    const T one[3] = {1, 1, 1};
    if (grad != nullptr) run_backward(n.B, n.D, z + p * n.B * n.D, y + p * n.B, state, one, grad + p * n.B * n.D);
    rows.trim();
  };
  parallel_for(run, n.P, body);
}

#define HILL_INSTANTIATE(T)                                                                                             \
  template void structure_forward(const Shape&, const T*, const int64_t*, const StructureTargets<T>&, T*, T*, ParallelFor); \
  template void structure_backward(const Shape&, const T*, const int64_t*, const T*, const T* const*, T*, ParallelFor);     \
  template void structure_loss(const Shape&, const T*, const int64_t*, const StructureTargets<T>&, T*, T*, ParallelFor);
HILL_INSTANTIATE(float)
HILL_INSTANTIATE(double)
#undef HILL_INSTANTIATE

}  // namespace hill
