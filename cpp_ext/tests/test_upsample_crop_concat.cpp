// The fused step against the ONNX reference evaluator: every case in every layout that takes it, at several alignments.
//
// Compiled twice: with the kernels compiled for the CPU, where every access is watched (inside its tensor? each output
// written once? each skip element read once?), and with EDGESEG_TEST_ON_DEVICE for a GPU.
#include <cmath>

#include "../kernels/portable.h"
#include "check.h"
#include "memory.h"

using namespace edgeseg;

namespace {

constexpr Layout kLayouts[] = {Layout::kNCHW, Layout::kNHWC, Layout::kHWC8, Layout::kHWC16, Layout::kCHW32};

// By how many elements deep, skip and output start off a 256-byte border.
struct Shift {
  size_t deep, skip, output;
};
constexpr Shift kShifts[] = {{0, 0, 0}, {1, 1, 1}, {0, 1, 0}, {3, 0, 0}, {0, 0, 1}};

#ifndef EDGESEG_TEST_ON_DEVICE
// How often each element is to be read, in NCHW's order: `of_row(y)` times `of_column(x)`.
template <typename OfRow, typename OfColumn>
std::vector<uint8_t> reads(int64_t planes, int64_t height, int64_t width, OfRow of_row, OfColumn of_column) {
  std::vector<uint8_t> times;
  for (int64_t plane = 0; plane < planes; ++plane)
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x) times.push_back(static_cast<uint8_t>(of_row(y) * of_column(x)));
  return times;
}

bool were_read(const Memory& memory, const std::vector<size_t>& where, const std::vector<uint8_t>& times,
               size_t element) {
  bool all = true;
  for (size_t i = 0; i < where.size(); ++i)
    for (size_t byte = 0; byte < element; ++byte) all = all && memory.touched()[where[i] * element + byte] == times[i];
  return all;
}

// Each output is written once, each element of the crop read once, and nothing outside of it. With channels side by
// side an element of deep is read once for each corner of a cell that it is: two a direction, one more at a border,
// which is repeated. (NCHW reads the columns where packs meet again, and those of single outputs: from the cache.)
void check_traffic(const Case& one, Layout layout, const Memory& deep, const std::vector<size_t>& deep_places,
                   const Memory& skip, const std::vector<size_t>& skip_places, const Memory& output) {
  const UpsampleCropConcat& step = one.step;
  const size_t element = static_cast<size_t>(bytes_of(step.type));
  CHECK(output.touched_each(1));
  CHECK(Memory::outside == 0);
  const int64_t top = (step.skip_height - one.height()) / 2, left = (step.skip_width - one.width()) / 2;
  const auto crop = reads(
      step.batch * step.skip_channels, step.skip_height, step.skip_width,
      [&](int64_t y) { return y >= top && y < top + one.height(); },
      [&](int64_t x) { return x >= left && x < left + one.width(); });
  CHECK(were_read(skip, skip_places, crop, element));
  if (layout == Layout::kNCHW) return;
  const bool nearest = step.upsampling == Upsampling::kNearest;
  const auto corners = [&](int64_t size) {
    return [=](int64_t i) { return nearest ? 1 : 2 + (i == 0) + (i == size - 1); };
  };
  const auto cells = reads(step.batch * step.deep_channels, step.deep_height, step.deep_width,
                           corners(step.deep_height), corners(step.deep_width));
  CHECK(were_read(deep, deep_places, cells, element));
}
#endif

// The elements of a 16-bit float in their order, so that neighbours differ by 1.
int ordered(uint16_t bits) { return bits & 0x8000 ? -(bits & 0x7fff) : bits; }

template <typename T>
T at(const Bytes& bytes, size_t index) {
  T value;
  std::memcpy(&value, &bytes[index * sizeof(T)], sizeof(T));
  return value;
}

