#include "upsample_crop_concat_plugin.h"

#include <limits>
#include <stdexcept>

#include "fields.h"
#include "formats.h"
#include "loaded_tensorrt.h"

namespace edgeseg {
namespace {

using nvinfer1::DataType;
using nvinfer1::DimensionOperation;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;

constexpr const char* kBilinear = "bilinear";
constexpr const char* kNearest = "nearest";

}  // namespace

UpsampleCropConcatPlugin::UpsampleCropConcatPlugin(int64_t scale, const std::string& mode)
    : PluginBase("scale=" + std::to_string(scale) + " mode=" + mode),
      scale_(static_cast<int32_t>(checked_scale(scale))),
      mode_(mode),
      upsampling_(mode == kNearest ? Upsampling::kNearest : Upsampling::kBilinear) {
  if (mode != kBilinear && mode != kNearest)
    throw std::invalid_argument("the field mode is bilinear or nearest: " + mode);
}

int32_t UpsampleCropConcatPlugin::getOutputDataTypes(DataType* output_types, int32_t outputs,
                                                     const DataType* input_types, int32_t inputs) const noexcept {
  return guarded<int32_t>(kName, -1, [=] {
    check_counts(2, inputs, outputs);
    if (input_types[0] != input_types[1]) throw std::invalid_argument("deep and skip are of two types");
    type_of(input_types[0]);
    output_types[0] = input_types[0];
    return 0;
  });
}

void UpsampleCropConcatPlugin::check(const Dims& deep, const Dims& skip) const {
  const std::string seen = "deep " + text_of(deep) + ", skip " + text_of(skip) + ", " + text();
  if (deep.nbDims != 4 || skip.nbDims != 4)
    throw std::invalid_argument("deep and skip have four dimensions, NCHW: " + seen);
  if (deep.d[0] >= 0 && skip.d[0] >= 0 && deep.d[0] != skip.d[0])
    throw std::invalid_argument("deep and skip differ in their batch: " + seen);
  for (const int axis : {2, 3}) {
    if (deep.d[axis] < 0 || skip.d[axis] < 0) continue;
    if (deep.d[axis] > std::numeric_limits<int64_t>::max() / scale_ || deep.d[axis] * scale_ > skip.d[axis])
      throw std::invalid_argument("the skip is smaller than the upsampled map, so it cannot be cropped: " + seen +
                                  ". Pad the network's input to a multiple of its stride");
  }
}

int32_t UpsampleCropConcatPlugin::getOutputShapes(const DimsExprs* inputs, int32_t input_count, const DimsExprs*,
                                                  int32_t, DimsExprs* outputs, int32_t output_count,
                                                  nvinfer1::IExprBuilder& builder) noexcept {
  return guarded<int32_t>(kName, -1, [&] {
    check_counts(2, input_count, output_count);
    const DimsExprs &deep = inputs[0], &skip = inputs[1];
    check(known(deep), known(skip));
    const nvinfer1::IDimensionExpr* scale = builder.constant(scale_);
    outputs[0].nbDims = 4;
    outputs[0].d[0] = deep.d[0];
    outputs[0].d[1] = builder.operation(DimensionOperation::kSUM, *skip.d[1], *deep.d[1]);
    for (const int axis : {2, 3})
      outputs[0].d[axis] = builder.operation(DimensionOperation::kPROD, *deep.d[axis], *scale);
    for (int axis = 0; axis < 4; ++axis)
      if (!outputs[0].d[axis]) throw std::runtime_error("TensorRT made no expression for the output's shape");
    return 0;
  });
}

bool UpsampleCropConcatPlugin::supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc* tensors,
                                                         int32_t inputs, int32_t outputs) noexcept {
  return guarded<bool>(kName, false, [=] {
    check_counts(2, inputs, outputs);
    const PluginTensorDesc &here = tensors[position].desc, &first = tensors[0].desc;
    if (here.type != first.type || here.format != first.format || !takes(here.type, here.format, loaded_version()))
      return false;
    // Vectors only where both inputs divide: TensorRT pads the last one, and concatenation would leave the gap inside.
    const int64_t vector = vector_of(layout_of(here.format));
    return vector == 1 || (here.dims.nbDims == 4 && here.dims.d[1] > 0 && here.dims.d[1] % vector == 0);
  });
}

