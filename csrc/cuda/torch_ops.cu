// The CUDA kernels behind the operators that csrc/torch_ops.cpp declares. Nothing here waits for the device.
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <tuple>

#include "../torch_common.h"
#include "common.cuh"

namespace {

using hill::Shape;
using hill::torch_ops::by_dtype;
using hill::torch_ops::data;
using hill::torch_ops::dense;
using hill::torch_ops::empty;
using hill::torch_ops::Targets;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

cudaStream_t stream_of(const Tensor& z) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(z.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

void check_launch(cudaError_t error) { STD_TORCH_CHECK(error == cudaSuccess, "CUDA: ", cudaGetErrorString(error)); }

// Room to work in, of another type than z.
Tensor room(const Tensor& z, int64_t count, int32_t dtype) {
  const int64_t size = count > 0 ? count : 1, stride = 1;
  AtenTensorHandle handle = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(
      aoti_torch_empty_strided(1, &size, &stride, dtype, aoti_torch_device_type_cuda(), z.get_device_index(), &handle));
  return Tensor(handle);
}

std::tuple<Tensor, Tensor> pairs(const Tensor& z_in, const Tensor& y_in, const Tensor& margins_in, bool with_grad) {
  const Shape s = hill::torch_ops::check_pairs(z_in, y_in, margins_in);
  const torch::stable::accelerator::DeviceGuard guard(z_in.get_device_index());
  const Tensor z = dense(z_in), y = dense(y_in), margins = dense(margins_in);
  const Tensor value = empty(z, {s.P}), grad = with_grad ? empty(z, {s.P, s.B, s.D}) : value;
  const Tensor room_T = empty(z, {hill::cuda::pair_room_T(s, with_grad)});
  const Tensor room_double = room(z, hill::cuda::pair_room_double(s), aoti_torch_dtype_float64());
  const Tensor room_int = room(z, hill::cuda::pair_room_int(s), aoti_torch_dtype_int32());
  by_dtype(z, [&](auto zero) {
    using T = decltype(zero);
    check_launch(hill::cuda::pair_separation(s, data<T>(z), data<int64_t>(y), data<T>(margins), data<T>(value),
                                             with_grad ? data<T>(grad) : nullptr, data<T>(room_T), data<double>(room_double),
                                             data<int32_t>(room_int), stream_of(z)));
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
  const torch::stable::accelerator::DeviceGuard guard(z_in.get_device_index());
  const Tensor z = dense(z_in), y = dense(y_in), centers = dense(centers_in);
  const Tensor value = empty(z, {s.P}), grad = with_grad ? empty(z, {s.P, s.B, s.D}) : value;
  by_dtype(z, [&](auto zero) {
    using T = decltype(zero);
    check_launch(hill::cuda::center_loss(s, data<T>(z), data<int64_t>(y), data<T>(centers), data<T>(value),
                                         with_grad ? data<T>(grad) : nullptr, stream_of(z)));
  });
  return {value, grad};
}
std::tuple<Tensor, Tensor> center_value_and_grad(const Tensor& z, const Tensor& y, const Tensor& centers) {
  return center(z, y, centers, true);
}
Tensor center_value(const Tensor& z, const Tensor& y, const Tensor& centers) {
  return std::get<0>(center(z, y, centers, false));
}

std::tuple<Tensor, Tensor> structure(const Tensor& z_in, const Tensor& y_in, const Targets& targets, bool with_grad, bool want_state) {
  const Shape s = hill::torch_ops::check_structure(z_in, y_in, targets);
  const torch::stable::accelerator::DeviceGuard guard(z_in.get_device_index());
  const Tensor z = dense(z_in), y = dense(y_in), centers = dense(targets.centers), spreads = dense(targets.spreads);
  std::optional<Tensor> touched, weights;
  if (targets.touched) touched = dense(*targets.touched);
  if (targets.weights) weights = dense(*targets.weights);
  const Tensor terms = empty(z, {4, s.P}), state = empty(z, {s.P, s.C, hill::structure_state_width(s.D)});
  const Tensor grad = with_grad ? empty(z, {s.P, s.B, s.D}) : state;
  const Tensor room_double = room(z, hill::cuda::structure_room_double(s), aoti_torch_dtype_float64());
  const Tensor room_int = room(z, hill::cuda::structure_room_int(s), aoti_torch_dtype_int32());
  by_dtype(z, [&](auto zero) {
    using T = decltype(zero);
    const hill::StructureTargets<T> t{data<T>(centers),
                                      data<T>(spreads),
                                      touched ? data<bool>(*touched) : nullptr,
                                      weights ? data<T>(*weights) : nullptr,
                                      {targets.uniform[0], targets.uniform[1], targets.uniform[2]},
                                      static_cast<hill::Form>(targets.form)};
    check_launch(hill::cuda::structure_forward(s, data<T>(z), data<int64_t>(y), t, data<T>(terms), data<T>(state),
                                               data<double>(room_double), data<int32_t>(room_int), stream_of(z)));
    if (with_grad) {
      check_launch(hill::cuda::structure_backward<T>(s, data<T>(z), data<int64_t>(y), data<T>(state), nullptr, data<T>(grad),
                                                     stream_of(z)));
    }
  });
  return {terms, want_state ? state : grad};
}
Tensor structure_value(const Tensor& z, const Tensor& y, const Tensor& centers, const Tensor& spreads,
                       std::optional<Tensor> touched, std::optional<Tensor> weights, double center, double spread,
                       double separation, int64_t form) {
  return std::get<0>(structure(z, y, {centers, spreads, touched, weights, {center, spread, separation}, form}, false, false));
}
std::tuple<Tensor, Tensor> structure_value_and_grad(const Tensor& z, const Tensor& y, const Tensor& centers, const Tensor& spreads,
                                                    std::optional<Tensor> touched, std::optional<Tensor> weights, double center,
                                                    double spread, double separation, int64_t form) {
  return structure(z, y, {centers, spreads, touched, weights, {center, spread, separation}, form}, true, false);
}
std::tuple<Tensor, Tensor> structure_loss(const Tensor& z, const Tensor& y, const Tensor& centers, const Tensor& spreads,
                                          std::optional<Tensor> touched, std::optional<Tensor> weights, double center,
                                          double spread, double separation, int64_t form) {
  return structure(z, y, {centers, spreads, touched, weights, {center, spread, separation}, form}, false, true);
}

Tensor structure_backward(const Tensor& z_in, const Tensor& y_in, const Tensor& state_in, std::optional<Tensor> center,
                          std::optional<Tensor> spread, std::optional<Tensor> separation, std::optional<Tensor> total) {
  const Shape s = hill::torch_ops::check_structure_backward(z_in, y_in, state_in, {&center, &spread, &separation, &total});
  const torch::stable::accelerator::DeviceGuard guard(z_in.get_device_index());
  const Tensor z = dense(z_in), y = dense(y_in), state = dense(state_in), grad = empty(z, {s.P, s.B, s.D});
  std::optional<Tensor> up[4] = {center, spread, separation, total};
  by_dtype(z, [&](auto zero) {
    using T = decltype(zero);
    const T* upstream[4];
    for (int t = 0; t < 4; ++t) {
      if (up[t]) up[t] = dense(*up[t]);
      upstream[t] = up[t] ? data<T>(*up[t]) : nullptr;
    }
    check_launch(hill::cuda::structure_backward(s, data<T>(z), data<int64_t>(y), data<T>(state), upstream, data<T>(grad), stream_of(z)));
  });
  return grad;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(hill_sim, CUDA, m) {
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
