// Types and layouts of the tensors that kernels take, and the limits they share.
#pragma once

#include <cstdint>

namespace edgeseg {

enum class Type { kFloat32, kFloat16, kBfloat16, kInt8 };

// How NCHW lies in memory.
enum class Layout {
  kNCHW,
  kNHWC,
  kHWC8,   // as NHWC, channels in vectors of 8
  kHWC16,  // as NHWC, channels in vectors of 16
  kCHW32,  // [N, C / 32, H, W, 32]
};

constexpr int64_t kMaxScale = 1024;

// Channels that one vector of the layout holds; 1 for kNCHW and kNHWC, 0 for what is no layout.
constexpr int64_t vector_of(Layout layout) {
  switch (layout) {
    case Layout::kNCHW:
    case Layout::kNHWC: return 1;
    case Layout::kHWC8: return 8;
    case Layout::kHWC16: return 16;
    case Layout::kCHW32: return 32;
  }
  return 0;
}

constexpr bool channels_last(Layout layout) { return layout != Layout::kNCHW && layout != Layout::kCHW32; }

// Bytes of an element; 0 for what is no type.
constexpr int64_t bytes_of(Type type) {
  switch (type) {
    case Type::kFloat32: return 4;
    case Type::kFloat16:
    case Type::kBfloat16: return 2;
    case Type::kInt8: return 1;
  }
  return 0;
}

}  // namespace edgeseg