template <typename T>
bool is_close_16(T got, T expected) {
  return std::abs(ordered(got.bits) - ordered(expected.bits)) <= 1 || std::fabs(widen(got) - widen(expected)) <= 1e-6f;
}

// float32 within some roundings of float arithmetic; 16-bit floats also within one step, since that arithmetic may
// decide which of two neighbours is nearer; int8, and everything that is only moved, exactly.
bool is_close(const Case& one, const Bytes& got, size_t place, size_t i) {
  const size_t element = static_cast<size_t>(bytes_of(one.step.type));
  if (one.step.upsampling == Upsampling::kNearest)
    return std::memcmp(&got[place * element], &one.expected[i * element], element) == 0;
  switch (one.step.type) {
    case Type::kFloat32: {
      const float value = at<float>(got, place), expected = at<float>(one.expected, i);
      return std::fabs(value - expected) <= 1e-6f * std::fmax(1.0f, std::fabs(expected));
    }
    case Type::kFloat16: return is_close_16(at<Half>(got, place), at<Half>(one.expected, i));
    case Type::kBfloat16: return is_close_16(at<Bfloat16>(got, place), at<Bfloat16>(one.expected, i));
    case Type::kInt8: return std::abs(at<int8_t>(got, place) - at<int8_t>(one.expected, i)) <= one.slack[i];
  }
  return false;
}

void run_case(const Case& one, Layout layout, const Shift& shift) {
  const size_t element = static_cast<size_t>(bytes_of(one.step.type));
  UpsampleCropConcat step = one.step;
  step.layout = layout;
  const auto deep_places = places(layout, step.batch, step.deep_channels, step.deep_height, step.deep_width);
  const auto skip_places = places(layout, step.batch, step.skip_channels, step.skip_height, step.skip_width);
  const auto out_places = places(layout, step.batch, one.channels(), one.height(), one.width());
  Memory deep(lay_out(one.deep, deep_places, bytes_of(step.type)), shift.deep * element, Use::kRead);
  Memory skip(lay_out(one.skip, skip_places, bytes_of(step.type)), shift.skip * element, Use::kRead);
  Memory output(Bytes(one.expected.size(), 0xa5), shift.output * element, Use::kWritten);
  if (!CHECK(upsample_crop_concat(step, deep.data(), skip.data(), output.data(), nullptr) == cudaSuccess)) return;
  const Bytes got = output.content();
  size_t wrong = 0;
  for (size_t i = 0; i < out_places.size(); ++i) wrong += !is_close(one, got, out_places[i], i);
  if (!CHECK(wrong == 0))
    std::printf(
        "  type %d layout %d upsampling %d scale %ld batch %ld deep %ldx%ldx%ld skip %ldx%ldx%ld shifts %zu %zu %zu: "
        "%zu of %zu elements\n",
        static_cast<int>(step.type), static_cast<int>(layout), static_cast<int>(step.upsampling), step.scale,
        step.batch, step.deep_channels, step.deep_height, step.deep_width, step.skip_channels, step.skip_height,
        step.skip_width, shift.deep, shift.skip, shift.output, wrong, out_places.size());
#ifndef EDGESEG_TEST_ON_DEVICE
  if (!out_places.empty()) check_traffic(one, layout, deep, deep_places, skip, skip_places, output);
#endif
}

}  // namespace

int main(int, char** arguments) {
  if (const int status = no_device()) return status;
  long runs = 0, elements = 0;
  const std::vector<Case> cases = read_cases(arguments[1]);
  for (const Case& one : cases)
    for (const Layout layout : kLayouts) {
      if (one.step.deep_channels % vector_of(layout) != 0 || one.step.skip_channels % vector_of(layout) != 0) continue;
      for (const Shift& shift : kShifts) {
        run_case(one, layout, shift);
        ++runs;
        elements += static_cast<long>(one.slack.size());
      }
    }
  std::printf("%zu cases in %ld runs, %ld output elements\n", cases.size(), runs, elements);
  return finish("upsample_crop_concat");
}
