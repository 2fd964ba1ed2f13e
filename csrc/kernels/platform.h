// What the kernels need from the compiler, the threads and the allocator. No torch here or in any file of this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

// One binary for every x86-64: the loader picks the widest version that the processor has. Floating-point contraction
// differs between the versions, so results are reproducible on one machine, not between machines.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && \
    !defined(HILL_NO_CLONES)
#define HILL_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define HILL_CLONES_TEXT "x86-64-v4,x86-64-v3,x86-64"
#else
#define HILL_CLONES
#define HILL_CLONES_TEXT "none"
#endif
#define HILL_INLINE inline __attribute__((always_inline))

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define HILL_GAP 64  // between two pieces of scratch, so that running over the end of one is noticed
#else
#define HILL_GAP 0
#define ASAN_POISON_MEMORY_REGION(from, size)
#define ASAN_UNPOISON_MEMORY_REGION(from, size)
#endif

namespace hill {

// Runs body(i, context) for i in [0, n), in any order and on any threads. A kernel's result never depends on which.
using Body = void (*)(int64_t i, void* context);
using ParallelFor = void (*)(int64_t n, Body body, void* context);

inline void serial_for(int64_t n, Body body, void* context) {
  for (int64_t i = 0; i < n; ++i) body(i, context);
}

template <class F>
void parallel_for(ParallelFor run, int64_t n, F& f) {
  run(n, [](int64_t i, void* context) { (*static_cast<F*>(context))(i); }, &f);
}

// A bump allocator over one aligned block that a thread keeps between calls: small batches must not pay for malloc.
class Scratch {
 public:
  static constexpr size_t kAlign = 64;
  static constexpr size_t kKeep = size_t{4} << 20;  // blocks above this go back to the system after the call

  static Scratch& of_this_thread() {
    thread_local Scratch scratch;
    return scratch;
  }

  // Forgets what was taken and makes room for `bytes` (the sum of `size_of` over what will be taken).
  void reset(size_t bytes) {
    used_ = 0;
    if (bytes > capacity_) {
      release();
      block_ = static_cast<char*>(std::aligned_alloc(kAlign, round_up(bytes)));
      if (block_ == nullptr) throw std::bad_alloc();
      capacity_ = round_up(bytes);
    }
    ASAN_UNPOISON_MEMORY_REGION(block_, capacity_);
  }

  void trim() {
    if (capacity_ > kKeep) release();
  }

  template <class T>
  T* take(int64_t count) {
    T* result = reinterpret_cast<T*>(block_ + used_);
    used_ += size_of<T>(count);
    ASAN_POISON_MEMORY_REGION(reinterpret_cast<char*>(result + count), size_of<T>(count) - static_cast<size_t>(count) * sizeof(T));
    return result;
  }

  template <class T>
  static size_t size_of(int64_t count) {
    return round_up(static_cast<size_t>(count) * sizeof(T) + HILL_GAP);
  }

  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { release(); }

 private:
  static size_t round_up(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }
  void release() {
    ASAN_UNPOISON_MEMORY_REGION(block_, capacity_);
    std::free(block_);
    block_ = nullptr;
    capacity_ = 0;
  }

  char* block_ = nullptr;
  size_t capacity_ = 0;
  size_t used_ = 0;
};

// True when all labels are in [0, classes). `bad` receives the first one that is not.
inline bool labels_fit(const int64_t* y, int64_t count, int64_t classes, int64_t* bad) {
  uint64_t wrong = 0;
  for (int64_t i = 0; i < count; ++i) {
    wrong |= static_cast<uint64_t>(static_cast<uint64_t>(y[i]) >= static_cast<uint64_t>(classes));  // negative ones wrap around
  }
  if (wrong == 0) return true;
  for (int64_t i = 0; i < count; ++i) {
    if (y[i] < 0 || y[i] >= classes) {
      *bad = y[i];
      break;
    }
  }
  return false;
}

}  // namespace hill
