// The human part of the engine's training step, from the latents to its gradient at the latents, in one pass a replica:
//
//   y = h W^T + b        z = (y - origin) / unit        L = w * structure(z) + lam * |1 - rms(z) / scale0|
//
// with structure as in losses.h and rms about the batch's mean. The structure's pull on a sample is multiplied by the trust
// in its class. A replica's result depends on nothing but that replica.
#pragma once

#include "losses.h"

namespace hill {

template <class T>
struct AffineLayout {
  const T* weight;  // W [P, 2, H], the frozen projection
  const T* bias;    // b [P, 2]
  const T* origin;  // [P, 2]
  const T* unit;    // [P]
  const T* w;       // [P]
  const T* lam;     // [P]
  const T* scale0;  // [P], or null: no scale term
  const T* trust;   // [P, C], or null: all 1
};

template <class T>
void human_gradient(const Shape& shape,  // D = 2
                    int64_t H,
                    const T* h,        // [P, B, H], h_stride elements from one replica to the next
                    int64_t h_stride,
                    const int64_t* y,  // [P, B]
                    const AffineLayout<T>& layout, const StructureTargets<T>& targets,
                    T* z, T* dz,       // [P, B, 2] each, scratch
                    T* terms,          // [4, P] of the structure loss; the last is its total
                    T* scale,          // [P], NaN without a scale term
                    T* dh,             // [P, B, H]
                    ParallelFor run);

}  // namespace hill
