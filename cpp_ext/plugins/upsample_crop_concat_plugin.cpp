#include "upsample_crop_concat_plugin.h"

#include <limits>

#include "loaded_tensorrt.h"

namespace edgeseg {

using nvinfer1::DimensionOperation;
using nvinfer1::Dims;
using nvinfer1::IDimensionExpr;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;
using nvinfer1::PluginTensorDesc;

namespace {

constexpr const char* kBilinear = "bilinear";
constexpr const char* kNearest = "nearest";

}  // namespace

UpsampleCropConcatPlugin::UpsampleCropConcatPlugin(const Fields& fields)
    : UpsampleCropConcatPlugin(fields.scale(), fields.text("mode", kBilinear)) {}

UpsampleCropConcatPlugin::UpsampleCropConcatPlugin(int32_t scale, std::string mode)
    : PluginBase("scale=" + std::to_string(scale) + " mode=" + mode), scale_(scale), mode_(std::move(mode)) {
  if (mode_ != kBilinear && mode_ != kNearest)
    throw std::invalid_argument("the field mode is bilinear or nearest: " + mode_);
}

std::vector<PluginField> UpsampleCropConcatPlugin::known_fields() {
  return {{"scale", nullptr, PluginFieldType::kINT32, 1}, {"mode", nullptr, PluginFieldType::kCHAR, 0}};
}

std::vector<PluginField> UpsampleCropConcatPlugin::fields() const {
  return {{"scale", &scale_, PluginFieldType::kINT32, 1},
          {"mode", mode_.data(), PluginFieldType::kCHAR, static_cast<int32_t>(mode_.size())}};
}

void UpsampleCropConcatPlugin::check(const AllDims& dims, const AllTypes&) const {
  const Dims &deep = dims[0], &skip = dims[1];
  if (deep.d[0] >= 0 && skip.d[0] >= 0 && deep.d[0] != skip.d[0])
    throw std::invalid_argument("deep and skip differ in their batch");
  for (const int axis : {2, 3}) {
    if (deep.d[axis] < 0 || skip.d[axis] < 0) continue;
    if (deep.d[axis] > std::numeric_limits<int64_t>::max() / scale_ || deep.d[axis] * scale_ > skip.d[axis])
      throw std::invalid_argument(
          "the skip is smaller than the upsampled map (pad the network's input to a multiple of its stride), so it "
          "cannot be cropped");
  }
}

std::vector<const IDimensionExpr*> UpsampleCropConcatPlugin::shape(const nvinfer1::DimsExprs* inputs,
                                                                   nvinfer1::IExprBuilder& builder) const {
  const nvinfer1::DimsExprs &deep = inputs[0], &skip = inputs[1];
  const IDimensionExpr* scale = builder.constant(scale_);
  const auto times = [&](int axis) { return builder.operation(DimensionOperation::kPROD, *deep.d[axis], *scale); };
  return {deep.d[0], builder.operation(DimensionOperation::kSUM, *skip.d[1], *deep.d[1]), times(2), times(3)};
}

bool UpsampleCropConcatPlugin::takes_format(int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors) const {
  const PluginTensorDesc& here = tensors[position].desc;
  if (here.format != tensors[0].desc.format || !takes(here.type, here.format, loaded_version())) return false;
  // Vectors only where both inputs divide: TensorRT pads the last one, and concatenation would leave the gap inside.
  const int64_t vector = vector_of(layout_of(here.format));
  return vector == 1 || (here.dims.nbDims == 4 && here.dims.d[1] > 0 && here.dims.d[1] % vector == 0);
}

cudaError_t UpsampleCropConcatPlugin::run(const PluginTensorDesc* descs, const void* const* inputs, void* output,
                                          cudaStream_t stream) const {
  const Dims &deep = descs[0].dims, &skip = descs[1].dims;
  const UpsampleCropConcat step{type_of(descs[0].type),
                                layout_of(descs[0].format),
                                mode_ == kNearest ? Upsampling::kNearest : Upsampling::kBilinear,
                                scale_,
                                deep.d[0],
                                deep.d[1],
                                deep.d[2],
                                deep.d[3],
                                skip.d[1],
                                skip.d[2],
                                skip.d[3]};
  return upsample_crop_concat(step, inputs[0], inputs[1], output, stream);
}

}  // namespace edgeseg
