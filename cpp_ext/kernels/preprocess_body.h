// What one thread of preprocessing does: one pixel of the model's input.
#pragma once

#include "grid.h"
#include "pixel_tables.h"

namespace edgeseg {

struct Colour {
  int blue, green, red;
};

EDGESEG_DEVICE int in_byte(int value) { return value < 0 ? 0 : value > 255 ? 255 : value; }

// BT.601 in 1 / 2^20, rounded, as OpenCV has it.
EDGESEG_DEVICE Colour of_yuv(int y, int u, int v) {
  const int light = (y < 16 ? 0 : y - 16) * 1220542 + (1 << 19), blueness = u - 128, redness = v - 128;
  return {in_byte((light + 2116026 * blueness) >> 20), in_byte((light - 852492 * redness - 409993 * blueness) >> 20),
          in_byte((light + 1673527 * redness) >> 20)};
}

// The formats' pixels: `at(row, column)` is the colour of one.
struct Source {
  const uint8_t *pixels, *chroma;
  int64_t pitch, chroma_pitch;
};

struct FromBgr : Source {
  EDGESEG_DEVICE Colour at(int row, int column) const {
    const uint8_t* pixel = pixels + row * pitch + 3 * column;
    return {read(pixel), read(pixel + 1), read(pixel + 2)};
  }
};

struct FromRgb : Source {
  EDGESEG_DEVICE Colour at(int row, int column) const {
    const uint8_t* pixel = pixels + row * pitch + 3 * column;
    return {read(pixel + 2), read(pixel + 1), read(pixel)};
  }
};

struct FromNv12 : Source {
  EDGESEG_DEVICE Colour at(int row, int column) const {
    const uint8_t* pair = chroma + (row / 2) * chroma_pitch + column / 2 * 2;
    return of_yuv(read(pixels + row * pitch + column), read(pair), read(pair + 1));
  }
};

struct FromYuyv : Source {
  EDGESEG_DEVICE Colour at(int row, int column) const {
    const uint8_t *line = pixels + row * pitch, *pair = line + column / 2 * 4;
    return of_yuv(read(line + 2 * column), read(pair + 1), read(pair + 3));
  }
};

template <typename From, bool kAverages>
struct PreprocessPixels {
  From from;
  const Tap *rows, *columns;
  uint8_t* input;
  int64_t count;
  uint32_t width;
  int top, left, area_height, area_width;
  uint8_t border;

  EDGESEG_DEVICE void operator()(int64_t block, int thread) const {
    const int64_t index = block * kThreads + thread;
    if (index >= count) return;
    const Quotient at = divide(static_cast<uint64_t>(index), width);
    const int y = static_cast<int>(at.quotient) - top, x = static_cast<int>(at.remainder) - left;
    const bool inside = y >= 0 && y < area_height && x >= 0 && x < area_width;
    const Colour colour = inside ? sampled(y, x) : Colour{border, border, border};
    uint8_t* pixel = input + 3 * index;
    store(pixel, Pack<uint8_t, 1>{{static_cast<uint8_t>(colour.blue)}});
    store(pixel + 1, Pack<uint8_t, 1>{{static_cast<uint8_t>(colour.green)}});
    store(pixel + 2, Pack<uint8_t, 1>{{static_cast<uint8_t>(colour.red)}});
  }

  EDGESEG_DEVICE Colour sampled(int y, int x) const {
    if constexpr (kAverages) {
      Colour sum{2, 2, 2};
      EDGESEG_UNROLL for (int i = 0; i < 4; ++i) {
        const Colour one = between(read(rows + 2 * y + i / 2), read(columns + 2 * x + i % 2));
        sum.blue += one.blue;
        sum.green += one.green;
        sum.red += one.red;
      }
      return {sum.blue >> 2, sum.green >> 2, sum.red >> 2};
    } else {
      return between(read(rows + y), read(columns + x));
    }
  }

  EDGESEG_DEVICE Colour between(const Tap& row, const Tap& column) const {
    const Colour upper = along(row.first, column), lower = along(row.second, column);
    return {down(row, upper.blue, lower.blue), down(row, upper.green, lower.green), down(row, upper.red, lower.red)};
  }

  EDGESEG_DEVICE Colour along(int row, const Tap& column) const {
    const Colour first = from.at(row, column.first), second = from.at(row, column.second);
    return {across(column, first.blue, second.blue), across(column, first.green, second.green),
            across(column, first.red, second.red)};
  }
};

}  // namespace edgeseg
