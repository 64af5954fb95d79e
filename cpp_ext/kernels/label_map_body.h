// What one thread of the label map does: the outputs of one cell in one output row, all classes, kChunk outputs at a
// time. The four corners of the cell are read once a chunk, so upsampling by 4 reads each logit about four times, from
// the cache.
#pragma once

#include "grid.h"
#include "places.h"

namespace edgeseg {

EDGESEG_DEVICE float widen(int8_t value) { return value; }

template <>
EDGESEG_DEVICE int8_t narrow<int8_t>(float value) {
  return static_cast<int8_t>(value);
}

template <typename T, int kPack, int kChunk>
struct LabelCells {
  const T* logits;
  void* labels;
  View from;
  Extent extent;  // output rows, cells of a row
  int64_t count;
  int height, width, scale, classes, block;  // classes that lie side by side
  bool as_bytes;

  // Where one corner's classes begin.
  struct Corners {
    const T *upper_left, *upper_right, *lower_left, *lower_right;
  };

  // How much of an output the second row (column) makes, and the first.
  struct Weights {
    float first, second;
  };

  EDGESEG_DEVICE void operator()(int64_t block_number, int thread) const {
    const int64_t index = block_number * kThreads + thread;
    if (index >= count) return;
    const Place at = place(extent, index);
    const InCell row = in_cell(at.row, scale);
    const T* image = logits + at.image * from.image;
    const T* upper = image + at_least_0(row.cell - 1) * from.row;
    const T* lower = image + at_most(row.cell, height - 1) * from.row;
    const int64_t left = at_least_0(at.pixel - 1) * from.pixel, right = at_most(at.pixel, width - 1) * from.pixel;
    const Corners corners{upper + left, upper + right, lower + left, lower + right};
    const int first = (at.pixel - 1) * scale + scale / 2;
    for (int k = 0; k < scale; k += kChunk) write_chunk(at, corners, weights(row.k), first, k);
  }

  EDGESEG_DEVICE Weights weights(int k) const {
    const float second = static_cast<float>(part(k, scale)) / static_cast<float>(2 * scale);
    return {1.0f - second, second};
  }

  EDGESEG_DEVICE void write_chunk(const Place& at, const Corners& corners, const Weights& down, int first,
                                  int k) const {
    Weights across[kChunk];
    float best[kChunk];
    int ids[kChunk];
    EDGESEG_UNROLL for (int i = 0; i < kChunk; ++i) {
      across[i] = weights(k + i);
      best[i] = -float_of_bits(0x7f800000u);
      ids[i] = 0;
    }
    int64_t behind = 0;  // of the block's first class
    for (int c = 0; c < classes; c += block, behind += from.block)
      for (int inside = 0; inside < block && c + inside < classes; inside += kPack)
        compare(corners, behind + inside, c + inside, down, across, best, ids);
    EDGESEG_UNROLL for (int i = 0; i < kChunk; ++i) {
      const int x = first + k + i;
      if (k + i < scale && x >= 0 && x < width * scale) write(at, x, ids[i]);
    }
  }

  EDGESEG_DEVICE void compare(const Corners& corners, int64_t behind, int c, const Weights& down,
                              const Weights (&across)[kChunk], float (&best)[kChunk], int (&ids)[kChunk]) const {
    const Pack<T, kPack> packs[4] = {
        load<kPack>(corners.upper_left + behind), load<kPack>(corners.upper_right + behind),
        load<kPack>(corners.lower_left + behind), load<kPack>(corners.lower_right + behind)};
    EDGESEG_UNROLL for (int j = 0; j < kPack; ++j) {
      const float left = widen(packs[0].values[j]) * down.first + widen(packs[2].values[j]) * down.second;
      const float right = widen(packs[1].values[j]) * down.first + widen(packs[3].values[j]) * down.second;
      EDGESEG_UNROLL for (int i = 0; i < kChunk; ++i) {
        const float value = left * across[i].first + right * across[i].second;
        if (value > best[i] && c + j < classes) {
          best[i] = value;
          ids[i] = c + j;
        }
      }
    }
  }

  EDGESEG_DEVICE void write(const Place& at, int x, int id) const {
    const int64_t pixel = (at.image * extent.rows + at.row) * (static_cast<int64_t>(width) * scale) + x;
    if (as_bytes)
      store(static_cast<uint8_t*>(labels) + pixel, Pack<uint8_t, 1>{{static_cast<uint8_t>(id)}});
    else
      store(static_cast<T*>(labels) + pixel, Pack<T, 1>{{narrow<T>(static_cast<float>(id))}});
  }
};

}  // namespace edgeseg
