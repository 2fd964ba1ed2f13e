// The engine's training step as torch operators (stable ABI): raw passes of a chain of linear layers, and the softmax
// cross-entropy. They know no autograd; hill_sim/engine/backends.py calls them under no_grad.
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/chain.h"
#include "kernels/human.h"
#include "torch_common.h"

namespace {

using hill::torch_ops::by_dtype;
using hill::torch_ops::check;
using hill::torch_ops::check_labels;
using hill::torch_ops::data;
using hill::torch_ops::dense;
using hill::torch_ops::empty;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// layout, int64 [3 L + 1]: the L + 1 widths, the places of the L weights, the places of the L biases.
struct Layers {
  hill::Chain chain;
  int64_t inputs, hidden, classes;
};

Layers read_layout(const Tensor& layout, const Tensor& params) {
  STD_TORCH_CHECK(layout.dim() == 1 && layout.is_cpu() && layout.scalar_type() == ScalarType::Long && layout.is_contiguous() &&
                      layout.size(0) >= 7 && layout.size(0) % 3 == 1,
                  "layout: must be int64 [3 layers + 1] of at least two layers");
  STD_TORCH_CHECK(params.dim() == 2 && params.is_cpu() && params.is_contiguous(), "params: must be a contiguous CPU tensor [P, row]");
  const int64_t n = (layout.size(0) - 1) / 3;
  const auto* all = static_cast<const int64_t*>(layout.data_ptr());
  const hill::Chain chain{n, all, all + n + 1, all + 2 * n + 1};
  for (int64_t l = 0; l < n; ++l) {
    const int64_t in = chain.width[l], out = chain.width[l + 1];
    STD_TORCH_CHECK(in > 0 && out > 0 && chain.weight[l] >= 0 && chain.bias[l] >= 0 &&
                        chain.weight[l] + in * out <= params.size(1) && chain.bias[l] + out <= params.size(1),
                    "layout: layer ", l, " does not fit in a row of params");
  }
  return {chain, chain.width[0], chain.width[n - 1], chain.width[n]};
}

void check_saved(const Tensor& saved, const Layers& layers, const Tensor& params, int64_t B) {
  STD_TORCH_CHECK(saved.is_cpu() && saved.is_contiguous() && saved.scalar_type() == params.scalar_type() &&
                      saved.numel() >= params.size(0) * hill::chain_saved_size(layers.chain, B),
                  "saved: must be a contiguous buffer of the dtype of params, large enough");
}

int64_t chain_saved_size(const Tensor& params, const Tensor& layout, int64_t B) {
  return hill::chain_saved_size(read_layout(layout, params).chain, B);
}

// x [P, B, in], or [1, B, in] for all replicas -> logits [P, B, C], latents [P, padded B, H] (empty unless wanted). The
// last rows of the latents hold nothing: so each replica's start at a multiple of 64 bytes (hill_sim/engine/backends.py).
// Given, `saved` (of any shape, with at least P times chain_saved_size elements) is filled for the backward pass: a
// buffer that the caller keeps, because fresh memory of that size costs more in page faults than the products.
std::tuple<Tensor, Tensor> chain_forward(const Tensor& params, const Tensor& layout, const Tensor& x_in,
                                         std::optional<Tensor> saved, bool want_latents) {
  const Layers layers = read_layout(layout, params);
  const int64_t P = params.size(0);
  STD_TORCH_CHECK(x_in.dim() == 3 && (x_in.size(0) == P || x_in.size(0) == 1), "x: must be [P, B, in] or [1, B, in]");
  const int64_t B = x_in.size(1);
  check("x", x_in, {x_in.size(0), B, layers.inputs}, params.scalar_type(), params);
  const Tensor x = dense(x_in);
  const Tensor logits = empty(params, {P, B, layers.classes}), latents = empty(params, {want_latents ? P : 0, hill::padded(B), layers.hidden});
  if (saved) check_saved(*saved, layers, params, B);
  by_dtype(params, [&](auto zero) {
    using T = decltype(zero);
    hill::chain_forward<T>(layers.chain, P, B, data<T>(params), params.size(1), data<T>(x), x.size(0) == 1 ? 0 : B * layers.inputs,
                           data<T>(logits), want_latents ? data<T>(latents) : nullptr, saved ? data<T>(*saved) : nullptr, hill::serial_for);
  });
  return {logits, latents};
}

// Writes the gradients of weights and biases into grads [P, row], and returns it.
Tensor chain_backward(const Tensor& params, const Tensor& layout, const Tensor& saved, const Tensor& dlogits_in,
                      std::optional<Tensor> dlatents_in, Tensor grads) {
  const Layers layers = read_layout(layout, params);
  const int64_t P = params.size(0), row = params.size(1);
  STD_TORCH_CHECK(dlogits_in.dim() == 3, "dlogits: must be [P, B, C]");
  const int64_t B = dlogits_in.size(1);
  check("dlogits", dlogits_in, {P, B, layers.classes}, params.scalar_type(), params);
  check_saved(saved, layers, params, B);
  check("grads", grads, {P, row}, params.scalar_type(), params);
  STD_TORCH_CHECK(grads.is_contiguous(), "grads: must be contiguous");
  const Tensor dlogits = dense(dlogits_in);
  int64_t Q = 0;
  std::optional<Tensor> dlatents;
  if (dlatents_in) {
    STD_TORCH_CHECK(dlatents_in->dim() == 3 && dlatents_in->size(0) <= P, "dlatents: must be [Q, B, H] with Q <= P");
    Q = dlatents_in->size(0);
    check("dlatents", *dlatents_in, {Q, B, layers.hidden}, params.scalar_type(), params);
    dlatents = dense(*dlatents_in);
  }
  by_dtype(params, [&](auto zero) {
    using T = decltype(zero);
    hill::chain_backward<T>(layers.chain, P, B, data<T>(params), row, data<T>(saved), data<T>(dlogits),
                            dlatents ? data<T>(*dlatents) : nullptr, Q, data<T>(grads), hill::serial_for);
  });
  return grads;
}

// logits [P, B, C], y [P, B] or [1, B] -> measures [2, P] float64 (mean cross-entropy, accuracy), dlogits [P, B, C]
// (empty unless grad)
std::tuple<Tensor, Tensor> softmax_cross_entropy(const Tensor& logits_in, const Tensor& y_in, bool grad) {
  STD_TORCH_CHECK(logits_in.dim() == 3 && logits_in.is_cpu(), "logits: must be a CPU tensor [P, B, C]");
  const int64_t P = logits_in.size(0), B = logits_in.size(1), C = logits_in.size(2);
  STD_TORCH_CHECK(B > 0 && C > 0, "logits: must hold a sample and a class");
  STD_TORCH_CHECK(y_in.dim() == 2 && (y_in.size(0) == P || y_in.size(0) == 1), "y: must be [P, B] or [1, B]");
  check("y", y_in, {y_in.size(0), B}, ScalarType::Long, logits_in);
  const Tensor logits = dense(logits_in), y = dense(y_in);
  check_labels(y, C);
  const Tensor dlogits = empty(logits, {grad ? P : 0, B, C});
  const int64_t sizes[2] = {2, P}, strides[2] = {P, 1};
  AtenTensorHandle handle = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(2, sizes, strides, aoti_torch_dtype_float64(), aoti_torch_device_type_cpu(),
                                                         0, &handle));
  const Tensor measures(handle);
  by_dtype(logits, [&](auto zero) {
    using T = decltype(zero);
    hill::softmax_cross_entropy<T>(P, B, C, data<T>(logits), data<int64_t>(y), y.size(0) == 1 ? 0 : B, data<double>(measures),
                                   grad ? data<T>(dlogits) : nullptr, hill::serial_for);
  });
  return {measures, dlogits};
}

