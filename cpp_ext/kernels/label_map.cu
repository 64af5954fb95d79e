// Chooses the body that fits type, layout and scale, and launches it.
#include "label_map.h"
#include "label_map_body.h"
#include "limits.h"

namespace edgeseg {
namespace {

// Classes that lie side by side, padding included: how far apart the pixels are.
int64_t block_of(const LabelMap& step) {
  const int64_t vector = vector_of(step.layout);
  return channels_last(step.layout) ? (step.classes + vector - 1) / vector * vector : vector;
}

int64_t padded_classes(const LabelMap& step) {
  const int64_t block = block_of(step);
  return (step.classes + block - 1) / block * block;
}

bool is_sound(const LabelMap& step) {
  if (bytes_of(step.type) == 0 || vector_of(step.layout) == 0 || step.scale < 1 || step.scale > kMaxScale) return false;
  const int64_t most = step.type == Type::kInt8 && !step.as_bytes ? kMaxClassesInInt8 : kMaxClasses;
  if (step.classes < 1 || step.classes > most) return false;
  return fits({step.batch, padded_classes(step), step.height, step.width}, bytes_of(step.type)) &&
         step.height <= kMaxSize / step.scale && step.width <= kMaxSize / step.scale &&
         fits({step.batch, step.height * step.scale, step.width * step.scale}, bytes_of(step.type));
}

template <typename T, int kPack, int kChunk>
cudaError_t run_cells(const LabelMap& step, const void* logits, void* labels, cudaStream_t stream) {
  const int64_t block = block_of(step), plane = step.height * step.width;
  LabelCells<T, kPack, kChunk> body{};
  body.logits = static_cast<const T*>(logits);
  body.labels = labels;
  body.from = {padded_classes(step) * plane, plane * block, step.width * block, block};
  body.extent = {step.batch, 1, static_cast<uint32_t>(step.height * step.scale), static_cast<uint32_t>(step.width + 1),
                 1};
  body.count = step.batch * step.height * step.scale * (step.width + 1);
  body.height = static_cast<int>(step.height);
  body.width = static_cast<int>(step.width);
  body.scale = static_cast<int>(step.scale);
  body.classes = static_cast<int>(step.classes);
  body.block = static_cast<int>(block);
  body.as_bytes = step.as_bytes;
  return launch(body, blocks_for(body.count), stream);
}

template <typename T>
cudaError_t run_type(const LabelMap& step, const void* logits, void* labels, cudaStream_t stream) {
  constexpr int kPack = kPackBytes / static_cast<int>(sizeof(T));
  const bool packs = block_of(step) % kPack == 0 && is_multiple(logits, kPackBytes);
  if (step.scale <= 2)
    return packs ? run_cells<T, kPack, 2>(step, logits, labels, stream)
                 : run_cells<T, 1, 2>(step, logits, labels, stream);
  return packs ? run_cells<T, kPack, 4>(step, logits, labels, stream)
               : run_cells<T, 1, 4>(step, logits, labels, stream);
}

}  // namespace

cudaError_t label_map(const LabelMap& step, const void* logits, void* labels, cudaStream_t stream) {
  if (!is_sound(step)) return cudaErrorInvalidValue;
  if (step.batch == 0 || step.height == 0 || step.width == 0) return cudaSuccess;
  const int64_t element = bytes_of(step.type);
  if (!logits || !labels || !is_multiple(logits, element) || !is_multiple(labels, step.as_bytes ? 1 : element))
    return cudaErrorInvalidValue;
  switch (step.type) {
    case Type::kFloat32: return run_type<float>(step, logits, labels, stream);
    case Type::kFloat16: return run_type<Half>(step, logits, labels, stream);
    case Type::kBfloat16: return run_type<Bfloat16>(step, logits, labels, stream);
    case Type::kInt8: return run_type<int8_t>(step, logits, labels, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace edgeseg
