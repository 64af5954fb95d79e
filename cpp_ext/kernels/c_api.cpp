// The launchers under names of C, for callers that look them up in the library: Python's ctypes, other languages.
//
// The structs of the headers are plain numbers in C's own layout; enumerators are int. Every function returns a
// cudaError_t (0: enqueued). Of libedgeseg_cpu.so, where the kernels are compiled for the CPU, pointers are to the
// host's memory, the stream is null, and the work is done on return.
#include "label_map.h"
#include "labels.h"
#include "preprocess.h"
#include "upsample_crop_concat.h"

#define EDGESEG_EXPORT extern "C" __attribute__((visibility("default")))

using namespace edgeseg;

EDGESEG_EXPORT int edgeseg_upsample_crop_concat(const UpsampleCropConcat* step, const void* deep, const void* skip,
                                                void* output, cudaStream_t stream) {
  return upsample_crop_concat(*step, deep, skip, output, stream);
}

EDGESEG_EXPORT int edgeseg_label_map(const LabelMap* step, const void* logits, void* labels, cudaStream_t stream) {
  return label_map(*step, logits, labels, stream);
}

EDGESEG_EXPORT void edgeseg_fit_area(int fit, const int64_t* frame, const int64_t* input, Area* area) {
  *area = fit_area(static_cast<Fit>(fit), frame[0], frame[1], input[0], input[1]);
}

// How many taps there are; with `taps` they are written there too, in the host's memory.
EDGESEG_EXPORT int64_t edgeseg_preprocess_taps(const Preprocess* step, Tap* taps) {
  const int64_t count = count_taps(*step);
  if (taps && count) make_taps(*step, taps);
  return count;
}

EDGESEG_EXPORT int edgeseg_preprocess(const Preprocess* step, const Tap* taps, const void* pixels, const void* chroma,
                                      void* input, cudaStream_t stream) {
  return preprocess(*step, taps, pixels, chroma, input, stream);
}

EDGESEG_EXPORT int edgeseg_resize_labels(const MapResize* step, const void* labels, void* resized,
                                         cudaStream_t stream) {
  return resize_labels(*step, labels, resized, stream);
}

EDGESEG_EXPORT int64_t edgeseg_probability_taps(const MapResize* step, Tap* taps) {
  const int64_t count = count_taps(*step);
  if (taps && count) make_taps(*step, taps);
  return count;
}

EDGESEG_EXPORT int edgeseg_resize_probability(const MapResize* step, const Tap* taps, const void* probability,
                                              int first, void* resized, void* labels, cudaStream_t stream) {
  return resize_probability(*step, taps, probability, first, resized, labels, stream);
}

EDGESEG_EXPORT int edgeseg_overlay(const Overlay* step, const void* image, const void* labels, const Tint* tints,
                                   void* out, cudaStream_t stream) {
  return overlay(*step, image, labels, tints, out, stream);
}

EDGESEG_EXPORT int edgeseg_count_labels(int64_t pixels, const void* labels, void* counts, cudaStream_t stream) {
  return count_labels(pixels, labels, counts, stream);
}
