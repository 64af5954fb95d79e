#include "upsample_crop_concat_plugin.h"

#include <limits>
#include <memory>
#include <stdexcept>

#include "fields.h"
#include "loaded_version.h"
#include "report.h"

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

constexpr const char* kName = "UpsampleCropConcat";
constexpr const char* kVersion = "1";
constexpr const char* kNamespace = "edgeseg";
constexpr const char* kBilinear = "bilinear";
constexpr const char* kNearest = "nearest";
constexpr int32_t kFirstWithHwc16 = 100600;  // int8 as kHWC16
constexpr int32_t kFirstAfter10_6 = 100700;  // 10.6 alone has no vectors of bfloat16

Type type_of(DataType type) {
  switch (type) {
    case DataType::kFLOAT: return Type::kFloat32;
    case DataType::kHALF: return Type::kFloat16;
    case DataType::kBF16: return Type::kBfloat16;
    case DataType::kINT8: return Type::kInt8;
    default:
      throw std::invalid_argument("a type that the kernel does not have: " + std::to_string(static_cast<int>(type)));
  }
}

Layout layout_of(TensorFormat format) {
  switch (format) {
    case TensorFormat::kLINEAR: return Layout::kNCHW;
    case TensorFormat::kHWC: return Layout::kNHWC;
    case TensorFormat::kHWC8: return Layout::kHWC8;
    case TensorFormat::kHWC16: return Layout::kHWC16;
    case TensorFormat::kCHW32: return Layout::kCHW32;
    default:
      throw std::invalid_argument("a format that the kernel does not have: " +
                                  std::to_string(static_cast<int>(format)));
  }
}

void check_counts(int32_t inputs, int32_t outputs) {
  if (inputs != 2 || outputs != 1)
    throw std::invalid_argument("it takes deep and skip and gives one output: " + std::to_string(inputs) + " inputs, " +
                                std::to_string(outputs) + " outputs seen");
}

// The sizes that are known while the network is built; -1 stands for the others.
Dims known(const DimsExprs& expressions) {
  Dims dims{expressions.nbDims, {}};
  for (int32_t i = 0; i < expressions.nbDims; ++i)
    dims.d[i] = expressions.d[i]->isConstant() ? expressions.d[i]->getConstantValue() : -1;
  return dims;
}

}  // namespace

bool takes(DataType type, TensorFormat format, int32_t tensorrt_version) {
  if (format == TensorFormat::kLINEAR)
    return type == DataType::kFLOAT || type == DataType::kHALF || type == DataType::kBF16 || type == DataType::kINT8;
  switch (type) {
    case DataType::kFLOAT: return format == TensorFormat::kHWC;
    case DataType::kHALF: return format == TensorFormat::kHWC8;
    case DataType::kBF16:
      return format == TensorFormat::kHWC8 &&
             (tensorrt_version < kFirstWithHwc16 || tensorrt_version >= kFirstAfter10_6);
    case DataType::kINT8:
      return format == TensorFormat::kCHW32 || (format == TensorFormat::kHWC16 && tensorrt_version >= kFirstWithHwc16);
    default: return false;
  }
}

UpsampleCropConcatPlugin::UpsampleCropConcatPlugin(int32_t scale, const std::string& mode)
    : scale_(scale),
      mode_(mode),
      upsampling_(mode == kNearest ? Upsampling::kNearest : Upsampling::kBilinear),
      text_("scale=" + std::to_string(scale) + " mode=" + mode) {
  if (scale < 1 || scale > kMaxScale)
    throw std::invalid_argument("the scale is from 1 to " + std::to_string(kMaxScale) + ": " + std::to_string(scale));
  if (mode != kBilinear && mode != kNearest) throw std::invalid_argument("the mode is bilinear or nearest: " + mode);
}

nvinfer1::IPluginCapability* UpsampleCropConcatPlugin::getCapabilityInterface(
    nvinfer1::PluginCapabilityType type) noexcept {
  switch (type) {
    case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
  }
  report_error(std::string(kName) + ": a capability that it does not have");
  return nullptr;
}

nvinfer1::IPluginV3* UpsampleCropConcatPlugin::clone() noexcept {
  return guarded<nvinfer1::IPluginV3*>(kName, nullptr, [this] { return new UpsampleCropConcatPlugin(scale_, mode_); });
}

const char* UpsampleCropConcatPlugin::getPluginName() const noexcept { return kName; }
const char* UpsampleCropConcatPlugin::getPluginVersion() const noexcept { return kVersion; }
const char* UpsampleCropConcatPlugin::getPluginNamespace() const noexcept { return kNamespace; }

int32_t UpsampleCropConcatPlugin::getOutputDataTypes(DataType* output_types, int32_t outputs,
                                                     const DataType* input_types, int32_t inputs) const noexcept {
  return guarded<int32_t>(kName, -1, [=] {
    check_counts(inputs, outputs);
    if (input_types[0] != input_types[1]) throw std::invalid_argument("deep and skip are of two types");
    type_of(input_types[0]);
    output_types[0] = input_types[0];
    return 0;
  });
}

void UpsampleCropConcatPlugin::check(const Dims& deep, const Dims& skip) const {
  const std::string seen = "deep " + text_of(deep) + ", skip " + text_of(skip) + ", " + text_;
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
    check_counts(input_count, output_count);
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
    check_counts(inputs, outputs);
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
    check_counts(input_count, output_count);
    check(inputs[0].desc.dims, inputs[1].desc.dims);
    check(inputs[0].opt, inputs[1].opt);
    return 0;
  });
}

int32_t UpsampleCropConcatPlugin::onShapeChange(const PluginTensorDesc* inputs, int32_t input_count,
                                                const PluginTensorDesc*, int32_t output_count) noexcept {
  return guarded<int32_t>(kName, -1, [=] {
    check_counts(input_count, output_count);
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
                             text_of(skip) + ", " + text_);
  });
}

nvinfer1::IPluginV3* UpsampleCropConcatPlugin::attachToContext(nvinfer1::IPluginResourceContext*) noexcept {
  return clone();
}

const PluginFieldCollection* UpsampleCropConcatPlugin::getFieldsToSerialize() noexcept {
  return guarded<const PluginFieldCollection*>(kName, nullptr, [this] {
    fields_ = {{"scale", &scale_, PluginFieldType::kINT32, 1},
               {"mode", mode_.data(), PluginFieldType::kCHAR, static_cast<int32_t>(mode_.size())}};
    collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
    return &collection_;
  });
}

UpsampleCropConcatCreator::UpsampleCropConcatCreator()
    : fields_{{"scale", nullptr, PluginFieldType::kINT32, 1}, {"mode", nullptr, PluginFieldType::kCHAR, 0}} {
  collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
}

nvinfer1::IPluginV3* UpsampleCropConcatCreator::createPlugin(const char* name, const PluginFieldCollection* fields,
                                                             nvinfer1::TensorRTPhase) noexcept {
  return guarded<nvinfer1::IPluginV3*>(name ? name : kName, nullptr, [=] {
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
    if (scale < 1 || scale > kMaxScale)
      throw std::invalid_argument("the field scale is an integer from 1 to " + std::to_string(kMaxScale) + ": " +
                                  std::to_string(scale));
    return new UpsampleCropConcatPlugin(static_cast<int32_t>(scale), mode);
  });
}

const char* UpsampleCropConcatCreator::getPluginName() const noexcept { return kName; }
const char* UpsampleCropConcatCreator::getPluginVersion() const noexcept { return kVersion; }
const char* UpsampleCropConcatCreator::getPluginNamespace() const noexcept { return kNamespace; }

}  // namespace edgeseg
