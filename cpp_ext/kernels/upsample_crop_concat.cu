// Chooses the body that fits type, layout, sizes and alignment, and launches it.
#include "limits.h"
#include "upsample_crop_concat.h"
#include "upsample_crop_concat_bodies.h"

namespace edgeseg {
namespace {

// A tensor [batch, channels, height, width] in one of the layouts.
struct Tensor {
  int64_t batch, channels, height, width;
  int64_t block;  // channels that lie side by side

  Tensor(const UpsampleCropConcat& step, int64_t channels_, int64_t height_, int64_t width_)
      : batch(step.batch),
        channels(channels_),
        height(height_),
        width(width_),
        block(channels_last(step.layout) ? channels_ : vector_of(step.layout)) {}

  bool empty() const { return batch == 0 || channels == 0 || height == 0 || width == 0; }

  View view() const { return {channels * height * width, height * width * block, width * block, block}; }
};

// Sizes of the step's three tensors, and where the crop starts.
struct Plan {
  Tensor deep, skip, output;
  int64_t top, left;

  explicit Plan(const UpsampleCropConcat& step)
      : deep(step, step.deep_channels, step.deep_height, step.deep_width),
        skip(step, step.skip_channels, step.skip_height, step.skip_width),
        output(step, deep.channels + skip.channels, step.scale * deep.height, step.scale * deep.width),
        top((skip.height - output.height) / 2),
        left((skip.width - output.width) / 2) {}
};

bool are_sound(const UpsampleCropConcat& step) {
  const int64_t vector = vector_of(step.layout);
  if (step.scale < 1 || step.scale > kMaxScale || bytes_of(step.type) == 0 || vector == 0) return false;
  // Each size alone, before the plan multiplies and adds them.
  if (!fits({step.batch, step.deep_channels, step.deep_height, step.deep_width}, 1) ||
      !fits({step.skip_channels, step.skip_height, step.skip_width}, 1))
    return false;
  if (step.deep_channels % vector != 0 || step.skip_channels % vector != 0) return false;
  const Plan plan(step);
  for (const Tensor* tensor : {&plan.deep, &plan.skip, &plan.output})
    if (!fits({tensor->batch, tensor->channels, tensor->height, tensor->width}, bytes_of(step.type))) return false;
  return plan.skip.height >= plan.output.height && plan.skip.width >= plan.output.width;
}

bool is_usable(const Tensor& tensor, const void* pointer, int64_t element) {
  return tensor.empty() || (pointer != nullptr && is_multiple(pointer, element));
}

// Whether all accesses can be of whole packs; of NCHW's inputs only the skip may be, which Copy decides for itself.
bool takes_packs(const UpsampleCropConcat& step, const Plan& plan, const void* deep, const void* skip,
                 const void* output) {
  const int64_t pack = kPackBytes / bytes_of(step.type);
  if (!is_multiple(output, kPackBytes)) return false;
  if (step.layout == Layout::kNCHW) return plan.output.width % pack == 0;
  return is_multiple(deep, kPackBytes) && is_multiple(skip, kPackBytes) && plan.deep.block % pack == 0 &&
         plan.skip.block % pack == 0;
}

int64_t count_of(const Extent& extent) {
  return extent.images * extent.blocks * extent.rows * extent.pixels * extent.vectors;
}

// The extent of a body over `rows` x `columns` of a part: channels in packs (Blocks), or whole rows in packs (Rows).
Extent extent_of(Layout layout, const Tensor& part, int64_t rows, int64_t columns, int64_t output_width, int pack) {
  const bool planar = layout == Layout::kNCHW;
  const int64_t blocks = part.block ? part.channels / part.block : 0;
  return {part.batch, static_cast<uint32_t>(blocks), static_cast<uint32_t>(rows),
          static_cast<uint32_t>(planar ? 1 : columns),
          static_cast<uint32_t>(planar ? output_width / pack : part.block / pack)};
}

int64_t worked_on(Works works, int64_t size, int64_t scale) {
  return works == Works::kByInput ? size : works == Works::kByCell ? size + 1 : size * scale;
}

template <typename Growing>
cudaError_t run_body(const UpsampleCropConcat& step, const Plan& plan, const void* deep, const void* skip, void* output,
                     cudaStream_t stream) {
  using T = typename Growing::Element;
  constexpr int kPack = Growing::kPack;
  Fused<Growing> body{};
  auto& copy = body.copy;
  auto& grow = body.grow;
  copy.from = plan.skip.view();
  grow.from = plan.deep.view();
  copy.to = grow.to = plan.output.view();

  copy.rows = static_cast<int>(plan.output.height);
  const int64_t fours = (plan.output.height + copy.kRows - 1) / copy.kRows;
  copy.extent = extent_of(step.layout, plan.skip, fours, plan.output.width, plan.output.width, kPack);
  copy.count = count_of(copy.extent);
  copy.target = static_cast<T*>(output);
  if (copy.count > 0)
    copy.source = static_cast<const T*>(skip) + plan.top * copy.from.row + plan.left * copy.from.pixel;
  copy.aligned = step.layout != Layout::kNCHW ||
                 (is_multiple(skip, kPackBytes) && plan.skip.width % kPack == 0 && plan.left % kPack == 0);

  grow.height = static_cast<int>(plan.deep.height);
  grow.width = static_cast<int>(plan.deep.width);
  grow.scale = static_cast<int>(step.scale);
  grow.extent = extent_of(step.layout, plan.deep, worked_on(Growing::kWorks, plan.deep.height, step.scale),
                          worked_on(Growing::kWorks, plan.deep.width, step.scale), plan.output.width, kPack);
  grow.count = count_of(grow.extent);
  grow.source = static_cast<const T*>(deep);
  // With channels side by side the deep part starts behind the skip's channels, else behind the skip's planes.
  const int64_t plane = channels_last(step.layout) ? 1 : plan.output.height * plan.output.width;
  grow.target = copy.target + plan.skip.channels * plane;

  body.copy_blocks = blocks_for(copy.count);
  return launch(body, body.copy_blocks + blocks_for(grow.count), stream);
}

using Run = cudaError_t (*)(const UpsampleCropConcat&, const Plan&, const void*, const void*, void*, cudaStream_t);

// Moves elements of one size, whatever they mean.
template <typename T>
Run nearest_of(bool planar, bool packs) {
  constexpr int kPack = kPackBytes / static_cast<int>(sizeof(T));
  if (planar) return packs ? run_body<Nearest<T, kPack, true>> : run_body<Nearest<T, 1, true>>;
  return packs ? run_body<Nearest<T, kPack, false>> : run_body<Nearest<T, 1, false>>;
}

template <typename T>
Run bilinear_of(bool planar, bool packs, bool doubles) {
  constexpr int kPack = kPackBytes / static_cast<int>(sizeof(T));
  if (!packs) return planar ? run_body<BilinearOutputs<T, 1>> : run_body<BilinearBlocks<T, 1, 0>>;
  if (planar) return doubles ? run_body<BilinearRows<T, kPack, 2>> : run_body<BilinearOutputs<T, kPack>>;
  return doubles ? run_body<BilinearBlocks<T, kPack, 2>> : run_body<BilinearBlocks<T, kPack, 0>>;
}

Run choose(const UpsampleCropConcat& step, bool packs) {
  const bool planar = step.layout == Layout::kNCHW, doubles = step.scale == 2;
  const bool nearest = step.upsampling == Upsampling::kNearest;
  switch (step.type) {
    case Type::kFloat32:
      return nearest ? nearest_of<uint32_t>(planar, packs) : bilinear_of<float>(planar, packs, doubles);
    case Type::kFloat16:
      return nearest ? nearest_of<uint16_t>(planar, packs) : bilinear_of<Half>(planar, packs, doubles);
    case Type::kBfloat16:
      return nearest ? nearest_of<uint16_t>(planar, packs) : bilinear_of<Bfloat16>(planar, packs, doubles);
    case Type::kInt8: return nearest ? nearest_of<uint8_t>(planar, packs) : bilinear_of<int8_t>(planar, packs, doubles);
  }
  return nullptr;
}

}  // namespace

cudaError_t upsample_crop_concat(const UpsampleCropConcat& step, const void* deep, const void* skip, void* output,
                                 cudaStream_t stream) {
  if (!are_sound(step)) return cudaErrorInvalidValue;
  const Plan plan(step);
  if (plan.output.empty()) return cudaSuccess;
  const int64_t element = bytes_of(step.type);
  if (!is_usable(plan.deep, deep, element) || !is_usable(plan.skip, skip, element) ||
      !is_usable(plan.output, output, element))
    return cudaErrorInvalidValue;
  return choose(step, takes_packs(step, plan, deep, skip, output))(step, plan, deep, skip, output, stream);
}

}  // namespace edgeseg
