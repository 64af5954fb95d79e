// Maps of a model on the device: back to the frame's size, over the frame, and counted. With preprocess.h it is what a
// stream of frames needs besides the engine, so that none of them visits the host.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "frames.h"

namespace edgeseg {

constexpr int64_t kIds = 256;  // that a byte can hold

// From the area of a model's map that shows the frame (fit_area) to the frame's size. Bytes.
struct MapResize {
  int64_t map_height, map_width;  // of the model's map
  Area area;                      // inside it, not empty
  int64_t height, width;          // of the result
};

// Enqueue one kernel each on `stream`; no allocation, no synchronisation. Pointers are to device memory; wider accesses
// are used where they are aligned. Return cudaErrorInvalidValue for sizes or pointers that make no sense, else what the
// launch returned.

// `labels` uint8 [map_height, map_width] -> `resized` uint8 [height, width]: the id under each pixel's centre, that of
// the later pixel where the centre lies between two. The same as edgeseg/runtime/postprocess.py, except between two
// pixels: there cv2's INTER_NEAREST_EXACT goes by its own roundings, which differ between its versions.
cudaError_t resize_labels(const MapResize& step, const void* labels, void* resized, cudaStream_t stream);

// How many taps resize_probability needs; 0 for sizes that make no sense. They are made in the host's memory, hold for
// every map of these sizes, and are copied to the device once.
int64_t count_taps(const MapResize& step);
void make_taps(const MapResize& step, Tap* taps);

// `probability` uint8 [map_height, map_width] -> `resized` uint8 [height, width], bilinear, as cv2's INTER_LINEAR has
// it on bytes, and `labels` uint8 [height, width], 1 where that is at least `first` (0 to 256; threshold_byte in
// edgeseg/runtime/postprocess.py). Either of the two may be null, and is then not written.
cudaError_t resize_probability(const MapResize& step, const Tap* taps, const void* probability, int first,
                               void* resized, void* labels, cudaStream_t stream);

struct Overlay {
  int64_t height, width;
  int64_t pitch, out_pitch;  // bytes from one row of the image to the next
  double strength;           // opacity of the tint, 0 to 1
};

// `image` uint8 [height, width, 3] BGR, tinted by `labels` uint8 [height, width] with `tints` [256] -> `out`, which may
// be the image itself. The colours are those of edgeseg/drawing.py, without the outlines that it draws around areas.
cudaError_t overlay(const Overlay& step, const void* image, const void* labels, const Tint* tints, void* out,
                    cudaStream_t stream);

// Adds the number of pixels of each id to `counts` uint64 [256], which the caller clears.
cudaError_t count_labels(int64_t pixels, const void* labels, void* counts, cudaStream_t stream);

}  // namespace edgeseg
