// Where a thread's work lies: from its number to an image, a block of channels, a row and a pixel.
#pragma once

#include "portable.h"

namespace edgeseg {

// Distances, in elements, from one [image, block of channels, row, pixel] to the next.
struct View {
  int64_t image, block, row, pixel;
};

// How many of each there are to work on.
struct Extent {
  int64_t images;
  uint32_t blocks, rows, pixels, vectors;
};

struct Place {
  int64_t image;
  int block, row, pixel, vector;
};

EDGESEG_DEVICE Place place(const Extent& extent, int64_t index) {
  const Quotient pixel = divide(static_cast<uint64_t>(index), extent.vectors);
  const Quotient row = divide(pixel.quotient, extent.pixels);
  const Quotient block = divide(row.quotient, extent.rows);
  const Quotient image = divide(block.quotient, extent.blocks);
  return {static_cast<int64_t>(image.quotient), static_cast<int>(image.remainder), static_cast<int>(block.remainder),
          static_cast<int>(row.remainder), static_cast<int>(pixel.remainder)};
}

EDGESEG_DEVICE int64_t offset(const View& view, const Place& at) {
  return at.image * view.image + at.block * view.block;
}

EDGESEG_DEVICE int at_least_0(int value) { return value < 0 ? 0 : value; }
EDGESEG_DEVICE int at_most(int value, int limit) { return value > limit ? limit : value; }

// Bilinear upsampling goes by cells. Cell (i, j) is the square between the centres of input pixels (i, j) and
// (i + 1, j + 1); its outputs, scale x scale of them from row scale * i + scale / 2 on, need those four inputs and no
// others. Cells stick out half at the borders: i runs from -1 to height - 1.
//
// How far the k-th output of a cell lies behind the cell's corner, in steps of 1 / (2 * scale):
EDGESEG_DEVICE int part(int k, int scale) { return 2 * k + 1 - (scale & 1); }

// Which cell an output row (or column) belongs to, counted from cell -1 on, and its number in there.
struct InCell {
  int cell, k;
};

EDGESEG_DEVICE InCell in_cell(int y, int scale) {
  const int ahead = y + scale - scale / 2, cell = ahead / scale;  // so many outputs of cell -1 lie outside
  return {cell, ahead - cell * scale};
}

}  // namespace edgeseg
