// What one thread of the maps' kernels does: a pack of outputs in one row, one pixel of a picture, a run of labels.
#pragma once

#include "grid.h"
#include "pixel_tables.h"

namespace edgeseg {

// floor((2 * output + 1) * inputs / (2 * outputs)), exactly, for sides up to kMaxSide: the input under the output's
// centre. `step` is 2^kBits * inputs / (2 * outputs), rounded up, which is off by less than the next whole number is
// away.
struct NearestAxis {
  static constexpr int kBits = 40;
  int64_t step;

  EDGESEG_DEVICE int operator()(int output) const { return static_cast<int>((2 * output + 1) * step >> kBits); }
};

// Packs of a row, row by row.
template <int kPack>
struct Packs {
  int64_t count;
  uint32_t in_row;

  struct At {
    int row, column;
  };
  EDGESEG_DEVICE At at(int64_t index) const {
    const Quotient row = divide(static_cast<uint64_t>(index), in_row);
    return {static_cast<int>(row.quotient), static_cast<int>(row.remainder) * kPack};
  }
};

template <int kVector>
struct NearestLabels {
  static constexpr int kPack = kVector;
  Packs<kPack> packs;
  const uint8_t* labels;
  uint8_t* resized;
  int64_t map_width;
  NearestAxis rows, columns;

  EDGESEG_DEVICE void operator()(int64_t block, int thread) const {
    const int64_t index = block * kThreads + thread;
    if (index >= packs.count) return;
    const auto at = packs.at(index);
    const uint8_t* row = labels + rows(at.row) * map_width;
    Pack<uint8_t, kPack> pack;
    EDGESEG_UNROLL for (int i = 0; i < kPack; ++i)
      pack.values[i] = read(row + columns(at.column + i));
    store(resized + index * kPack, pack);
  }
};

template <int kVector>
struct BilinearProbability {
  static constexpr int kPack = kVector;
  Packs<kPack> packs;
  const uint8_t* probability;
  uint8_t *resized, *labels;
  int64_t map_width;
  const Tap *rows, *columns;
  int first;

  EDGESEG_DEVICE void operator()(int64_t block, int thread) const {
    const int64_t index = block * kThreads + thread;
    if (index >= packs.count) return;
    const auto at = packs.at(index);
    const Tap row = read(rows + at.row);
    Pack<uint8_t, kPack> values, ids;
    EDGESEG_UNROLL for (int i = 0; i < kPack; ++i) {
      const Tap column = read(columns + at.column + i);
      const int value = down(row, along(row.first, column), along(row.second, column));
      values.values[i] = static_cast<uint8_t>(value);
      ids.values[i] = value >= first ? 1 : 0;
    }
    if (resized) store(resized + index * kPack, values);
    if (labels) store(labels + index * kPack, ids);
  }

  EDGESEG_DEVICE int along(int row, const Tap& column) const {
    const uint8_t* line = probability + row * map_width;
    return across(column, read(line + column.first), read(line + column.second));
  }
};

struct TintPixels {
  const uint8_t *image, *labels;
  const Tint* tints;
  uint8_t* out;
  int64_t pitch, out_pitch, count;
  uint32_t width;
  float of_image, of_tint;

  EDGESEG_DEVICE void operator()(int64_t block, int thread) const {
    const int64_t index = block * kThreads + thread;
    if (index >= count) return;
    const Quotient at = divide(static_cast<uint64_t>(index), width);
    const int64_t row = static_cast<int64_t>(at.quotient), column = 3 * static_cast<int64_t>(at.remainder);
    const uint8_t* from = image + row * pitch + column;
    uint8_t* to = out + row * out_pitch + column;
    const Tint tint = read(tints + read(labels + index));
    const uint8_t colours[3] = {tint.blue, tint.green, tint.red};
    EDGESEG_UNROLL for (int i = 0; i < 3; ++i) {
      const uint8_t value = read(from + i);
      store(to + i, Pack<uint8_t, 1>{{tint.drawn ? mixed(value, colours[i]) : value}});
    }
  }

  // cv2.addWeighted where the processor has fused multiply-add: the tint rounded, then the sum, then to a whole number.
  EDGESEG_DEVICE uint8_t mixed(uint8_t value, uint8_t colour) const {
    return static_cast<uint8_t>(to_nearest(multiply_add(value, of_image, colour * of_tint)));
  }
};

// Labels lie in runs of one id, so that a thread adds to few counters.
template <int kVector>
struct CountLabels {
  static constexpr int kPack = kVector, kPixels = 128;  // a thread
  const uint8_t* labels;
  uint64_t* counts;
  int64_t count;

  EDGESEG_DEVICE void operator()(int64_t block, int thread) const {
    int64_t index = (block * kThreads + thread) * kPixels;
    if (index >= count) return;
    const int64_t last = index + kPixels < count ? index + kPixels : count;
    Run run{read(labels + index), 0};
    for (; index + kPack <= last; index += kPack) {
      const Pack<uint8_t, kPack> pack = load<kPack>(labels + index);
      EDGESEG_UNROLL for (int i = 0; i < kPack; ++i)
        add(run, pack.values[i]);
    }
    for (; index < last; ++index) add(run, read(labels + index));
    add_atomically(counts + run.id, run.length);
  }

  struct Run {
    int id;
    uint64_t length;
  };

  EDGESEG_DEVICE void add(Run& run, int id) const {
    if (id != run.id) {
      if (run.length) add_atomically(counts + run.id, run.length);
      run = {id, 0};
    }
    ++run.length;
  }
};

}  // namespace edgeseg
