// The C++ kernels against plain loops in double, over odd shapes, on threads, to be run under AddressSanitizer and UBSan
// (`make sanitize`). Prints what it checked; exits with 1 on the first difference.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "../kernels/losses.h"

namespace {

using hill::Shape;

void two_threads(int64_t n, hill::Body body, void* context) {
  std::thread other([=] {
    for (int64_t i = 1; i < n; i += 2) body(i, context);
  });
  for (int64_t i = 0; i < n; i += 2) body(i, context);
  other.join();
}

template <class T>
struct Data {
  Shape s;
  std::vector<T> z, centers, spreads, margins, weights;
  std::vector<int64_t> y;
  std::vector<char> touched;
};

template <class T>
Data<T> make(const Shape& s, double spacing, unsigned seed) {
  std::mt19937 r(seed);
  std::normal_distribution<double> normal;
  Data<T> q;
  q.s = s;
  std::vector<double> at(static_cast<size_t>(s.C * s.D));
  for (auto& v : at) v = spacing * normal(r);
  for (int64_t i = 0; i < s.P * s.B; ++i) {
    q.y.push_back(static_cast<int64_t>(r() % static_cast<unsigned>(s.C)));
    for (int64_t d = 0; d < s.D; ++d) q.z.push_back(static_cast<T>(at[static_cast<size_t>(q.y.back() * s.D + d)] + normal(r)));
  }
  for (int64_t i = 0; i < s.P * s.C * s.D; ++i) q.centers.push_back(static_cast<T>(normal(r)));
  for (int64_t i = 0; i < s.P * s.C; ++i) {
    q.spreads.push_back(static_cast<T>(1 + std::fabs(normal(r))));
    q.touched.push_back(r() % 4 != 0);
  }
  for (int64_t i = 0; i < s.P * s.C * s.C; ++i) q.margins.push_back(static_cast<T>(1.2 * std::sqrt(2.0 * static_cast<double>(s.D))));
  for (int64_t i = 0; i < 3 * s.P; ++i) q.weights.push_back(static_cast<T>(1 + 0.1 * normal(r)));
  return q;
}

// Value and gradient [B, D] of replica p by the formula.
template <class T>
double pairs_by_hand(const Data<T>& q, int64_t p, std::vector<double>& g) {
  const auto [P, B, D, C] = q.s;
  const T* z = q.z.data() + p * B * D;
  g.assign(static_cast<size_t>(B * D), 0.0);
  double value = 0, count = 0;
  for (int64_t i = 0; i < B; ++i) {
    for (int64_t j = i + 1; j < B; ++j) {
      const int64_t a = q.y[static_cast<size_t>(p * B + i)], b = q.y[static_cast<size_t>(p * B + j)];
      if (a == b) continue;
      ++count;
      double square = 0;
      for (int64_t d = 0; d < D; ++d) square += std::pow(static_cast<double>(z[i * D + d]) - static_cast<double>(z[j * D + d]), 2);
      const double r = std::sqrt(square), h = std::fmax(0.0, static_cast<double>(q.margins[static_cast<size_t>((p * C + a) * C + b)]) - r);
      value += h * h;
      for (int64_t d = 0; d < D && r > 0; ++d) {
        const double push = 2 * h * (static_cast<double>(z[i * D + d]) - static_cast<double>(z[j * D + d])) / r;
        g[static_cast<size_t>(i * D + d)] -= push;
        g[static_cast<size_t>(j * D + d)] += push;
      }
    }
  }
  for (auto& v : g) v /= std::fmax(count, 1.0);
  return value / std::fmax(count, 1.0);
}

void expect(bool good, const char* what, const Shape& s) {
  if (good) return;
  std::printf("FAILED: %s at P=%ld B=%ld D=%ld C=%ld\n", what, static_cast<long>(s.P), static_cast<long>(s.B), static_cast<long>(s.D),
              static_cast<long>(s.C));
  std::exit(1);
}

template <class T>
void check(const Shape& s, double spacing) {
  const double near = sizeof(T) == 4 ? 2e-5 : 1e-10;
  Data<T> q = make<T>(s, spacing, 7);
  const size_t PBD = static_cast<size_t>(s.P * s.B * s.D), P = static_cast<size_t>(s.P);
  std::vector<T> value(P), grad(PBD), again(P), again_grad(PBD), terms(4 * P), terms2(4 * P);
  hill::pair_separation(s, q.z.data(), q.y.data(), q.margins.data(), value.data(), grad.data(), hill::serial_for);
  hill::pair_separation(s, q.z.data(), q.y.data(), q.margins.data(), again.data(), again_grad.data(), two_threads);
  expect(value == again && grad == again_grad, "threads change pair_separation", s);
  hill::pair_separation(s, q.z.data(), q.y.data(), q.margins.data(), again.data(), static_cast<T*>(nullptr), hill::serial_for);
  std::vector<double> g;
  for (int64_t p = 0; p < s.P && s.B <= 600; ++p) {
    const double want = pairs_by_hand(q, p, g);
    expect(std::fabs(static_cast<double>(value[static_cast<size_t>(p)]) - want) <= near * (want + 1e-30), "pair value", s);
    expect(std::fabs(static_cast<double>(again[static_cast<size_t>(p)]) - want) <= near * (want + 1e-30), "pair value alone", s);
    double wrong = 0, size = 0;
    for (int64_t k = 0; k < s.B * s.D; ++k) {
      wrong += std::pow(static_cast<double>(grad[static_cast<size_t>(p * s.B * s.D + k)]) - g[static_cast<size_t>(k)], 2);
      size += std::pow(g[static_cast<size_t>(k)], 2);
    }
    expect(wrong <= near * near * size + 1e-40, "pair gradient", s);
  }
  hill::center_loss(s, q.z.data(), q.y.data(), q.centers.data(), value.data(), grad.data(), two_threads);
  hill::center_loss(s, q.z.data(), q.y.data(), q.centers.data(), again.data(), static_cast<T*>(nullptr), hill::serial_for);
  expect(value == again, "center_loss", s);

  // The one-shot structure loss against forward and backward with unit upstream gradients.
  for (const auto form : {hill::Form::kPaper, hill::Form::kMean}) {
    const hill::StructureTargets<T> t{q.centers.data(), q.spreads.data(), reinterpret_cast<const bool*>(q.touched.data()),
                                      form == hill::Form::kMean ? q.weights.data() : nullptr, {1, 2, 3}, form};
    std::vector<T> state(static_cast<size_t>(s.P * s.C * hill::structure_state_width(s.D))), ones(P, T(1));
    hill::structure_loss(s, q.z.data(), q.y.data(), t, terms.data(), grad.data(), two_threads);
    hill::structure_forward(s, q.z.data(), q.y.data(), t, terms2.data(), state.data(), hill::serial_for);
    const T* up[4] = {nullptr, nullptr, nullptr, ones.data()};
    hill::structure_backward(s, q.z.data(), q.y.data(), state.data(), up, again_grad.data(), hill::serial_for);
    expect(terms == terms2 && grad == again_grad, "structure_loss", s);
  }
  // NaN must neither hang nor read out of bounds.
  if (PBD > 0) {
    q.z[PBD / 2] = std::numeric_limits<T>::quiet_NaN();
    hill::pair_separation(s, q.z.data(), q.y.data(), q.margins.data(), value.data(), grad.data(), hill::serial_for);
  }
}

}  // namespace

int main() {
  int shapes = 0;
  for (const int64_t B : {0, 1, 2, 15, 16, 17, 41, 193, 401}) {
    for (const int64_t D : {1, 2, 3, 4, 5, 15, 16, 17, 33, 64}) {
      for (const int64_t C : {1, 2, 7, 300}) {
        for (const double spacing : {0.0, 2.0, 500.0}) {
          if (B * D * C > 500000) continue;
          check<float>({B < 50 ? 3 : 1, B, D, C}, spacing);
          check<double>({B < 50 ? 3 : 1, B, D, C}, spacing);
          ++shapes;
        }
      }
    }
  }
  check<float>({1, 4500, 2, 5}, 0.0);
  check<float>({1, 4200, 17, 5}, 0.0);
  check<double>({0, 10, 2, 3}, 0.0);
  int64_t bad = 0;
  const int64_t labels[3] = {0, 5, -1};
  expect(!hill::labels_fit(labels, 3, 3, &bad) && bad == 5, "labels_fit", {});
  std::printf("kernels agree with plain loops on %d shapes, float and double, one and two threads\n", shapes + 3);
  return 0;
}
