// Preprocessing against edgeseg.runtime and cv2: every case byte for byte, rows with and without a gap behind them.
//
// Compiled twice, as test_upsample_crop_concat.cpp.
#include "../kernels/preprocess.h"
#include "check.h"
#include "memory.h"

using namespace edgeseg;

namespace {

struct PictureCase {
  Preprocess step;
  Bytes pixels, chroma, expected;
};

int64_t row_bytes(const Preprocess& step) {
  return step.frame_width * (step.format == PixelFormat::kNV12 ? 1 : step.format == PixelFormat::kYUYV ? 2 : 3);
}

PictureCase read_picture(const Head& head, std::FILE* file) {
  PictureCase one{};
  Preprocess& step = one.step;
  step.format = static_cast<PixelFormat>(head[1]);
  step.frame_height = head[2];
  step.frame_width = head[3];
  step.height = head[5];
  step.width = head[6];
  step.area = fit_area(static_cast<Fit>(head[4]), head[2], head[3], head[5], head[6]);
  step.pitch = step.chroma_pitch = row_bytes(step);
  one.pixels = read_bytes(file, step.frame_height * step.pitch);
  if (step.format == PixelFormat::kNV12) one.chroma = read_bytes(file, step.frame_height / 2 * step.pitch);
  one.expected = read_bytes(file, step.height * step.width * 3);
  return one;
}

// Rows of `bytes`, each followed by a gap of `gap` bytes.
Bytes with_gaps(const Bytes& rows, size_t bytes, size_t gap) {
  Bytes wide(rows.size() / bytes * (bytes + gap), 0xa5);
  for (size_t row = 0; row < rows.size() / bytes; ++row)
    std::memcpy(&wide[row * (bytes + gap)], &rows[row * bytes], bytes);
  return wide;
}

void run_case(const PictureCase& one, size_t gap, size_t shift) {
  Preprocess step = one.step;
  const size_t bytes = static_cast<size_t>(step.pitch);
  step.pitch += static_cast<int64_t>(gap);
  step.chroma_pitch += static_cast<int64_t>(2 * gap);
  std::vector<Tap> table(static_cast<size_t>(count_taps(step)));
  if (!CHECK(!table.empty())) return;
  make_taps(step, table.data());
  Bytes table_bytes(table.size() * sizeof(Tap));
  std::memcpy(table_bytes.data(), table.data(), table_bytes.size());
  const Memory taps(table_bytes, 0, Use::kRead), pixels(with_gaps(one.pixels, bytes, gap), shift, Use::kRead),
      chroma(with_gaps(one.chroma, bytes, 2 * gap), shift, Use::kRead),
      input(Bytes(one.expected.size(), 0xa5), shift, Use::kWritten);
  CHECK(preprocess(step, static_cast<const Tap*>(taps.data()), pixels.data(),
                   one.chroma.empty() ? nullptr : chroma.data(), input.data(), nullptr) == cudaSuccess);
  if (!CHECK(input.content() == one.expected))
    std::printf("  format %d frame %ldx%ld input %ldx%ld area %ld+%ld %ld+%ld gap %zu shift %zu\n",
                static_cast<int>(step.format), step.frame_height, step.frame_width, step.height, step.width,
                step.area.top, step.area.height, step.area.left, step.area.width, gap, shift);
#ifndef EDGESEG_TEST_ON_DEVICE
  CHECK(input.touched_each(1));
  CHECK(Memory::outside == 0);
  bool only_rows = true;
  for (size_t i = 0; i < pixels.touched().size(); ++i)
    only_rows = only_rows && (i % (bytes + gap) < bytes || pixels.touched()[i] == 0);
  CHECK(only_rows);
#endif
}

void check_refusals() {
  alignas(16) Tap taps[64] = {};
  uint8_t bytes[512] = {};
  const Preprocess good{PixelFormat::kBGR, 6, 8, 24, 0, 4, 4, {0, 0, 4, 4}};
  const auto result = [&](auto change) {
    Preprocess step = good;
    change(step);
    CHECK((count_taps(step) == 0) || step.format == PixelFormat::kNV12);
    return preprocess(step, taps, bytes, nullptr, bytes + 256, nullptr);
  };
  CHECK(count_taps(good) == 16);
  CHECK(result([](auto& step) { step.frame_height = 0; }) == cudaErrorInvalidValue);
  CHECK(result([](auto& step) { step.frame_width = kMaxSide + 1; }) == cudaErrorInvalidValue);
  CHECK(result([](auto& step) { step.pitch = 23; }) == cudaErrorInvalidValue);
  CHECK(result([](auto& step) { step.pitch = int64_t{1} << 40; }) == cudaErrorInvalidValue);
  CHECK(result([](auto& step) { step.area.top = 1; }) == cudaErrorInvalidValue);
  CHECK(result([](auto& step) { step.area.left = -1; }) == cudaErrorInvalidValue);
  CHECK(result([](auto& step) { step.area.height = 0; }) == cudaErrorInvalidValue);
  CHECK(result([](auto& step) { step.area.width = int64_t{1} << 40; }) == cudaErrorInvalidValue);
  CHECK(result([](auto& step) { step.format = static_cast<PixelFormat>(9); }) == cudaErrorInvalidValue);
  CHECK(result([](auto& step) {
          step.format = PixelFormat::kYUYV;
          step.frame_width = 7;
        }) == cudaErrorInvalidValue);
  CHECK(result([](auto& step) {
          step.format = PixelFormat::kNV12;
          step.frame_height = 5;
          step.chroma_pitch = 8;
        }) == cudaErrorInvalidValue);
  CHECK(result([](auto& step) { step.format = PixelFormat::kNV12; }) == cudaErrorInvalidValue);
  CHECK(result([](auto& step) {  // no chroma
          step.format = PixelFormat::kNV12;
          step.chroma_pitch = 8;
        }) == cudaErrorInvalidValue);
  CHECK(preprocess(good, nullptr, bytes, nullptr, bytes, nullptr) == cudaErrorInvalidValue);
  CHECK(preprocess(good, taps, nullptr, nullptr, bytes, nullptr) == cudaErrorInvalidValue);
  CHECK(preprocess(good, taps, bytes, nullptr, nullptr, nullptr) == cudaErrorInvalidValue);
  const void* odd = reinterpret_cast<const char*>(taps) + 4;
  CHECK(preprocess(good, static_cast<const Tap*>(odd), bytes, nullptr, bytes, nullptr) == cudaErrorInvalidValue);
}

}  // namespace

int main(int, char** arguments) {
  if (const int status = no_device()) return status;
  long runs = 0, pixels = 0;
  const auto cases = read_file<PictureCase>(arguments[1], read_picture);
  for (const PictureCase& one : cases)
    for (const auto& [gap, shift] : {std::pair<size_t, size_t>{0, 0}, {5, 1}, {16, 3}}) {
      run_case(one, gap, shift);
      ++runs;
      pixels += one.step.height * one.step.width;
    }
  check_refusals();
  std::printf("%zu cases in %ld runs, %ld pixels\n", cases.size(), runs, pixels);
  return finish("preprocess");
}
