// Shape and type checks that the CPU and the CUDA operators share. Their messages name the argument.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <initializer_list>
#include <optional>

#include "kernels/losses.h"

namespace hill::torch_ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

struct Targets {
  Tensor centers;                  // [P, C, D]
  Tensor spreads;                  // [P, C]
  std::optional<Tensor> touched;   // [P, C] bool
  std::optional<Tensor> weights;   // [3, P]
  std::array<double, 3> uniform;
  int64_t form;
};

// `t`, copied only when it is not contiguous.
inline Tensor dense(const Tensor& t) { return t.is_contiguous() ? t : torch::stable::contiguous(t); }

template <class T>
T* data(const Tensor& t) {
  return static_cast<T*>(t.data_ptr());
}

// f(float{}) or f(double{}), whichever `t` holds.
template <class F>
void by_dtype(const Tensor& t, F&& f) {
  if (t.scalar_type() == ScalarType::Float) {
    f(float{});
  } else {
    STD_TORCH_CHECK(t.scalar_type() == ScalarType::Double, "must be float32 or float64");
    f(double{});
  }
}

// For labels on the CPU; on a GPU this would wait for the device.
inline void check_labels(const Tensor& y, int64_t classes) {
  int64_t bad = 0;
  STD_TORCH_CHECK(labels_fit(data<int64_t>(y), y.numel(), classes, &bad), "y: labels must be in 0..", classes - 1, ", got ", bad);
}

// A new contiguous tensor with the type and device of `like`.
inline Tensor empty(const Tensor& like, std::initializer_list<int64_t> sizes) {
  int64_t strides[4] = {1, 1, 1, 1};
  const int64_t dims = static_cast<int64_t>(sizes.size());
  for (int64_t d = dims - 1, step = 1; d >= 0; --d) {
    strides[d] = step;
    const int64_t size = *(sizes.begin() + d);
    step *= size > 0 ? size : 1;
  }
  int32_t dtype = 0, device = 0, index = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(like.get(), &dtype));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(like.get(), &index));
  AtenTensorHandle handle = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(dims, sizes.begin(), strides, dtype, device, index, &handle));
  return Tensor(handle);
}

// `t` must have these sizes, this dtype and the device of `like`.
inline void check(const char* name, const Tensor& t, std::initializer_list<int64_t> sizes, ScalarType dtype, const Tensor& like) {
  const auto given = t.sizes();
  bool fits = given.size() == sizes.size();
  for (size_t d = 0; fits && d < given.size(); ++d) fits = given[d] == *(sizes.begin() + d);
  STD_TORCH_CHECK(fits, name, ": wrong shape");
  STD_TORCH_CHECK(t.scalar_type() == dtype, name, ": wrong dtype");
  STD_TORCH_CHECK(t.is_cpu() == like.is_cpu() && t.get_device_index() == like.get_device_index(), name, ": not on the device of z");
}

inline Shape check_samples(const Tensor& z, const Tensor& y, int64_t classes) {
  STD_TORCH_CHECK(z.dim() == 3, "z: must be [P, B, D]");
  const Shape s{z.size(0), z.size(1), z.size(2), classes};
  STD_TORCH_CHECK(s.D > 0, "z: needs a coordinate");
  STD_TORCH_CHECK(s.B < (int64_t{1} << 31) && classes < (int64_t{1} << 31), "z: too many samples or classes");
  STD_TORCH_CHECK(classes > 0 || s.P * s.B == 0, "y: there are labels but no classes");
  STD_TORCH_CHECK(z.scalar_type() == ScalarType::Float || z.scalar_type() == ScalarType::Double, "z: must be float32 or float64");
  check("y", y, {s.P, s.B}, ScalarType::Long, z);
  return s;
}

inline Shape check_pairs(const Tensor& z, const Tensor& y, const Tensor& margins) {
  STD_TORCH_CHECK(margins.dim() == 3, "margins: must be [P, C, C]");
  const Shape s = check_samples(z, y, margins.size(1));
  check("margins", margins, {s.P, s.C, s.C}, z.scalar_type(), z);
  return s;
}

inline Shape check_center(const Tensor& z, const Tensor& y, const Tensor& centers) {
  STD_TORCH_CHECK(centers.dim() == 3, "centers: must be [P, C, D]");
  const Shape s = check_samples(z, y, centers.size(1));
  check("centers", centers, {s.P, s.C, s.D}, z.scalar_type(), z);
  return s;
}

inline Shape check_structure(const Tensor& z, const Tensor& y, const Targets& t) {
  const Shape s = check_center(z, y, t.centers);
  check("spreads", t.spreads, {s.P, s.C}, z.scalar_type(), z);
  if (t.touched) check("touched", *t.touched, {s.P, s.C}, ScalarType::Bool, z);
  if (t.weights) check("weights", *t.weights, {3, s.P}, z.scalar_type(), z);
  STD_TORCH_CHECK(t.form == 0 || t.form == 1, "form: must be 0 or 1");
  return s;
}

inline Shape check_structure_backward(const Tensor& z, const Tensor& y, const Tensor& state,
                                      std::array<const std::optional<Tensor>*, 4> upstream) {
  STD_TORCH_CHECK(state.dim() == 3, "state: must be [P, C, 5 D + 1]");
  const Shape s = check_samples(z, y, state.size(1));
  check("state", state, {s.P, s.C, structure_state_width(s.D)}, z.scalar_type(), z);
  for (const auto* u : upstream) {
    if (*u) check("upstream gradient", **u, {s.P}, z.scalar_type(), z);
  }
  return s;
}

}  // namespace hill::torch_ops
