// Maps resized, drawn and counted against edgeseg.runtime, edgeseg.drawing and numpy: every case byte for byte.
//
// Compiled twice, as test_upsample_crop_concat.cpp.
#include <cmath>

#include "../kernels/labels.h"
#include "check.h"
#include "memory.h"

using namespace edgeseg;

namespace {

enum class Kind { kNearest, kProbability, kOverlay, kCounts };

struct MapCase {
  Kind kind;
  MapResize step;
  int first;
  double strength;
  std::array<Bytes, 4> parts;  // as make_picture_cases.py has them
};

MapCase read_map(const Head& head, std::FILE* file) {
  MapCase one{};
  one.kind = static_cast<Kind>(head[1]);
  one.step = {head[2], head[3], {head[4], head[5], head[6], head[7]}, head[8], head[9]};
  one.first = static_cast<int>(head[10]);
  one.strength = static_cast<double>(head[11]) / 1000;
  const int64_t map = head[2] * head[3], result = head[8] * head[9];
  const std::array<int64_t, 4> sizes = one.kind == Kind::kNearest       ? std::array<int64_t, 4>{map, result, 0, 0}
                                       : one.kind == Kind::kProbability ? std::array<int64_t, 4>{map, result, result, 0}
                                       : one.kind == Kind::kOverlay
                                           ? std::array<int64_t, 4>{3 * map, map, kIds * 4, 3 * map}
                                           : std::array<int64_t, 4>{map, kIds * 8, 0, 0};
  for (size_t i = 0; i < sizes.size(); ++i) one.parts[i] = read_bytes(file, sizes[i]);
  return one;
}

// What was written: each byte once, and nothing else anywhere.
void check_written([[maybe_unused]] const Memory& memory) {
#ifndef EDGESEG_TEST_ON_DEVICE
  CHECK(memory.touched_each(1));
  CHECK(Memory::outside == 0);
#endif
}

Memory target(size_t size, size_t shift) { return Memory(Bytes(size, 0xa5), shift, Use::kWritten); }

void run_nearest(const MapCase& one, size_t shift) {
  const Memory labels(one.parts[0], shift, Use::kRead), resized = target(one.parts[1].size(), shift);
  CHECK(resize_labels(one.step, labels.data(), resized.data(), nullptr) == cudaSuccess);
  CHECK(resized.content() == one.parts[1]);
  check_written(resized);
}

void run_probability(const MapCase& one, size_t shift) {
  std::vector<Tap> table(static_cast<size_t>(count_taps(one.step)));
  make_taps(one.step, table.data());
  Bytes table_bytes(table.size() * sizeof(Tap));
  std::memcpy(table_bytes.data(), table.data(), table_bytes.size());
  const Memory memory_of_taps(table_bytes, 0, Use::kRead), probability(one.parts[0], shift, Use::kRead);
  const auto* taps = static_cast<const Tap*>(memory_of_taps.data());
  const Memory labels = target(one.parts[1].size(), shift), resized = target(one.parts[2].size(), shift);
  CHECK(resize_probability(one.step, taps, probability.data(), one.first, resized.data(), labels.data(), nullptr) ==
        cudaSuccess);
  CHECK(labels.content() == one.parts[1] && resized.content() == one.parts[2]);
  check_written(labels);
  check_written(resized);
  const Memory alone = target(one.parts[2].size(), shift), ids_alone = target(one.parts[1].size(), shift);
  CHECK(resize_probability(one.step, taps, probability.data(), 0, alone.data(), nullptr, nullptr) == cudaSuccess);
  CHECK(resize_probability(one.step, taps, probability.data(), one.first, nullptr, ids_alone.data(), nullptr) ==
        cudaSuccess);
  CHECK(alone.content() == one.parts[2] && ids_alone.content() == one.parts[1]);
}

void run_overlay(const MapCase& one, size_t shift) {
  const size_t rows = static_cast<size_t>(one.step.height), row = 3 * static_cast<size_t>(one.step.width);
  const int64_t pitch = static_cast<int64_t>(row);
  const Memory labels(one.parts[1], shift, Use::kRead), tints(one.parts[2], 0, Use::kRead);
  const auto* table = static_cast<const Tint*>(tints.data());
  const Overlay step{one.step.height, one.step.width, pitch, pitch, one.strength};
  {
    const Memory image(one.parts[0], shift, Use::kRead), out = target(one.parts[3].size(), shift);
    CHECK(overlay(step, image.data(), labels.data(), table, out.data(), nullptr) == cudaSuccess);
    CHECK(out.content() == one.parts[3]);
    check_written(out);
  }
  // In place, in rows that a gap follows.
  Overlay wide = step;
  wide.pitch = wide.out_pitch = pitch + 7;
  Bytes spread(rows * (row + 7), 0x5a), expected = spread;
  for (size_t y = 0; y < rows; ++y) {
    std::memcpy(&spread[y * (row + 7)], &one.parts[0][y * row], row);
    std::memcpy(&expected[y * (row + 7)], &one.parts[3][y * row], row);
  }
  const Memory both(spread, shift, Use::kBoth);
  CHECK(overlay(wide, both.data(), labels.data(), table, both.data(), nullptr) == cudaSuccess);
  CHECK(both.content() == expected);
}

void run_counts(const MapCase& one, size_t shift) {
  const Memory labels(one.parts[0], shift, Use::kRead), counts(Bytes(kIds * 8, 0), 0, Use::kWritten);
  CHECK(count_labels(one.step.height * one.step.width, labels.data(), counts.data(), nullptr) == cudaSuccess);
  CHECK(counts.content() == one.parts[1]);
  CHECK(count_labels(one.step.height * one.step.width, labels.data(), counts.data(), nullptr) == cudaSuccess);
  const Bytes twice = counts.content();
  for (size_t i = 0; i < kIds; ++i) {
    uint64_t once, sum;
    std::memcpy(&once, &one.parts[1][8 * i], 8);
    std::memcpy(&sum, &twice[8 * i], 8);
    CHECK(sum == 2 * once);
  }
}

void run_case(const MapCase& one, size_t shift) {
  const long failed = checks_failed;
  switch (one.kind) {
    case Kind::kNearest: run_nearest(one, shift); break;
    case Kind::kProbability: run_probability(one, shift); break;
    case Kind::kOverlay: run_overlay(one, shift); break;
    case Kind::kCounts: run_counts(one, shift); break;
  }
  if (checks_failed > failed)
    std::printf("  kind %d map %ldx%ld area %ld+%ld %ld+%ld result %ldx%ld first %d strength %g shift %zu\n",
                static_cast<int>(one.kind), one.step.map_height, one.step.map_width, one.step.area.top,
                one.step.area.height, one.step.area.left, one.step.area.width, one.step.height, one.step.width,
                one.first, one.strength, shift);
}

// None of these is launched.
void check_refusals() {
  alignas(16) Tap taps[32] = {};
  alignas(16) uint8_t bytes[2048] = {};
  alignas(8) uint64_t counts[kIds] = {};
  const MapResize good{4, 4, {0, 0, 4, 4}, 8, 8};
  const auto refused = [&](auto change) {
    MapResize step = good;
    change(step);
    return count_taps(step) == 0 && resize_labels(step, bytes, bytes, nullptr) == cudaErrorInvalidValue &&
           resize_probability(step, taps, bytes, 128, bytes, nullptr, nullptr) == cudaErrorInvalidValue;
  };
  CHECK(count_taps(good) == 16);
  CHECK(refused([](auto& step) { step.map_height = 0; }));
  CHECK(refused([](auto& step) { step.width = kMaxSide + 1; }));
  CHECK(refused([](auto& step) { step.height = -1; }));
  CHECK(refused([](auto& step) { step.area.left = 1; }));
  CHECK(refused([](auto& step) { step.area.height = int64_t{1} << 62; }));
  CHECK(resize_labels(good, nullptr, bytes, nullptr) == cudaErrorInvalidValue);
  CHECK(resize_labels(good, bytes, nullptr, nullptr) == cudaErrorInvalidValue);
  CHECK(resize_probability(good, taps, bytes, 128, nullptr, nullptr, nullptr) == cudaErrorInvalidValue);
  CHECK(resize_probability(good, taps, bytes, 257, bytes, nullptr, nullptr) == cudaErrorInvalidValue);
  CHECK(resize_probability(good, nullptr, bytes, 128, bytes, nullptr, nullptr) == cudaErrorInvalidValue);
  const auto* tints = reinterpret_cast<const Tint*>(bytes);
  const auto drawn = [&](const Overlay& step, const Tint* table) {
    return overlay(step, bytes, bytes, table, bytes + 1024, nullptr);
  };
  CHECK(drawn({2, 2, 5, 6, 0.5}, tints) == cudaErrorInvalidValue);
  CHECK(drawn({2, 2, 6, 5, 0.5}, tints) == cudaErrorInvalidValue);
  CHECK(drawn({0, 2, 6, 6, 0.5}, tints) == cudaErrorInvalidValue);
  CHECK(drawn({2, 2, 6, 6, 1.5}, tints) == cudaErrorInvalidValue);
  CHECK(drawn({2, 2, 6, 6, std::nan("")}, tints) == cudaErrorInvalidValue);
  CHECK(drawn({2, 2, 6, 6, 0.5}, nullptr) == cudaErrorInvalidValue);
  CHECK(count_labels(0, nullptr, nullptr, nullptr) == cudaSuccess);
  CHECK(count_labels(-1, bytes, counts, nullptr) == cudaErrorInvalidValue);
  CHECK(count_labels(4, nullptr, counts, nullptr) == cudaErrorInvalidValue);
  CHECK(count_labels(4, bytes, reinterpret_cast<char*>(counts) + 4, nullptr) == cudaErrorInvalidValue);
}

}  // namespace

int main(int, char** arguments) {
  if (const int status = no_device()) return status;
  const auto cases = read_file<MapCase>(arguments[1], read_map);
  for (const MapCase& one : cases)
    for (const size_t shift : {0, 1, 4}) run_case(one, shift);
  check_refusals();
  std::printf("%zu cases, each at 3 alignments\n", cases.size());
  return finish("labels");
}
