// The CPU kernels on NumPy arrays, for code that has no tensors (policies, metrics), and what this build is made of.
// Used through hill_sim.kernels.arrays, which checks shapes.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "kernels/losses.h"

namespace py = pybind11;

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;
using Labels = py::array_t<int64_t, py::array::c_style>;

void check(const char* name, const py::array& a, std::initializer_list<int64_t> shape) {
  bool fits = a.ndim() == static_cast<py::ssize_t>(shape.size());
  for (py::ssize_t d = 0; fits && d < a.ndim(); ++d) fits = a.shape(d) == *(shape.begin() + d);
  if (!fits) throw py::value_error(std::string(name) + ": wrong shape");
}

hill::Shape shape_of(const py::array& z, const Labels& y, int64_t classes) {
  if (z.ndim() != 3 || z.shape(2) == 0) throw py::value_error("z: must be [P, B, D] with D > 0");
  const hill::Shape s{z.shape(0), z.shape(1), z.shape(2), classes};
  check("y", y, {s.P, s.B});
  int64_t bad = 0;
  if (!hill::labels_fit(y.data(), y.size(), classes, &bad)) {
    throw py::value_error("y: labels must be in 0.." + std::to_string(classes - 1) + ", got " + std::to_string(bad));
  }
  return s;
}

int64_t classes_of(const char* name, const py::array& target) {
  if (target.ndim() != 3) throw py::value_error(std::string(name) + ": must have three dimensions");
  return target.shape(1);
}

template <class T>
py::tuple pair_separation(Array<T> z, Labels y, Array<T> margins, bool want_grad) {
  const hill::Shape s = shape_of(z, y, classes_of("margins", margins));
  check("margins", margins, {s.P, s.C, s.C});
  Array<T> value(s.P), grad({s.P, want_grad ? s.B : 0, s.D});
  {
    py::gil_scoped_release release;
    hill::pair_separation(s, z.data(), y.data(), margins.data(), value.mutable_data(), want_grad ? grad.mutable_data() : nullptr,
                          hill::serial_for);
  }
  return py::make_tuple(value, want_grad ? py::object(grad) : py::none());
}

template <class T>
py::tuple center_loss(Array<T> z, Labels y, Array<T> centers, bool want_grad) {
  const hill::Shape s = shape_of(z, y, classes_of("centers", centers));
  check("centers", centers, {s.P, s.C, s.D});
  Array<T> value(s.P), grad({s.P, want_grad ? s.B : 0, s.D});
  {
    py::gil_scoped_release release;
    hill::center_loss(s, z.data(), y.data(), centers.data(), value.mutable_data(), want_grad ? grad.mutable_data() : nullptr,
                      hill::serial_for);
  }
  return py::make_tuple(value, want_grad ? py::object(grad) : py::none());
}

template <class T>
py::tuple structure_loss(Array<T> z, Labels y, Array<T> centers, Array<T> spreads, std::optional<Array<bool>> touched,
                         double center, double spread, double separation, int64_t form, bool want_grad) {
  const hill::Shape s = shape_of(z, y, classes_of("centers", centers));
  check("centers", centers, {s.P, s.C, s.D});
  check("spreads", spreads, {s.P, s.C});
  if (touched) check("touched", *touched, {s.P, s.C});
  Array<T> terms({int64_t{4}, s.P}), grad({s.P, want_grad ? s.B : 0, s.D});
  const hill::StructureTargets<T> targets{centers.data(),
                                          spreads.data(),
                                          touched ? touched->data() : nullptr,
                                          nullptr,
                                          {center, spread, separation},
                                          static_cast<hill::Form>(form)};
  {
    py::gil_scoped_release release;
    hill::structure_loss(s, z.data(), y.data(), targets, terms.mutable_data(), want_grad ? grad.mutable_data() : nullptr,
                         hill::serial_for);
  }
  return py::make_tuple(terms, want_grad ? py::object(grad) : py::none());
}

py::dict build_config() {
  py::dict d;
  d["compiler"] = __VERSION__;
  d["flags"] = HILL_FLAGS;
  d["processor_versions"] = HILL_CLONES_TEXT;
  d["torch_target"] = std::to_string((HILL_TORCH_TARGET >> 56) & 0xff) + "." + std::to_string((HILL_TORCH_TARGET >> 48) & 0xff);
  const char* used = "x86-64";
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if (__builtin_cpu_supports("x86-64-v4")) {
    used = "x86-64-v4";
  } else if (__builtin_cpu_supports("x86-64-v3")) {
    used = "x86-64-v3";
  }
#endif
  d["processor_version_used"] = std::string(HILL_CLONES_TEXT) == "none" ? "as compiled" : used;
  return d;
}

}  // namespace

PYBIND11_MODULE(_numpy, m) {
  m.doc() = "The loss kernels on NumPy arrays; see hill_sim.kernels.arrays.";
  m.def("pair_separation", &pair_separation<float>, py::arg("z").noconvert(), py::arg("y"), py::arg("margins"), py::arg("grad"));
  m.def("pair_separation", &pair_separation<double>, py::arg("z").noconvert(), py::arg("y"), py::arg("margins"), py::arg("grad"));
  m.def("center_loss", &center_loss<float>, py::arg("z").noconvert(), py::arg("y"), py::arg("centers"), py::arg("grad"));
  m.def("center_loss", &center_loss<double>, py::arg("z").noconvert(), py::arg("y"), py::arg("centers"), py::arg("grad"));
  m.def("structure_loss", &structure_loss<float>, py::arg("z").noconvert(), py::arg("y"), py::arg("centers"), py::arg("spreads"),
        py::arg("touched"), py::arg("center"), py::arg("spread"), py::arg("separation"), py::arg("form"), py::arg("grad"));
  m.def("structure_loss", &structure_loss<double>, py::arg("z").noconvert(), py::arg("y"), py::arg("centers"), py::arg("spreads"),
        py::arg("touched"), py::arg("center"), py::arg("spread"), py::arg("separation"), py::arg("form"), py::arg("grad"));
  m.def("build_config", &build_config, "Compiler, flags and the processor version in use.");
}
