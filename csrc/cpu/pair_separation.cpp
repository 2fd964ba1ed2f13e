// Mean over pairs of samples with different labels of max(0, M - distance)^2 (a hinge as in Hadsell et al. 2006).
//
// Sort by class, then every row against the columns of later classes: each pair once, no pair of one class, no B x B memory.
// Rows of a large batch are cut into a number of slabs that depends on B alone, each with its own gradient, and the
// slabs are added in order: the result does not depend on how many threads share them.
#include "../kernels/losses.h"
#include "pair_direct.h"
#include "pair_gram.h"

namespace hill {
namespace {

constexpr int64_t kMaxSlabs = 8;
constexpr int64_t kGramFrom = 16;  // coordinates from which inner products beat differences
static_assert(kGramFrom <= kMaxDirect);

template <class T, bool kGrad>
HILL_INLINE double rows(const DirectPlan<T>& p, int64_t begin, int64_t end, T* sums, T* work) {
  T* row_sums = sums + p.D * p.stride;
  switch (p.D) {
    case 1: return direct_rows<T, 1, kGrad>(p, begin, end, sums, row_sums, work);
    case 2: return direct_rows<T, 2, kGrad>(p, begin, end, sums, row_sums, work);
    case 3: return direct_rows<T, 3, kGrad>(p, begin, end, sums, row_sums, work);
    case 4: return direct_rows<T, 4, kGrad>(p, begin, end, sums, row_sums, work);
    default: return direct_rows<T, 0, kGrad>(p, begin, end, sums, row_sums, work);
  }
}
template <class T, bool kGrad>
HILL_INLINE double rows(const GramPlan<T>& p, int64_t begin, int64_t end, T* sums, T* work) {
  return gram_rows<T, kGrad>(p, begin, end, sums, sums + p.stride * p.width, work);
}

// The entry points of each processor's version. What they call is inlined, and so compiled for that processor.
#define HILL_ENTRY(Plan, make)                                                                                             \
  HILL_CLONES double rows_value(const Plan& p, int64_t begin, int64_t end, decltype(p.lo) sums, decltype(p.lo) work) {     \
    return rows<std::remove_pointer_t<decltype(p.lo)>, false>(p, begin, end, sums, work);                                  \
  }                                                                                                                        \
  HILL_CLONES double rows_grad(const Plan& p, int64_t begin, int64_t end, decltype(p.lo) sums, decltype(p.lo) work) {      \
    return rows<std::remove_pointer_t<decltype(p.lo)>, true>(p, begin, end, sums, work);                                   \
  }                                                                                                                        \
  HILL_CLONES void prepare(Plan& p, Scratch& scratch, const Shape& n, decltype(p.margins) z, const int64_t* y,             \
                           decltype(p.margins) margins) {                                                                  \
    p = make(scratch, n.B, n.D, n.C, z, y, margins);                                                                       \
  }
HILL_ENTRY(DirectPlan<float>, make_direct_plan)
HILL_ENTRY(DirectPlan<double>, make_direct_plan)
HILL_ENTRY(GramPlan<float>, make_gram_plan)
HILL_ENTRY(GramPlan<double>, make_gram_plan)
#undef HILL_ENTRY

// How many numbers a slab sums up, and what it needs to work in.
template <class T>
int64_t sums_size(const DirectPlan<T>*, int64_t B, int64_t D) { return 2 * D * padded(B); }
template <class T>
int64_t sums_size(const GramPlan<T>*, int64_t B, int64_t D) {
  return GramPlan<T>::stride_of(B) * (GramPlan<T>::width_of(D) + 1);
}
template <class T>
int64_t work_size(const DirectPlan<T>*) { return 2 * (kTile + kLane); }
template <class T>
int64_t work_size(const GramPlan<T>*) { return (kRowTile + 1) * kColTile + kLane; }

template <class T>
void write_grad(const DirectPlan<T>& p, const T* sums, T scale, T* grad) {
  for (int64_t j = 0; j < p.B; ++j) {
    T* out = grad + p.order.order[j] * p.D;
    for (int64_t d = 0; d < p.D; ++d) {
      out[d] = scale * (sums[d * p.stride + j] - sums[(p.D + d) * p.stride + j]);
    }
  }
}
template <class T>
void write_grad(const GramPlan<T>& p, const T* sums, T scale, T* grad) {
  for (int64_t j = 0; j < p.B; ++j) {
    T* out = grad + p.order.order[j] * p.D;
    const T s = sums[p.stride * p.width + j];
    for (int64_t d = 0; d < p.D; ++d) out[d] = scale * (sums[j * p.width + d] - s * p.rows[j * p.width + d]);
  }
}

// First row of slab s of S: rows are dealt out so that the slabs hold about equally many pairs.
int64_t slab_begin(const ClassOrder& o, int64_t s, int64_t S) {
  const int64_t B = o.start[o.present];
  if (s == 0) return 0;
  if (s == S) return B;
  const double wanted = o.pairs() * static_cast<double>(s) / static_cast<double>(S);
  double before = 0;
  for (int64_t a = 0; a < o.present; ++a) {
    const double columns = static_cast<double>(B - o.start[a + 1]), rows = o.start[a + 1] - o.start[a];
    if (before + rows * columns >= wanted) {
      return o.start[a] + (columns > 0 ? static_cast<int64_t>((wanted - before) / columns) : 0);
    }
    before += rows * columns;
  }
  return B;
}

template <class Plan, class T>
void replica(const Shape& n, const T* z, const int64_t* y, const T* margins, T* value, T* grad, ParallelFor run) {
  const int64_t S = n.B < 4096 ? 1 : kMaxSlabs;
  const bool threaded = S > 1 && run != serial_for;
  const int64_t rooms = threaded ? S : 1;  // slabs that are summed at the same time
  const Plan* none = nullptr;
  const int64_t size = grad != nullptr ? sums_size(none, n.B, n.D) : 0, work_each = work_size(none);
  Scratch& scratch = Scratch::of_this_thread();
  scratch.reset(Plan::bytes(n.B, n.D, n.C) + static_cast<size_t>(rooms) * Scratch::size_of<T>(work_each) +
                static_cast<size_t>(rooms + 1) * Scratch::size_of<T>(size));
  Plan plan;
  prepare(plan, scratch, n, z, y, margins);
  T* sums[kMaxSlabs];
  T* work[kMaxSlabs];
  for (int64_t s = 0; s < rooms; ++s) {
    sums[s] = scratch.take<T>(size);
    work[s] = scratch.take<T>(work_each);
  }
  double values[kMaxSlabs] = {};
  auto one_slab = [&](int64_t s) {
    const int64_t room = threaded ? s : 0, begin = slab_begin(plan.order, s, S), end = slab_begin(plan.order, s + 1, S);
    for (int64_t j = 0; j < size; ++j) sums[room][j] = 0;
    values[s] = grad != nullptr ? rows_grad(plan, begin, end, sums[room], work[room])
                                : rows_value(plan, begin, end, sums[room], work[room]);
  };
  T* total = sums[0];
  if (S == 1) {
    one_slab(0);
  } else {
    total = scratch.take<T>(size);
    for (int64_t j = 0; j < size; ++j) total[j] = 0;
    if (threaded) parallel_for(run, S, one_slab);
    for (int64_t s = 0; s < S; ++s) {
      if (!threaded) one_slab(s);
      const T* part = sums[threaded ? s : 0];
      for (int64_t j = 0; j < size; ++j) total[j] += part[j];
    }
  }
  double sum = 0;
  for (int64_t s = 0; s < S; ++s) sum += values[s];
  const double pairs = plan.order.pairs();
  *value = pairs > 0 ? static_cast<T>(sum / pairs) : T(0);
  if (grad != nullptr) write_grad(plan, total, pairs > 0 ? static_cast<T>(2 / pairs) : T(0), grad);
  scratch.trim();
}

}  // namespace

template <class T>
void pair_separation(const Shape& n, const T* z, const int64_t* y, const T* margins, T* value, T* grad, ParallelFor run) {
  const bool inside = n.P == 1;  // threads share the rows of one replica, or whole replicas among them
  auto body = [&](int64_t p) {
    const T* z_p = z + p * n.B * n.D;
    T* grad_p = grad == nullptr ? nullptr : grad + p * n.B * n.D;
    const auto one = n.D < kGramFrom ? replica<DirectPlan<T>, T> : replica<GramPlan<T>, T>;
    one(n, z_p, y + p * n.B, margins + p * n.C * n.C, value + p, grad_p, inside ? run : serial_for);
  };
  if (inside) {
    body(0);
  } else {
    parallel_for(run, n.P, body);
  }
}

template void pair_separation(const Shape&, const float*, const int64_t*, const float*, float*, float*, ParallelFor);
template void pair_separation(const Shape&, const double*, const int64_t*, const double*, double*, double*, ParallelFor);

}  // namespace hill
