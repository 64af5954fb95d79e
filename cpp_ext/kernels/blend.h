// The arithmetic of bilinear upsampling for one type: packs of elements to numbers, weighted sums, and back.
//
// An output that lies `part` of 2 * scale steps behind its first neighbour is (2 * scale - part) * first + part *
// second, divided by 2 * scale. Floats are divided by way of their weights. Integers keep the whole numbers of both
// directions and are divided once, by 4 * scale * scale, so that their rounding is exact.
#pragma once

#include "portable.h"

namespace edgeseg {

template <typename T, int kVector, int kScale>
struct Blend {
  struct Numbers {
    float values[kVector];
  };
  static EDGESEG_DEVICE Numbers open(const Pack<T, kVector>& pack) {
    Numbers numbers;
    EDGESEG_UNROLL for (int i = 0; i < kVector; ++i)
      numbers.values[i] = widen(pack.values[i]);
    return numbers;
  }
  static EDGESEG_DEVICE Pack<T, kVector> close(const Numbers& numbers, int /*scale*/) {
    Pack<T, kVector> pack;
    EDGESEG_UNROLL for (int i = 0; i < kVector; ++i)
      pack.values[i] = narrow<T>(numbers.values[i]);
    return pack;
  }
  static EDGESEG_DEVICE float weight(int part, int scale) {
    return static_cast<float>(part) * (1.0f / static_cast<float>(2 * scale));  // one division for all parts
  }
};

// value / divisor, to the nearest, ties to even; divisor is even.
EDGESEG_DEVICE int divide_to_even(int value, int divisor) {
  int quotient = value / divisor, rest = value - quotient * divisor;
  if (rest < 0) {
    quotient -= 1;
    rest += divisor;
  }
  return quotient + ((rest > divisor / 2 || (rest == divisor / 2 && (quotient & 1))) ? 1 : 0);
}

// kMaxScale keeps 128 * 4 * scale^2 within 2^29.
template <int kVector, int kScale>
struct Blend<int8_t, kVector, kScale> {
  struct Numbers {
    int values[kVector];
  };
  static EDGESEG_DEVICE Numbers open(const Pack<int8_t, kVector>& pack) {
    Numbers numbers;
    EDGESEG_UNROLL for (int i = 0; i < kVector; ++i)
      numbers.values[i] = pack.values[i];
    return numbers;
  }
  static EDGESEG_DEVICE Pack<int8_t, kVector> close(const Numbers& numbers, int scale) {
    Pack<int8_t, kVector> pack;
    EDGESEG_UNROLL for (int i = 0; i < kVector; ++i)
      pack.values[i] = static_cast<int8_t>(divide_to_even(numbers.values[i], 4 * scale * scale));
    return pack;
  }
  static EDGESEG_DEVICE int weight(int part, int /*scale*/) { return part; }
};

// Doubling adds 16 weighted bytes, at most 16 * 255: two such sums fit in one register, and no carry crosses between
// them.
template <>
struct Blend<int8_t, 16, 2> {
  struct Numbers {
    uint32_t values[8];  // bytes 0 and 2 of the first word, 1 and 3 of the first word, ...
  };
  static constexpr uint32_t kSigns = 0x80808080u, kBytes = 0x00ff00ffu, kOnes = 0x00010001u;

  static EDGESEG_DEVICE Numbers open(const Pack<int8_t, 16>& pack) {
    uint32_t words[4];
    memcpy(words, &pack, sizeof words);
    Numbers numbers;
    EDGESEG_UNROLL for (int i = 0; i < 4; ++i) {
      const uint32_t word = words[i] ^ kSigns;  // -128 to 127 as 0 to 255
      numbers.values[2 * i] = word & kBytes;
      numbers.values[2 * i + 1] = word >> 8 & kBytes;
    }
    return numbers;
  }
  static EDGESEG_DEVICE Pack<int8_t, 16> close(const Numbers& numbers, int /*scale*/) {
    uint32_t words[4];
    EDGESEG_UNROLL for (int i = 0; i < 4; ++i)
      words[i] = (sixteenth(numbers.values[2 * i]) | sixteenth(numbers.values[2 * i + 1]) << 8) ^ kSigns;
    Pack<int8_t, 16> pack;
    memcpy(&pack, words, sizeof words);
    return pack;
  }
  static EDGESEG_DEVICE uint32_t weight(int part, int /*scale*/) { return static_cast<uint32_t>(part); }

  // Both sums over 16, ties to even: just under half is added, and a little more where the quotient is odd.
  static EDGESEG_DEVICE uint32_t sixteenth(uint32_t sums) {
    return (sums + 7 * kOnes + (sums >> 4 & kOnes)) >> 4 & kBytes;
  }
};

template <typename Numbers, typename Weight>
EDGESEG_DEVICE Numbers mix(const Numbers& first, const Numbers& second, Weight of_first, Weight of_second) {
  Numbers mixed;
  constexpr int kCount = sizeof(Numbers) / sizeof(Weight);
  EDGESEG_UNROLL for (int i = 0; i < kCount; ++i)
    mixed.values[i] = first.values[i] * of_first + second.values[i] * of_second;
  return mixed;
}

}  // namespace edgeseg
