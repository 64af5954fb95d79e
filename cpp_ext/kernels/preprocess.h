// From a camera's bytes to a model's input on the device: colours, resize and border in one pass, each byte of the
// input written once.
//
// The result is that of edgeseg/runtime/preprocess.py on the same frame in BGR, byte for byte where cv2 runs OpenCV's
// own code (x86-64 does; vendors' replacements on other machines differ by 1 here and there): bilinear to the area, or,
// where the frame is more than 1.5 times as large, bilinear to twice the area and the mean of 2 x 2. NV12 and YUYV
// become BGR as cv2.cvtColor does it: BT.601, luma 16 to 235, chroma not interpolated.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "frames.h"

namespace edgeseg {

constexpr uint8_t kBorder = 127;  // BORDER of edgeseg/runtime/preprocess.py

struct Preprocess {
  PixelFormat format;
  int64_t frame_height, frame_width;
  int64_t pitch;          // bytes from one row of the frame to the next; of NV12, its luma
  int64_t chroma_pitch;   // of NV12's chroma; else not looked at
  int64_t height, width;  // of the model's input
  Area area;              // inside the input, not empty (fit_area)
};

// How many taps the step needs; 0 for sizes that make no sense.
int64_t count_taps(const Preprocess& step);

// Writes them, in the host's memory. They hold for every frame of these sizes: copy them to the device once.
void make_taps(const Preprocess& step, Tap* taps);

// Enqueues one kernel on `stream`; no allocation, no synchronisation.
//
// `pixels` is the frame (of NV12 its luma), `chroma` NV12's chroma (else null), `taps` the step's taps: on the device,
// as is `input`, uint8 [height, width, 3] BGR. taps are aligned to 16 bytes, the others as they please. Returns
// cudaErrorInvalidValue for sizes or pointers that make no sense, else what the launch returned.
cudaError_t preprocess(const Preprocess& step, const Tap* taps, const void* pixels, const void* chroma, void* input,
                       cudaStream_t stream);

}  // namespace edgeseg
