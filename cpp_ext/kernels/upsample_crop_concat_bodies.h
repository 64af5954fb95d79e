// What one thread of the fused step does. Two families, each of whole 16-byte packs or of single elements:
//
//   ...Blocks   channels lie side by side (NHWC and the vectorised layouts): a thread moves a pack of channels
//   ...Rows     NCHW: a thread moves a pack of columns
//
// A thread of bilinear upsampling reads a cell's corners (places.h) once and writes all its outputs.
#pragma once

#include "blend.h"
#include "grid.h"
#include "places.h"

namespace edgeseg {

// The skip's middle, moved four rows a thread. `extent.rows` counts such fours.
template <typename T, int kVector>
struct Copy {
  static constexpr int kRows = 4;
  const T* source;
  T* target;
  View from, to;
  Extent extent;
  int64_t count;
  int rows;
  bool aligned;  // the source too can be read in packs

  EDGESEG_DEVICE void operator()(int64_t index) const {
    if (index >= count) return;
    const Place at = place(extent, index);
    const int first = at.row * kRows;
    const T* in = source + offset(from, at) + first * from.row + at.pixel * from.pixel + at.vector * kVector;
    T* out = target + offset(to, at) + first * to.row + at.pixel * to.pixel + at.vector * kVector;
    if (aligned) {
      Pack<T, kVector> packs[kRows];  // all on their way before the first is needed
      EDGESEG_UNROLL for (int i = 0; i < kRows; ++i)
        if (first + i < rows) packs[i] = load<kVector>(in + i * from.row);
      EDGESEG_UNROLL for (int i = 0; i < kRows; ++i)
        if (first + i < rows) store(out + i * to.row, packs[i]);
    } else {
      EDGESEG_NO_UNROLL for (int i = 0; i < kRows && first + i < rows; ++i)
        store(out + i * to.row, gather(in + i * from.row));
    }
  }

  static EDGESEG_DEVICE Pack<T, kVector> gather(const T* in) {
    Pack<T, kVector> pack;
    EDGESEG_UNROLL for (int i = 0; i < kVector; ++i)
      pack.values[i] = read(in + i);
    return pack;
  }
};

// What `extent.rows` and `extent.pixels` of an upsampling body count.
enum class Works { kByInput, kByCell, kByOutput };

// What upsampling bodies share.
template <typename T>
struct Grow {
  const T* source;
  T* target;
  View from, to;
  Extent extent;
  int64_t count;
  int height, width, scale;  // of the input; output over input
};

// Each input, in packs of channels (or of an output's columns), goes to a square of outputs (or a column of packs).
template <typename T, int kVector, bool kPlanar>
struct Nearest : Grow<T> {
  using Element = T;
  static constexpr int kPack = kVector;
  static constexpr Works kWorks = Works::kByInput;

  EDGESEG_DEVICE void operator()(int64_t index) const {
    if (index >= this->count) return;
    const Place at = place(this->extent, index);
    const int across = kPlanar ? 1 : this->scale;
    const T* in = this->source + offset(this->from, at) + at.row * this->from.row + at.pixel * this->from.pixel;
    const Pack<T, kVector> pack = pack_of(in, at.vector * kVector);
    T* out = this->target + offset(this->to, at) + at.vector * kVector;
    for (int y = at.row * this->scale; y < (at.row + 1) * this->scale; ++y)
      for (int x = at.pixel * across; x < (at.pixel + 1) * across; ++x)
        store(out + y * this->to.row + x * this->to.pixel, pack);
  }

  EDGESEG_DEVICE Pack<T, kVector> pack_of(const T* in, int first) const {
    if constexpr (kPlanar) {
      Pack<T, kVector> pack;
      EDGESEG_UNROLL for (int i = 0; i < kVector; ++i)
        pack.values[i] = read(in + (first + i) / this->scale);
      return pack;
    } else {
      return load<kVector>(in + first);
    }
  }
};

template <typename Arithmetic, typename Numbers>
EDGESEG_DEVICE Numbers between(const Numbers& first, const Numbers& second, int k, int scale) {
  return mix(first, second, Arithmetic::weight(2 * scale - part(k, scale), scale),
             Arithmetic::weight(part(k, scale), scale));
}

// kScale 0 reads the scale at run time.
template <typename T, int kVector, int kScale>
struct BilinearBlocks : Grow<T> {
  using Element = T;
  using Arithmetic = Blend<T, kVector, kScale>;
  using Numbers = typename Arithmetic::Numbers;
  static constexpr int kPack = kVector;
  static constexpr Works kWorks = Works::kByCell;

  EDGESEG_DEVICE void operator()(int64_t index) const {
    if (index >= this->count) return;
    const Place at = place(this->extent, index);
    const int scale = kScale ? kScale : this->scale;
    const int64_t left = at_least_0(at.pixel - 1) * this->from.pixel;
    const int64_t right = at_most(at.pixel, this->width - 1) * this->from.pixel;
    const T* in = this->source + offset(this->from, at) + at.vector * kVector;
    const T* upper = in + at_least_0(at.row - 1) * this->from.row;
    const T* lower = in + at_most(at.row, this->height - 1) * this->from.row;
    const Pack<T, kVector> packs[4] = {load<kVector>(upper + left), load<kVector>(upper + right),
                                       load<kVector>(lower + left), load<kVector>(lower + right)};
    const Numbers corners[4] = {Arithmetic::open(packs[0]), Arithmetic::open(packs[1]), Arithmetic::open(packs[2]),
                                Arithmetic::open(packs[3])};
    EDGESEG_UNROLL for (int k = 0; k < scale; ++k) {
      const int y = (at.row - 1) * scale + scale / 2 + k;
      if (y < 0 || y >= this->height * scale) continue;
      write_row(at, y, between<Arithmetic>(corners[0], corners[2], k, scale),
                between<Arithmetic>(corners[1], corners[3], k, scale));
    }
  }

