// The CPU kernels as torch operators, over torch's stable ABI: one build serves every torch from TORCH_TARGET_VERSION on.
//
// Operators take batched tensors only ([P, B, D] and so on) and raise plain errors; hill_sim.kernels.native turns those
// into errors that name the argument. Autograd and fake implementations are in hill_sim/kernels/autograd.py.
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <tuple>

#include "torch_common.h"

namespace {

using hill::ParallelFor;
using hill::Shape;
using hill::torch_ops::by_dtype;
using hill::torch_ops::check_labels;
using hill::torch_ops::data;
using hill::torch_ops::dense;
using hill::torch_ops::empty;
using hill::torch_ops::Targets;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

void run_on_torch_threads(int64_t n, hill::Body body, void* context) {
  torch::stable::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i, context);
  });
}

ParallelFor threads_for(double work) {  // work: about how many distances
  constexpr double kWorthIt = 5e5;
  return work > kWorthIt && torch::stable::get_num_threads() > 1 ? run_on_torch_threads : hill::serial_for;
}

std::tuple<Tensor, Tensor> pairs(const Tensor& z_in, const Tensor& y_in, const Tensor& margins_in, bool with_grad) {
  const Shape s = hill::torch_ops::check_pairs(z_in, y_in, margins_in);
  const Tensor z = dense(z_in), y = dense(y_in), margins = dense(margins_in);
  check_labels(y, s.C);
  const Tensor value = empty(z, {s.P}), grad = with_grad ? empty(z, {s.P, s.B, s.D}) : value;
  const ParallelFor run = threads_for(0.5 * static_cast<double>(s.P) * static_cast<double>(s.B) * static_cast<double>(s.B));
  by_dtype(z, [&](auto zero) {
    using T = decltype(zero);
    hill::pair_separation(s, data<T>(z), data<int64_t>(y), data<T>(margins), data<T>(value), with_grad ? data<T>(grad) : nullptr,
                          run);
  });
  return {value, grad};
}
std::tuple<Tensor, Tensor> pair_value_and_grad(const Tensor& z, const Tensor& y, const Tensor& margins) {
  return pairs(z, y, margins, true);
}
Tensor pair_value(const Tensor& z, const Tensor& y, const Tensor& margins) {
  return std::get<0>(pairs(z, y, margins, false));
}

std::tuple<Tensor, Tensor> center(const Tensor& z_in, const Tensor& y_in, const Tensor& centers_in, bool with_grad) {
  const Shape s = hill::torch_ops::check_center(z_in, y_in, centers_in);
  const Tensor z = dense(z_in), y = dense(y_in), centers = dense(centers_in);
  check_labels(y, s.C);
  const Tensor value = empty(z, {s.P}), grad = with_grad ? empty(z, {s.P, s.B, s.D}) : value;
  const ParallelFor run = threads_for(static_cast<double>(s.P) * static_cast<double>(s.B));
  by_dtype(z, [&](auto zero) {
    using T = decltype(zero);
    hill::center_loss(s, data<T>(z), data<int64_t>(y), data<T>(centers), data<T>(value), with_grad ? data<T>(grad) : nullptr, run);
  });
  return {value, grad};
}
std::tuple<Tensor, Tensor> center_value_and_grad(const Tensor& z, const Tensor& y, const Tensor& centers) {
  return center(z, y, centers, true);
}
Tensor center_value(const Tensor& z, const Tensor& y, const Tensor& centers) {
  return std::get<0>(center(z, y, centers, false));
}

enum class Want { kValue, kGrad, kState };

