// The engine's training step in C++ against plain loops in double, over odd shapes, to be run under AddressSanitizer and
// UBSan (`make sanitize`). Every array has exactly the size that the headers promise. Exits with 1 on the first difference.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "../kernels/chain.h"
#include "../kernels/human.h"

namespace {

template <class T>
using Array = std::vector<T>;

std::mt19937 generator(7);

template <class T>
Array<T> normal(int64_t n) {
  std::normal_distribution<double> draw;
  Array<T> a(static_cast<size_t>(n));
  for (auto& v : a) v = static_cast<T>(draw(generator));
  return a;
}

void expect(double got, double wanted, double tolerance, const char* what) {
  if (std::fabs(got - wanted) <= tolerance * (1 + std::fabs(wanted))) return;
  std::printf("%s: got %.9g, wanted %.9g\n", what, got, wanted);
  std::exit(1);
}

// Forward and backward of a chain of the given widths, P replicas, B samples, the first Q with a latent gradient.
template <class T>
void check_chain(const Array<int64_t>& width, int64_t P, int64_t B, int64_t Q, double tolerance) {
  const int64_t n = static_cast<int64_t>(width.size()) - 1;
  Array<int64_t> weight, bias;
  int64_t row = 0;
  for (int64_t l = 0; l < n; ++l) {
    weight.push_back(row);
    row += hill::padded(width[l] * width[l + 1]);
    bias.push_back(row);
    row += hill::padded(width[l + 1]);
  }
  const hill::Chain chain{n, width.data(), weight.data(), bias.data()};
  const int64_t H = width[n - 1], C = width[n];
  const auto params = normal<T>(P * row), x = normal<T>(P * B * width[0]), dlogits = normal<T>(P * B * C), dlatents = normal<T>(Q * B * H);
  Array<T> logits(P * B * C), latents(P * hill::padded(B) * H), saved(P * hill::chain_saved_size(chain, B)), grads(P * row);
  hill::chain_forward<T>(chain, P, B, params.data(), row, x.data(), B * width[0], logits.data(), latents.data(), saved.data(), hill::serial_for);
  hill::chain_backward<T>(chain, P, B, params.data(), row, saved.data(), dlogits.data(), dlatents.data(), Q, grads.data(), hill::serial_for);
  Array<T> shared(P * B * C);
  hill::chain_forward<T>(chain, P, B, params.data(), row, x.data(), 0, shared.data(), nullptr, nullptr, hill::serial_for);
  for (int64_t p = 0; p < P; ++p) {
    Array<Array<double>> acts(1, Array<double>(x.begin() + p * B * width[0], x.begin() + (p + 1) * B * width[0]));
    for (int64_t l = 0; l < n; ++l) {
      Array<double> out(B * width[l + 1]);
      for (int64_t i = 0; i < B; ++i) {
        for (int64_t o = 0; o < width[l + 1]; ++o) {
          double sum = params[p * row + bias[l] + o];
          for (int64_t k = 0; k < width[l]; ++k) sum += double(params[p * row + weight[l] + o * width[l] + k]) * acts[l][i * width[l] + k];
          out[i * width[l + 1] + o] = l + 1 < n ? std::fmax(sum, 0.0) : sum;
        }
      }
      acts.push_back(out);
    }
    for (int64_t i = 0; i < B * C; ++i) expect(logits[p * B * C + i], acts[n][i], tolerance, "logits");
    for (int64_t i = 0; i < B * H; ++i) expect(latents[p * hill::padded(B) * H + i], acts[n - 1][i], tolerance, "latents");
    if (p == 0) {
      for (int64_t i = 0; i < B * C; ++i) expect(shared[i], logits[i], 0, "evaluation equals training");
    }
    Array<double> delta(dlogits.begin() + p * B * C, dlogits.begin() + (p + 1) * B * C);
    for (int64_t l = n - 1; l >= 0; --l) {
      for (int64_t o = 0; o < width[l + 1]; ++o) {
        double total = 0;
        for (int64_t i = 0; i < B; ++i) total += delta[i * width[l + 1] + o];
        expect(grads[p * row + bias[l] + o], total, tolerance, "bias gradient");
        for (int64_t k = 0; k < width[l]; ++k) {
          double sum = 0;
          for (int64_t i = 0; i < B; ++i) sum += delta[i * width[l + 1] + o] * acts[l][i * width[l] + k];
          expect(grads[p * row + weight[l] + o * width[l] + k], sum, tolerance, "weight gradient");
        }
      }
      Array<double> next(B * width[l]);
      for (int64_t i = 0; i < B; ++i) {
        for (int64_t k = 0; k < width[l]; ++k) {
          double sum = l + 1 == n && p < Q ? double(dlatents[(p * B + i) * H + k]) : 0.0;
          for (int64_t o = 0; o < width[l + 1]; ++o) sum += delta[i * width[l + 1] + o] * double(params[p * row + weight[l] + o * width[l] + k]);
          next[i * width[l] + k] = acts[l][i * width[l] + k] > 0 ? sum : 0.0;
        }
      }
      delta = next;
    }
  }
}

// The projection, the scale term and the way back; the structure loss in between is checked by its own test.
template <class T>
void check_human(int64_t P, int64_t B, int64_t H, int64_t C, double tolerance) {
  const int64_t gap = 5 * H;  // between replicas, as padded latents have
  const auto h = normal<T>(P * (B * H + gap)), weight = normal<T>(P * 2 * H), bias = normal<T>(P * 2), origin = normal<T>(P * 2);
  const auto centers = normal<T>(P * C * 2);
  Array<T> unit(P), w(P, T(0)), lam(P, T(0.5)), scale0(P, T(0.7)), spreads(P * C, T(0.3)), trust(P * C, T(0.5));
  for (auto& u : unit) u = T(0.5 + (generator() % 100) / 100.0);
  Array<int64_t> y(P * B);
  for (auto& label : y) label = static_cast<int64_t>(generator() % static_cast<unsigned>(C));
  const hill::AffineLayout<T> layout{weight.data(), bias.data(), origin.data(), unit.data(), w.data(), lam.data(), scale0.data(), trust.data()};
  const hill::StructureTargets<T> targets{centers.data(), spreads.data(), nullptr, nullptr, {1, 1, 1}, hill::Form::kPaper};
  Array<T> z(P * B * 2), dz(P * B * 2), terms(4 * P), scale(P), dh(P * B * H);
  hill::human_gradient<T>({P, B, 2, C}, H, h.data(), B * H + gap, y.data(), layout, targets, z.data(), dz.data(), terms.data(),
                          scale.data(), dh.data(), hill::serial_for);
  for (int64_t p = 0; p < P; ++p) {
    Array<double> at(2 * B);
    double mean[2] = {0, 0}, square = 0;
    for (int64_t i = 0; i < 2 * B; ++i) {
      double sum = double(bias[2 * p + i % 2]) - double(origin[2 * p + i % 2]);
      for (int64_t k = 0; k < H; ++k) sum += double(h[p * (B * H + gap) + i / 2 * H + k]) * double(weight[(2 * p + i % 2) * H + k]);
      at[i] = sum / double(unit[p]);
      mean[i % 2] += at[i] / double(B);
      expect(z[p * 2 * B + i], at[i], tolerance, "projection");
    }
    for (int64_t i = 0; i < 2 * B; ++i) square += std::pow(at[i] - mean[i % 2], 2);
    const double rms = std::sqrt(square / double(B)), ratio = rms / 0.7;
    expect(scale[p], ratio, tolerance, "scale");
    for (int64_t i = 0; i < B; ++i) {
      for (int64_t k = 0; k < H; ++k) {
        double sum = 0;
        for (int64_t d = 0; d < 2 && rms > 1e-6; ++d) {
          const double pull = 0.5 * (ratio > 1 ? 1 : -1) * (at[2 * i + d] - mean[d]) / (double(B) * rms * 0.7);
          sum += pull / double(unit[p]) * double(weight[(2 * p + d) * H + k]);
        }
        expect(dh[(p * B + i) * H + k], sum, tolerance, "latent gradient");
      }
    }
  }
}

template <class T>
void check_cross_entropy(int64_t P, int64_t B, int64_t C, double tolerance) {
  const auto logits = normal<T>(P * B * C);
  Array<int64_t> y(B);
  for (auto& label : y) label = static_cast<int64_t>(generator() % static_cast<unsigned>(C));
  Array<double> measures(2 * P);
  Array<T> d(P * B * C);
  hill::softmax_cross_entropy<T>(P, B, C, logits.data(), y.data(), 0, measures.data(), d.data(), hill::serial_for);
  for (int64_t p = 0; p < P; ++p) {
    double loss = 0;
    for (int64_t i = 0; i < B; ++i) {
      double total = 0;
      for (int64_t c = 0; c < C; ++c) total += std::exp(double(logits[(p * B + i) * C + c]));
      loss += std::log(total) - double(logits[(p * B + i) * C + y[i]]);
      for (int64_t c = 0; c < C; ++c) {
        const double wanted = (std::exp(double(logits[(p * B + i) * C + c])) / total - (c == y[i])) / double(B);
        expect(d[(p * B + i) * C + c], wanted, tolerance, "logit gradient");
      }
    }
    expect(measures[p], loss / double(B), tolerance, "cross-entropy");
  }
}

}  // namespace

int main() {
  int shapes = 0;
  for (const int64_t B : {1, 2, 15, 16, 17, 48, 64, 70}) {
    for (const Array<int64_t>& width : {Array<int64_t>{1, 1, 2}, {3, 5, 2}, {64, 128, 64, 10}, {64, 37, 13, 10}, {17, 16, 33, 15, 3}}) {
      check_chain<float>(width, 3, B, 2, 2e-4);
      check_chain<double>(width, 3, B, 0, 1e-11);
      check_human<float>(3, B, width[1], 4, 2e-3);
      check_human<double>(2, B, width[1], 1, 1e-9);
      check_cross_entropy<float>(3, B, width.back(), 1e-5);
      check_cross_entropy<double>(3, B, width.back(), 1e-12);
      ++shapes;
    }
  }
  std::printf("the training step agrees with plain loops on %d shapes, float and double, registers of up to %d bits\n", shapes, HILL_MAX_LEVEL);
  return 0;
}
