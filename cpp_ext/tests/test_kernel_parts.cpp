// What the sweep cannot reach: conversions over all values, integer rounding over all sums, indices beyond 32 bits, and
// what the launcher refuses. CPU only.
#include <cmath>
#include <initializer_list>
#include <limits>

#include "../kernels/label_map.h"
#include "../kernels/upsample_crop_concat.h"
#include "../kernels/upsample_crop_concat_bodies.h"
#include "check.h"

using namespace edgeseg;

namespace {

// The value of a 16-bit float with `exponent_bits`, by its definition.
double value_of(uint16_t bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits & 0x7fff) >> fraction_bits, fraction = bits & ((1 << fraction_bits) - 1);
  if (exponent == (1 << exponent_bits) - 1)
    return fraction ? std::nan("") : std::copysign(std::numeric_limits<double>::infinity(), bits & 0x8000 ? -1.0 : 1.0);
  const double size = exponent ? std::ldexp(1.0 + std::ldexp(fraction, -fraction_bits), exponent - bias)
                               : std::ldexp(fraction, 1 - bias - fraction_bits);
  return bits & 0x8000 ? -size : size;
}

// Every value is widened exactly and comes back; what lies between two neighbours goes to the nearer, and a tie to the
// even.
template <typename T>
void check_conversions(int exponent_bits) {
  const int top = ((1 << exponent_bits) - 1) << (15 - exponent_bits);  // infinity
  for (int sign = 0; sign <= 0x8000; sign += 0x8000)
    for (int bits = 0; bits <= 0x7fff; ++bits) {
      const T value{static_cast<uint16_t>(sign | bits)};
      const float wide = widen(value);
      const double meant = value_of(value.bits, exponent_bits);
      if (bits > top) {
        CHECK(std::isnan(wide) && std::isnan(widen(narrow<T>(wide))));
        continue;
      }
      CHECK(static_cast<double>(wide) == meant && narrow<T>(wide).bits == value.bits);
      if (bits >= top) continue;
      const T next{static_cast<uint16_t>(value.bits + 1)};
      // Beyond the largest number lies what the next step would be, and it rounds to infinity.
      const double last_step = meant - value_of(static_cast<uint16_t>(value.bits - 1), exponent_bits);
      const double beyond = bits + 1 == top ? meant + last_step : value_of(next.bits, exponent_bits);
      const float middle = static_cast<float>((meant + beyond) / 2);
      if (static_cast<double>(middle) != (meant + beyond) / 2) continue;  // below the smallest float
      CHECK(narrow<T>(middle).bits == (bits % 2 == 0 ? value.bits : next.bits));
      CHECK(narrow<T>(std::nextafter(middle, 0.0f)).bits == value.bits);
      CHECK(narrow<T>(std::nextafter(middle, std::copysign(INFINITY, middle))).bits == next.bits);
    }
}

void check_integer_rounding() {
  for (int divisor : {4, 16, 36, 64, 100, 256})
    for (int value = -128 * divisor; value <= 127 * divisor; ++value)
      CHECK(divide_to_even(value, divisor) == static_cast<int>(std::nearbyint(static_cast<double>(value) / divisor)));
  const int largest = 4 * 1024 * 1024;
  for (int value : {-128 * largest, -128 * largest + largest / 2, largest / 2, 3 * largest / 2, 127 * largest})
    CHECK(divide_to_even(value, largest) == static_cast<int>(std::nearbyint(static_cast<double>(value) / largest)));
  for (int low = 0; low <= 16 * 255; ++low)
    for (int high : {0, 1, 7, 8, 9, 24, 16 * 255 - low, 16 * 255}) {
      const uint32_t both = Blend<int8_t, 16, 2>::sixteenth(static_cast<uint32_t>(high << 16 | low));
      CHECK((both & 0xffffu) == static_cast<uint32_t>(divide_to_even(low, 16)));
      CHECK(both >> 16 == static_cast<uint32_t>(divide_to_even(high, 16)));
    }
}

void check_large_indices() {
  const Extent extent{1000, 3, 70001, 50021, 17};
  const int64_t index = (((999 * int64_t{3} + 2) * 70001 + 69999) * 50021 + 50020) * 17 + 16;
  CHECK(index > int64_t{1} << 47);
  const Place at = place(extent, index);
  CHECK(at.image == 999 && at.block == 2 && at.row == 69999 && at.pixel == 50020 && at.vector == 16);
}