std::tuple<Tensor, Tensor> structure(const Tensor& z_in, const Tensor& y_in, const Targets& targets, Want want) {
  const Shape s = hill::torch_ops::check_structure(z_in, y_in, targets);
  const Tensor z = dense(z_in), y = dense(y_in);
  const Tensor centers = dense(targets.centers), spreads = dense(targets.spreads);
  std::optional<Tensor> touched, weights;
  if (targets.touched) touched = dense(*targets.touched);
  if (targets.weights) weights = dense(*targets.weights);
  check_labels(y, s.C);
  const Tensor terms = empty(z, {4, s.P});
  Tensor second = terms;
  if (want == Want::kGrad) second = empty(z, {s.P, s.B, s.D});
  if (want == Want::kState) second = empty(z, {s.P, s.C, hill::structure_state_width(s.D)});
  const ParallelFor run = threads_for(10.0 * static_cast<double>(s.P) * static_cast<double>(s.B));
  by_dtype(z, [&](auto zero) {
    using T = decltype(zero);
    const hill::StructureTargets<T> t{data<T>(centers),
                                      data<T>(spreads),
                                      touched ? data<bool>(*touched) : nullptr,
                                      weights ? data<T>(*weights) : nullptr,
                                      {targets.uniform[0], targets.uniform[1], targets.uniform[2]},
                                      static_cast<hill::Form>(targets.form)};
    if (want == Want::kState) {
      hill::structure_forward(s, data<T>(z), data<int64_t>(y), t, data<T>(terms), data<T>(second), run);
    } else {
      hill::structure_loss(s, data<T>(z), data<int64_t>(y), t, data<T>(terms), want == Want::kGrad ? data<T>(second) : nullptr, run);
    }
  });
  return {terms, second};
}
Tensor structure_value(const Tensor& z, const Tensor& y, const Tensor& centers, const Tensor& spreads,
                       std::optional<Tensor> touched, std::optional<Tensor> weights, double center, double spread,
                       double separation, int64_t form) {
  return std::get<0>(structure(z, y, {centers, spreads, touched, weights, {center, spread, separation}, form}, Want::kValue));
}
std::tuple<Tensor, Tensor> structure_value_and_grad(const Tensor& z, const Tensor& y, const Tensor& centers, const Tensor& spreads,
                                                    std::optional<Tensor> touched, std::optional<Tensor> weights, double center,
                                                    double spread, double separation, int64_t form) {
  return structure(z, y, {centers, spreads, touched, weights, {center, spread, separation}, form}, Want::kGrad);
}
std::tuple<Tensor, Tensor> structure_loss(const Tensor& z, const Tensor& y, const Tensor& centers, const Tensor& spreads,
                                          std::optional<Tensor> touched, std::optional<Tensor> weights, double center,
                                          double spread, double separation, int64_t form) {
  return structure(z, y, {centers, spreads, touched, weights, {center, spread, separation}, form}, Want::kState);
}

Tensor structure_backward(const Tensor& z_in, const Tensor& y_in, const Tensor& state_in, std::optional<Tensor> center,
                          std::optional<Tensor> spread, std::optional<Tensor> separation, std::optional<Tensor> total) {
  const Shape s = hill::torch_ops::check_structure_backward(z_in, y_in, state_in, {&center, &spread, &separation, &total});
  const Tensor z = dense(z_in), y = dense(y_in), state = dense(state_in);
  check_labels(y, s.C);
  const Tensor grad = empty(z, {s.P, s.B, s.D});
  const ParallelFor run = threads_for(5.0 * static_cast<double>(s.P) * static_cast<double>(s.B));
  std::optional<Tensor> up[4] = {center, spread, separation, total};
  by_dtype(z, [&](auto zero) {
    using T = decltype(zero);
    const T* upstream[4];
    for (int t = 0; t < 4; ++t) {
      if (up[t]) up[t] = dense(*up[t]);
      upstream[t] = up[t] ? data<T>(*up[t]) : nullptr;
    }
    hill::structure_backward(s, data<T>(z), data<int64_t>(y), data<T>(state), upstream, data<T>(grad), run);
  });
  return grad;
}

}  // namespace

STABLE_TORCH_LIBRARY(hill_sim, m) {
  m.def("pair_value(Tensor z, Tensor y, Tensor margins) -> Tensor");
  m.def("pair_value_and_grad(Tensor z, Tensor y, Tensor margins) -> (Tensor, Tensor)");
  m.def("pair_separation(Tensor z, Tensor y, Tensor margins) -> (Tensor, Tensor)");
  m.def("center_value(Tensor z, Tensor y, Tensor centers) -> Tensor");
  m.def("center_value_and_grad(Tensor z, Tensor y, Tensor centers) -> (Tensor, Tensor)");
  m.def("center_loss(Tensor z, Tensor y, Tensor centers) -> (Tensor, Tensor)");
#define HILL_STRUCTURE_ARGUMENTS                                                                                       \
  "(Tensor z, Tensor y, Tensor centers, Tensor spreads, Tensor? touched, Tensor? weights, float center, float spread, " \
  "float separation, int form) -> "
  m.def("structure_value" HILL_STRUCTURE_ARGUMENTS "Tensor");
  m.def("structure_value_and_grad" HILL_STRUCTURE_ARGUMENTS "(Tensor, Tensor)");
  m.def("structure_loss" HILL_STRUCTURE_ARGUMENTS "(Tensor, Tensor)");
  m.def("structure_backward(Tensor z, Tensor y, Tensor state, Tensor? center, Tensor? spread, Tensor? separation, "
        "Tensor? total) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(hill_sim, CPU, m) {
  m.impl("pair_value", TORCH_BOX(&pair_value));
  m.impl("pair_value_and_grad", TORCH_BOX(&pair_value_and_grad));
  m.impl("pair_separation", TORCH_BOX(&pair_value_and_grad));
  m.impl("center_value", TORCH_BOX(&center_value));
  m.impl("center_value_and_grad", TORCH_BOX(&center_value_and_grad));
  m.impl("center_loss", TORCH_BOX(&center_value_and_grad));
  m.impl("structure_value", TORCH_BOX(&structure_value));
  m.impl("structure_value_and_grad", TORCH_BOX(&structure_value_and_grad));
  m.impl("structure_loss", TORCH_BOX(&structure_loss));
  m.impl("structure_backward", TORCH_BOX(&structure_backward));
}
