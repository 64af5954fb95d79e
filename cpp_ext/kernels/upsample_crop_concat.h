// The decoder's fused step on the device: [centre crop of skip, upsampled deep], side by side on channels, in one pass.
//
// deep [N, Cd, Hd, Wd] grows by an integer scale; skip [N, Cs, Hs, Ws] loses its border from row floor((Hs - scale *
// Hd) / 2) and column floor((Ws - scale * Wd) / 2) on; the output is [N, Cs + Cd, scale * Hd, scale * Wd]. All three
// share one type and one layout. No type of TensorRT or torch stands here: anything that has pointers and a stream can
// call it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace edgeseg {

// int8 stands for numbers of one step (scale) that deep, skip and output share. The step cancels, so it is not asked
// for: the result is the exact bilinear mean of the integers, rounded to the nearest, ties to even.
enum class Type { kFloat32, kFloat16, kBfloat16, kInt8 };

// How NCHW lies in memory. The last three take channel counts that their vector divides.
enum class Layout {
  kNCHW,
  kNHWC,
  kHWC8,   // as NHWC, 8 channels a vector
  kHWC16,  // as NHWC, 16 channels a vector
  kCHW32,  // [N, C / 32, H, W, 32]
};

enum class Upsampling {
  kBilinear,  // half-pixel centres, the border repeated
  kNearest,   // output row y takes row floor(y / scale)
};

constexpr int64_t kMaxScale = 1024;

struct UpsampleCropConcat {
  Type type;
  Layout layout;
  Upsampling upsampling;
  int64_t scale;  // 1 to kMaxScale
  int64_t batch;
  int64_t deep_channels, deep_height, deep_width;
  int64_t skip_channels, skip_height, skip_width;
};

// Channels that one vector of the layout holds: both inputs' channels must divide by it. 1 for kNCHW and kNHWC.
int64_t vector_of(Layout layout);

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
