// Tables that the host makes once and kernels read: taps of a bilinear resize, tints of classes.
//
// The resize is OpenCV's on bytes, cv2.resize(INTER_LINEAR): weights in 1 / 2048, columns first, rows after a shift by
// 4, truncated twice. So a map or picture that is resized here is the one that cv2 gives, byte for byte.
#pragma once

#include "portable.h"

namespace edgeseg {

// One output row (or column): its two neighbours, and how much of it each makes.
struct alignas(16) Tap {
  int32_t first, second, of_first, of_second;
};

// A class's tint; `drawn` 0 leaves its pixels as they are, as the background's are to be.
struct alignas(4) Tint {
  uint8_t blue, green, red, drawn;
};

// Two neighbours in a row, in 1 / 2048.
EDGESEG_DEVICE int across(const Tap& column, int first, int second) {
  return first * column.of_first + second * column.of_second;
}

// Two such sums, of two rows, as a byte.
EDGESEG_DEVICE int down(const Tap& row, int upper, int lower) {
  return ((row.of_first * (upper >> 4) >> 16) + (row.of_second * (lower >> 4) >> 16) + 2) >> 2;
}

}  // namespace edgeseg