  EDGESEG_DEVICE void write_row(const Place& at, int y, const Numbers& left, const Numbers& right) const {
    const int scale = kScale ? kScale : this->scale;
    T* out = this->target + offset(this->to, at) + y * this->to.row + at.vector * kVector;
    EDGESEG_UNROLL for (int k = 0; k < scale; ++k) {
      const int x = (at.pixel - 1) * scale + scale / 2 + k;
      if (x < 0 || x >= this->width * scale) continue;
      const Numbers value = between<Arithmetic>(left, right, k, scale);
      store(out + x * this->to.pixel, Arithmetic::close(value, scale));
    }
  }
};

// The columns under a pack are read once and serve every output of their cells.
template <typename T, int kVector, int kScale>
struct BilinearRows : Grow<T> {
  using Element = T;
  using Arithmetic = Blend<T, 1, kScale>;
  using Numbers = typename Arithmetic::Numbers;
  static constexpr int kPack = kVector, kColumns = kVector / kScale + 2, kFirst = kScale / 2;
  static constexpr Works kWorks = Works::kByCell;
  static_assert(kVector % kScale == 0, "a pack starts at a cell's middle");

  EDGESEG_DEVICE void operator()(int64_t index) const {
    if (index >= this->count) return;
    const Place at = place(this->extent, index);
    const T* in = this->source + offset(this->from, at);
    const T* upper = in + at_least_0(at.row - 1) * this->from.row;
    const T* lower = in + at_most(at.row, this->height - 1) * this->from.row;
    Numbers above[kColumns], below[kColumns];
    EDGESEG_UNROLL for (int i = 0; i < kColumns; ++i) {
      const int column = at_most(at_least_0(at.vector * (kVector / kScale) - 1 + i), this->width - 1);
      above[i] = Arithmetic::open(load<1>(upper + column));
      below[i] = Arithmetic::open(load<1>(lower + column));
    }
    EDGESEG_UNROLL for (int k = 0; k < kScale; ++k) {
      const int y = (at.row - 1) * kScale + kFirst + k;
      if (y < 0 || y >= this->height * kScale) continue;
      Numbers columns[kColumns];
      EDGESEG_UNROLL for (int i = 0; i < kColumns; ++i)
        columns[i] = between<Arithmetic>(above[i], below[i], k, kScale);
      Pack<T, kVector> pack;
      EDGESEG_UNROLL for (int i = 0; i < kVector; ++i) {
        const int cell = (i + kScale - kFirst) / kScale, inside = (i + kScale - kFirst) % kScale;
        const Numbers value = between<Arithmetic>(columns[cell], columns[cell + 1], inside, kScale);
        pack.values[i] = Arithmetic::close(value, kScale).values[0];
      }
      store(this->target + offset(this->to, at) + y * this->to.row + at.vector * kVector, pack);
    }
  }
};

// For other scales, or where no pack fits: each output asks the cache for its own four inputs.
template <typename T, int kVector>
struct BilinearOutputs : Grow<T> {
  using Element = T;
  using Arithmetic = Blend<T, 1, 0>;
  using Numbers = typename Arithmetic::Numbers;
  static constexpr int kPack = kVector;
  static constexpr Works kWorks = Works::kByOutput;

  EDGESEG_DEVICE void operator()(int64_t index) const {
    if (index >= this->count) return;
    const Place at = place(this->extent, index);
    const InCell row = in_cell(at.row, this->scale);
    const T* in = this->source + offset(this->from, at);
    const T* upper = in + at_least_0(row.cell - 1) * this->from.row;
    const T* lower = in + at_most(row.cell, this->height - 1) * this->from.row;
    Pack<T, kVector> pack;
    EDGESEG_UNROLL for (int i = 0; i < kVector; ++i) {
      const InCell x = in_cell(at.vector * kVector + i, this->scale);
      const Numbers near = column(upper, lower, at_least_0(x.cell - 1), row.k);
      const Numbers far = column(upper, lower, at_most(x.cell, this->width - 1), row.k);
      const Numbers value = between<Arithmetic>(near, far, x.k, this->scale);
      pack.values[i] = Arithmetic::close(value, this->scale).values[0];
    }
    store(this->target + offset(this->to, at) + at.row * this->to.row + at.vector * kVector, pack);
  }

  EDGESEG_DEVICE Numbers column(const T* upper, const T* lower, int x, int k) const {
    return between<Arithmetic>(Arithmetic::open(load<1>(upper + x)), Arithmetic::open(load<1>(lower + x)), k,
                               this->scale);
  }
};

// The whole step: the first blocks of the grid copy, the others upsample.
template <typename Growing>
struct Fused {
  Copy<typename Growing::Element, Growing::kPack> copy;
  Growing grow;
  int64_t copy_blocks;

  EDGESEG_DEVICE void operator()(int64_t block, int thread) const {
    if (block < copy_blocks)
      copy(block * kThreads + thread);
    else
      grow((block - copy_blocks) * kThreads + thread);
  }
};

}  // namespace edgeseg
