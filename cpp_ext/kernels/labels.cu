// Chooses the bodies that fit sizes and alignment, and launches them.
#include <algorithm>

#include "labels.h"
#include "labels_bodies.h"
#include "limits.h"

namespace edgeseg {
namespace {

bool are_sound(const MapResize& step) {
  return is_side(step.map_height) && is_side(step.map_width) && is_side(step.height) && is_side(step.width) &&
         lies_inside(step.area, step.map_height, step.map_width);
}

const uint8_t* area_of(const MapResize& step, const void* map) {
  return static_cast<const uint8_t*>(map) + step.area.top * step.map_width + step.area.left;
}

NearestAxis nearest_axis(int64_t inputs, int64_t outputs) {
  return {((inputs << NearestAxis::kBits) + 2 * outputs - 1) / (2 * outputs)};
}

// Launches a body that writes packs of a row.
template <typename Body>
cudaError_t launch_packs(Body& body, const MapResize& step, cudaStream_t stream) {
  body.packs.in_row = static_cast<uint32_t>(step.width / Body::kPack);
  body.packs.count = step.height * body.packs.in_row;
  body.map_width = step.map_width;
  return launch(body, blocks_for(body.packs.count), stream);
}

template <int kPack>
cudaError_t run_nearest(const MapResize& step, const void* labels, void* resized, cudaStream_t stream) {
  NearestLabels<kPack> body{};
  body.labels = area_of(step, labels);
  body.resized = static_cast<uint8_t*>(resized);
  body.rows = nearest_axis(step.area.height, step.height);
  body.columns = nearest_axis(step.area.width, step.width);
  return launch_packs(body, step, stream);
}

template <int kPack>
cudaError_t run_bilinear(const MapResize& step, const Tap* taps, const void* probability, int first, void* resized,
                         void* labels, cudaStream_t stream) {
  BilinearProbability<kPack> body{};
  body.probability = area_of(step, probability);
  body.resized = static_cast<uint8_t*>(resized);
  body.labels = static_cast<uint8_t*>(labels);
  body.rows = taps;
  body.columns = taps + step.height;
  body.first = first;
  return launch_packs(body, step, stream);
}

template <int kPack>
cudaError_t run_count(int64_t pixels, const void* labels, void* counts, cudaStream_t stream) {
  using Body = CountLabels<kPack>;
  const Body body{static_cast<const uint8_t*>(labels), static_cast<uint64_t*>(counts), pixels};
  return launch(body, blocks_for((pixels + Body::kPixels - 1) / Body::kPixels), stream);
}

}  // namespace

cudaError_t resize_labels(const MapResize& step, const void* labels, void* resized, cudaStream_t stream) {
  if (!are_sound(step) || !labels || !resized) return cudaErrorInvalidValue;
  if (step.width % kPackBytes == 0 && is_multiple(resized, kPackBytes))
    return run_nearest<kPackBytes>(step, labels, resized, stream);
  return run_nearest<1>(step, labels, resized, stream);
}

int64_t count_taps(const MapResize& step) { return are_sound(step) ? step.height + step.width : 0; }

void make_taps(const MapResize& step, Tap* taps) {
  make_taps(Axis::kRows, step.area.height, step.height, taps);
  make_taps(Axis::kColumns, step.area.width, step.width, taps + step.height);
}

cudaError_t resize_probability(const MapResize& step, const Tap* taps, const void* probability, int first,
                               void* resized, void* labels, cudaStream_t stream) {
  constexpr int kPack = 4;  // each output reads a tap of its own
  if (!are_sound(step) || !taps || !is_multiple(taps, sizeof(Tap)) || !probability || (!resized && !labels) ||
      first < 0 || first > kIds)
    return cudaErrorInvalidValue;
  if (step.width % kPack == 0 && is_multiple(resized, kPack) && is_multiple(labels, kPack))
    return run_bilinear<kPack>(step, taps, probability, first, resized, labels, stream);
  return run_bilinear<1>(step, taps, probability, first, resized, labels, stream);
}

cudaError_t overlay(const Overlay& step, const void* image, const void* labels, const Tint* tints, void* out,
                    cudaStream_t stream) {
  const int64_t pitch = std::min(step.pitch, step.out_pitch);
  if (!is_side(step.height) || !is_side(step.width) || pitch < 3 * step.width ||
      std::max(step.pitch, step.out_pitch) > kMaxSize || !(step.strength >= 0 && step.strength <= 1))
    return cudaErrorInvalidValue;
  if (!image || !labels || !tints || !is_multiple(tints, sizeof(Tint)) || !out) return cudaErrorInvalidValue;
  TintPixels body{};
  body.image = static_cast<const uint8_t*>(image);
  body.labels = static_cast<const uint8_t*>(labels);
  body.tints = tints;
  body.out = static_cast<uint8_t*>(out);
  body.pitch = step.pitch;
  body.out_pitch = step.out_pitch;
  body.count = step.height * step.width;
  body.width = static_cast<uint32_t>(step.width);
  body.of_image = static_cast<float>(1.0 - step.strength);
  body.of_tint = static_cast<float>(step.strength);
  return launch(body, blocks_for(body.count), stream);
}

cudaError_t count_labels(int64_t pixels, const void* labels, void* counts, cudaStream_t stream) {
  if (pixels < 0 || pixels > kMaxBytes) return cudaErrorInvalidValue;
  if (pixels == 0) return cudaSuccess;
  if (!labels || !counts || !is_multiple(counts, sizeof(uint64_t))) return cudaErrorInvalidValue;
  return is_multiple(labels, kPackBytes) ? run_count<kPackBytes>(pixels, labels, counts, stream)
                                         : run_count<1>(pixels, labels, counts, stream);
}

}  // namespace edgeseg
