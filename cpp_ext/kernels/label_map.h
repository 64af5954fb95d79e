// Logits to class ids on the device: bilinear upsampling (half-pixel centres, the border repeated) and ArgMax in one
// pass, so that the upsampled logits are never written: 159 MB of them for 19 classes at 1024x2048 become 2 MB of ids.
//
// Behind an engine that ends at low-resolution logits it gives the label map; inside one it is the plugin LabelMap.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "tensor_kinds.h"

namespace edgeseg {

constexpr int64_t kMaxClasses = 256;        // ids are bytes in the end
constexpr int64_t kMaxClassesInInt8 = 128;  // where ids take the logits' type

struct LabelMap {
  Type type;
  // Vectorised layouts are padded to whole vectors, as TensorRT does; what the padding holds does not matter.
  Layout layout;
  int64_t scale;  // 1 to kMaxScale
  int64_t batch, classes, height, width;
  bool as_bytes;  // ids as uint8, else in the logits' type
};

// Enqueues the kernel on `stream`; no allocation, no synchronisation.
//
// logits [batch, classes, height, width], finite, are interpolated in float32; `labels` [batch, scale * height,
// scale * width] gets the class with the largest value, the first of equals. Pointers are aligned to their element;
// 16-byte reads are used where channels lie side by side and alignment allows.
// Returns cudaErrorInvalidValue for sizes or pointers that make no sense, else what the launch returned.
cudaError_t label_map(const LabelMap& step, const void* logits, void* labels, cudaStream_t stream);

}  // namespace edgeseg
