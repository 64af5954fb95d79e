// Frames of a camera or decoder on the device, where they lie in a model's input, and what a resize to there and back
// reads.
#pragma once

#include <cstdint>

#include "pixel_tables.h"

namespace edgeseg {

constexpr int64_t kMaxSide = 32767;  // of a picture or a map: products of two, and of table entries, stay small

enum class PixelFormat {
  kBGR,   // [H, W, 3], as OpenCV hands frames over
  kRGB,   // [H, W, 3]
  kNV12,  // luma [H, W] and, of every 2 x 2 pixels, a pair of chroma [H / 2, W / 2, 2]; both sides even
  kYUYV,  // [H, W / 2, 4]: two pixels' luma, with one pair of chroma; columns even
};

enum class Fit { kStretch, kLetterbox };

// Rows and columns of the model's input that show the frame.
struct Area {
  int64_t top, left, height, width;
};

// The area as edgeseg/runtime/geometry.py has it: all of the input, or the largest of the frame's proportions, centred;
// an odd pixel of the border goes below or to the right. Sizes are from 1 to kMaxSide.
Area fit_area(Fit fit, int64_t frame_height, int64_t frame_width, int64_t height, int64_t width);

enum class Axis { kRows, kColumns };

// The `outputs` taps of a resize from `inputs` rows or columns, into the host's memory. Sizes are from 1 to kMaxSide.
void make_taps(Axis axis, int64_t inputs, int64_t outputs, Tap* taps);

inline bool is_side(int64_t size) { return size >= 1 && size <= kMaxSide; }

inline bool lies_inside(const Area& area, int64_t height, int64_t width) {
  return is_side(area.height) && is_side(area.width) && area.top >= 0 && area.left >= 0 &&
         area.top <= height - area.height && area.left <= width - area.width;
}

}  // namespace edgeseg