// One step's human term in affine coordinates (kernels/human.h): latents [P, B, H], of which only the replicas need not be
// dense, y [P, B], weight [P, 2, H], bias and origin [P, 2], unit, w, lam [P], scale0 [P] or none, the targets of the
// structure loss, and trust [P, C] or none -> structure [P] unweighted by w and trust, scale [P], dlatents [P, B, H].
std::tuple<Tensor, Tensor, Tensor> human_gradient(const Tensor& latents_in, const Tensor& y_in, const Tensor& weight,
                                                  const Tensor& bias, const Tensor& origin, const Tensor& unit, const Tensor& w,
                                                  const Tensor& lam, std::optional<Tensor> scale0, const Tensor& centers,
                                                  const Tensor& spreads, const Tensor& touched, double center, double spread,
                                                  double separation, int64_t form, std::optional<Tensor> trust) {
  STD_TORCH_CHECK(latents_in.dim() == 3 && latents_in.is_cpu() && latents_in.size(1) > 0, "latents: must be a CPU tensor [P, B, H]");
  STD_TORCH_CHECK(centers.dim() == 3 && (form == 0 || form == 1), "centers: must be [P, C, 2]; form: 0 or 1");
  const int64_t P = latents_in.size(0), B = latents_in.size(1), H = latents_in.size(2), C = centers.size(1);
  const auto type = latents_in.scalar_type();
  const bool rows_dense = latents_in.stride(2) == 1 && latents_in.stride(1) == H;
  const Tensor latents = rows_dense ? latents_in : dense(latents_in), y = dense(y_in);
  check("y", y, {P, B}, ScalarType::Long, latents);
  check("weight", weight, {P, 2, H}, type, latents);
  check("centers", centers, {P, C, 2}, type, latents);
  check("spreads", spreads, {P, C}, type, latents);
  check("touched", touched, {P, C}, ScalarType::Bool, latents);
  for (const auto& [name, t] : {std::pair<const char*, const Tensor&>{"bias", bias}, {"origin", origin}}) {
    check(name, t, {P, 2}, type, latents);
  }
  for (const auto& [name, t] : {std::pair<const char*, const Tensor&>{"unit", unit}, {"w", w}, {"lam", lam}}) {
    check(name, t, {P}, type, latents);
  }
  if (scale0) check("scale0", *scale0, {P}, type, latents);
  if (trust) check("trust", *trust, {P, C}, type, latents);
  STD_TORCH_CHECK(!trust || trust->is_contiguous(), "trust: must be contiguous");
  for (const Tensor* t : {&weight, &bias, &origin, &unit, &w, &lam, &centers, &spreads, &touched}) {
    STD_TORCH_CHECK(t->is_contiguous(), "targets: must be contiguous");
  }
  check_labels(y, C);
  const Tensor z = empty(latents, {P, B, 2}), dz = empty(latents, {P, B, 2}), terms = empty(latents, {4, P});
  const Tensor scale = empty(latents, {P}), value = empty(latents, {P}), dlatents = empty(latents, {P, B, H});
  by_dtype(latents, [&](auto zero) {
    using T = decltype(zero);
    const hill::AffineLayout<T> layout{data<T>(weight), data<T>(bias), data<T>(origin), data<T>(unit),
                                       data<T>(w),      data<T>(lam),  scale0 ? data<T>(*scale0) : nullptr,
                                       trust ? data<T>(*trust) : nullptr};
    const hill::StructureTargets<T> targets{
        data<T>(centers), data<T>(spreads), data<bool>(touched), nullptr, {center, spread, separation}, static_cast<hill::Form>(form)};
    hill::human_gradient<T>({P, B, 2, C}, H, data<T>(latents), latents.stride(0), data<int64_t>(y), layout, targets, data<T>(z),
                            data<T>(dz), data<T>(terms), data<T>(scale), data<T>(dlatents), hill::serial_for);
    std::copy(data<T>(terms) + 3 * P, data<T>(terms) + 4 * P, data<T>(value));
  });
  return {value, scale, dlatents};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(hill_sim, m) {
  m.def("chain_forward(Tensor params, Tensor layout, Tensor x, Tensor(a!)? saved, bool want_latents) -> (Tensor, Tensor)");
  m.def("chain_saved_size(Tensor params, Tensor layout, int B) -> int");
  m.def("chain_backward(Tensor params, Tensor layout, Tensor saved, Tensor dlogits, Tensor? dlatents, Tensor(a!) grads) -> "
        "Tensor(a!)");
  m.def("human_gradient(Tensor latents, Tensor y, Tensor weight, Tensor bias, Tensor origin, Tensor unit, Tensor w, Tensor lam, "
        "Tensor? scale0, Tensor centers, Tensor spreads, Tensor touched, float center, float spread, float separation, int form, "
        "Tensor? trust=None) -> (Tensor, Tensor, Tensor)");
  m.def("softmax_cross_entropy(Tensor logits, Tensor y, bool grad) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(hill_sim, CPU, m) {
  m.impl("chain_forward", TORCH_BOX(&chain_forward));
  m.impl("chain_saved_size", TORCH_BOX(&chain_saved_size));
  m.impl("chain_backward", TORCH_BOX(&chain_backward));
  m.impl("human_gradient", TORCH_BOX(&human_gradient));
  m.impl("softmax_cross_entropy", TORCH_BOX(&softmax_cross_entropy));
}