int32_t UpsampleCropConcatPlugin::configurePlugin(const DynamicPluginTensorDesc* inputs, int32_t input_count,
                                                  const DynamicPluginTensorDesc*, int32_t output_count) noexcept {
  return guarded<int32_t>(kName, -1, [=] {
    check_counts(2, input_count, output_count);
    check(inputs[0].desc.dims, inputs[1].desc.dims);
    check(inputs[0].opt, inputs[1].opt);
    return 0;
  });
}

int32_t UpsampleCropConcatPlugin::onShapeChange(const PluginTensorDesc* inputs, int32_t input_count,
                                                const PluginTensorDesc*, int32_t output_count) noexcept {
  return guarded<int32_t>(kName, -1, [=] {
    check_counts(2, input_count, output_count);
    check(inputs[0].dims, inputs[1].dims);
    return 0;
  });
}

int32_t UpsampleCropConcatPlugin::enqueue(const PluginTensorDesc* input_descs, const PluginTensorDesc*,
                                          const void* const* inputs, void* const* outputs, void*,
                                          cudaStream_t stream) noexcept {
  return guarded<int32_t>(kName, -1, [=] {
    const Dims &deep = input_descs[0].dims, &skip = input_descs[1].dims;
    const UpsampleCropConcat step{type_of(input_descs[0].type),
                                  layout_of(input_descs[0].format),
                                  upsampling_,
                                  scale_,
                                  deep.d[0],
                                  deep.d[1],
                                  deep.d[2],
                                  deep.d[3],
                                  skip.d[1],
                                  skip.d[2],
                                  skip.d[3]};
    const cudaError_t error = upsample_crop_concat(step, inputs[0], inputs[1], outputs[0], stream);
    if (error == cudaSuccess) return 0;
    throw std::runtime_error(std::string(cudaGetErrorString(error)) + ": deep " + text_of(deep) + ", skip " +
                             text_of(skip) + ", " + text());
  });
}

const PluginFieldCollection* UpsampleCropConcatPlugin::getFieldsToSerialize() noexcept {
  return guarded<const PluginFieldCollection*>(kName, nullptr, [this] {
    return keep({{"scale", &scale_, PluginFieldType::kINT32, 1},
                 {"mode", mode_.data(), PluginFieldType::kCHAR, static_cast<int32_t>(mode_.size())}});
  });
}

UpsampleCropConcatCreator::UpsampleCropConcatCreator()
    : CreatorBase({{"scale", nullptr, PluginFieldType::kINT32, 1}, {"mode", nullptr, PluginFieldType::kCHAR, 0}}) {}

nvinfer1::IPluginV3* UpsampleCropConcatCreator::createPlugin(const char* name, const PluginFieldCollection* fields,
                                                             nvinfer1::TensorRTPhase) noexcept {
  return guarded<nvinfer1::IPluginV3*>(name ? name : UpsampleCropConcatPlugin::kName, nullptr, [=] {
    std::string mode = kBilinear;
    int64_t scale = 0;
    for (int32_t i = 0; fields && i < fields->nbFields; ++i) {
      const PluginField& field = fields->fields[i];
      if (std::string(field.name) == "scale")
        scale = integer_of(field);
      else if (std::string(field.name) == "mode")
        mode = string_of(field);
      else
        throw std::invalid_argument(std::string("no such field: ") + field.name + ". It has scale and mode");
    }
    return new UpsampleCropConcatPlugin(scale, mode);
  });
}

}  // namespace edgeseg
