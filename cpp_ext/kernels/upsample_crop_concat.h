// The decoder's fused step on the device: [centre crop of skip, upsampled deep], side by side on channels, in one pass.
//
// deep [N, Cd, Hd, Wd] grows by an integer scale; skip [N, Cs, Hs, Ws] loses its border from row floor((Hs - scale *
// Hd) / 2) and column floor((Ws - scale * Wd) / 2) on; the output is [N, Cs + Cd, scale * Hd, scale * Wd]. All three
// share one type and one layout. No type of TensorRT or torch stands here: anything that has pointers and a stream can
// call it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "tensor_kinds.h"

namespace edgeseg {

enum class Upsampling {
  kBilinear,  // half-pixel centres, the border repeated
  kNearest,   // output row y takes row floor(y / scale)
};

struct UpsampleCropConcat {
  // int8 stands for numbers of one step (scale) that deep, skip and output share. The step cancels, so it is not asked
  // for: the result is the exact bilinear mean of the integers, rounded to the nearest, ties to even.
  Type type;
  Layout layout;  // vectorised ones where the vector divides both channel counts
  Upsampling upsampling;
  int64_t scale;  // 1 to kMaxScale
  int64_t batch;
  int64_t deep_channels, deep_height, deep_width;
  int64_t skip_channels, skip_height, skip_width;
};

// Enqueues the step on `stream`; one kernel, no allocation, no synchronisation. Each element of the output is written
// once.
//
// Pointers are to device memory (to the CPU's where this file is compiled without nvcc), aligned to their element;
// 16-byte accesses are used where pointers and sizes allow. deep and skip may be null where they have no elements.
// Returns cudaErrorInvalidValue for sizes or pointers that make no sense, a skip smaller than the upsampled map among
// them, else what the launch returned. An empty output (batch 0) is a success.
cudaError_t upsample_crop_concat(const UpsampleCropConcat& step, const void* deep, const void* skip, void* output,
                                 cudaStream_t stream);

}  // namespace edgeseg