void check_refusals() {
  alignas(16) float deep[64] = {}, skip[64] = {}, output[128] = {};
  const UpsampleCropConcat good{Type::kFloat32, Layout::kNCHW, Upsampling::kBilinear, 2, 1, 1, 2, 2, 1, 4, 4};
  const auto result = [&](const UpsampleCropConcat& step) {
    return upsample_crop_concat(step, deep, skip, output, nullptr);
  };
  const auto changed = [&](auto change) {
    UpsampleCropConcat step = good;
    change(step);
    return result(step);
  };
  CHECK(result(good) == cudaSuccess);
  CHECK(changed([](auto& step) { step.batch = 0; }) == cudaSuccess);
  CHECK(changed([](auto& step) { step.skip_height = 3; }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.skip_width = 3; }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.scale = 0; }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.scale = kMaxScale + 1; }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.batch = -1; }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.deep_channels = -1; }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.layout = Layout::kHWC8; }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.layout = static_cast<Layout>(9); }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.type = static_cast<Type>(9); }) == cudaErrorInvalidValue);
  const int64_t huge = std::numeric_limits<int64_t>::max();
  CHECK(changed([=](auto& step) { step.batch = huge; }) == cudaErrorInvalidValue);
  CHECK(changed([=](auto& step) { step.deep_height = step.skip_height = huge; }) == cudaErrorInvalidValue);
  CHECK(changed([=](auto& step) { step.deep_width = huge / 2; }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.batch = step.deep_channels = 1 << 30; }) == cudaErrorInvalidValue);
  CHECK(upsample_crop_concat(good, nullptr, skip, output, nullptr) == cudaErrorInvalidValue);
  CHECK(upsample_crop_concat(good, deep, nullptr, output, nullptr) == cudaErrorInvalidValue);
  CHECK(upsample_crop_concat(good, deep, skip, nullptr, nullptr) == cudaErrorInvalidValue);
  CHECK(upsample_crop_concat(good, reinterpret_cast<char*>(deep) + 1, skip, output, nullptr) == cudaErrorInvalidValue);
  UpsampleCropConcat alone = good;
  alone.skip_channels = 0;
  CHECK(upsample_crop_concat(alone, deep, nullptr, output, nullptr) == cudaSuccess);
}

// Classes 1 and 3 are equal everywhere and above the others: the first of them is the answer, whatever the layout.
void check_ties() {
  for (const Layout layout : {Layout::kNCHW, Layout::kNHWC}) {
    alignas(16) float logits[4 * 6];
    for (int pixel = 0; pixel < 6; ++pixel)
      for (int c = 0; c < 4; ++c)
        logits[layout == Layout::kNCHW ? c * 6 + pixel : pixel * 4 + c] =
            (c % 2 ? 1.0f : 0.5f) * static_cast<float>(pixel + 1);
    uint8_t ids[6 * 9] = {};
    CHECK(label_map({Type::kFloat32, layout, 3, 1, 4, 2, 3, true}, logits, ids, nullptr) == cudaSuccess);
    for (const uint8_t id : ids) CHECK(id == 1);
  }
}

void check_label_refusals() {
  alignas(16) float logits[64] = {}, labels[64] = {};
  const LabelMap good{Type::kFloat32, Layout::kNCHW, 2, 1, 4, 2, 2, true};
  const auto changed = [&](auto change) {
    LabelMap step = good;
    change(step);
    return label_map(step, logits, labels, nullptr);
  };
  CHECK(changed([](auto&) {}) == cudaSuccess);
  CHECK(changed([](auto& step) { step.batch = 0; }) == cudaSuccess);
  CHECK(changed([](auto& step) { step.batch = -1; }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.classes = 0; }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.classes = kMaxClasses + 1; }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.scale = 0; }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.height = int64_t{1} << 40; }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.height = step.width = 1 << 29; }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) { step.type = static_cast<Type>(9); }) == cudaErrorInvalidValue);
  CHECK(changed([](auto& step) {
          step.type = Type::kInt8;
          step.as_bytes = false;
          step.classes = kMaxClassesInInt8 + 1;
        }) == cudaErrorInvalidValue);
  CHECK(label_map(good, nullptr, labels, nullptr) == cudaErrorInvalidValue);
  CHECK(label_map(good, logits, nullptr, nullptr) == cudaErrorInvalidValue);
  CHECK(label_map(good, reinterpret_cast<char*>(logits) + 2, labels, nullptr) == cudaErrorInvalidValue);
}

}  // namespace

int main() {
  check_conversions<Half>(5);
  check_conversions<Bfloat16>(8);
  check_integer_rounding();
  check_large_indices();
  check_refusals();
  check_label_refusals();
  check_ties();
  return finish("kernel_parts");
}
