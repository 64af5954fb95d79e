#include "label_map_plugin.h"

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

void check(const Dims& logits, bool as_int8 = false) {
  if (logits.nbDims != 4) throw std::invalid_argument("logits have four dimensions, NCHW: " + text_of(logits));
  const int64_t most = as_int8 ? kMaxClassesInInt8 : kMaxClasses;
  if (logits.d[1] == 0 || logits.d[1] > most)
    throw std::invalid_argument("logits are of 1 to " + std::to_string(most) + " classes: " + text_of(logits));
}

}  // namespace

LabelMapPlugin::LabelMapPlugin(int64_t scale)
    : PluginBase("scale=" + std::to_string(scale)), scale_(static_cast<int32_t>(checked_scale(scale))) {}

int32_t LabelMapPlugin::getOutputDataTypes(DataType* output_types, int32_t outputs, const DataType* input_types,
                                           int32_t inputs) const noexcept {
  return guarded<int32_t>(kName, -1, [=] {
    check_counts(1, inputs, outputs);
    type_of(input_types[0]);
    output_types[0] = input_types[0];
    return 0;
  });
}

int32_t LabelMapPlugin::getOutputShapes(const DimsExprs* inputs, int32_t input_count, const DimsExprs*, int32_t,
                                        DimsExprs* outputs, int32_t output_count,
                                        nvinfer1::IExprBuilder& builder) noexcept {
  return guarded<int32_t>(kName, -1, [&] {
    check_counts(1, input_count, output_count);
    check(known(inputs[0]));
    const nvinfer1::IDimensionExpr* scale = builder.constant(scale_);
    outputs[0].nbDims = 3;
    outputs[0].d[0] = inputs[0].d[0];
    for (const int axis : {1, 2})
      outputs[0].d[axis] = builder.operation(DimensionOperation::kPROD, *inputs[0].d[axis + 1], *scale);
    for (int axis = 0; axis < 3; ++axis)
      if (!outputs[0].d[axis]) throw std::runtime_error("TensorRT made no expression for the output's shape");
    return 0;
  });
}

bool LabelMapPlugin::supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc* tensors, int32_t inputs,
                                               int32_t outputs) noexcept {
  return guarded<bool>(kName, false, [=] {
    check_counts(1, inputs, outputs);
    const PluginTensorDesc &here = tensors[position].desc, &logits = tensors[0].desc;
    if (position == 1) return here.type == logits.type && here.format == TensorFormat::kLINEAR;
    if (here.type == DataType::kINT8 && here.dims.nbDims == 4 && here.dims.d[1] > kMaxClassesInInt8) return false;
    return takes(here.type, here.format, loaded_version());
  });
}

int32_t LabelMapPlugin::configurePlugin(const DynamicPluginTensorDesc* inputs, int32_t input_count,
                                        const DynamicPluginTensorDesc*, int32_t output_count) noexcept {
  return guarded<int32_t>(kName, -1, [=] {
    check_counts(1, input_count, output_count);
    check(inputs[0].desc.dims, inputs[0].desc.type == DataType::kINT8);
    return 0;
  });
}

int32_t LabelMapPlugin::onShapeChange(const PluginTensorDesc* inputs, int32_t input_count, const PluginTensorDesc*,
                                      int32_t output_count) noexcept {
  return guarded<int32_t>(kName, -1, [=] {
    check_counts(1, input_count, output_count);
    check(inputs[0].dims, inputs[0].type == DataType::kINT8);
    return 0;
  });
}

int32_t LabelMapPlugin::enqueue(const PluginTensorDesc* input_descs, const PluginTensorDesc*, const void* const* inputs,
                                void* const* outputs, void*, cudaStream_t stream) noexcept {
  return guarded<int32_t>(kName, -1, [=] {
    const Dims& logits = input_descs[0].dims;
    const LabelMap step{type_of(input_descs[0].type),
                        layout_of(input_descs[0].format),
                        scale_,
                        logits.d[0],
                        logits.d[1],
                        logits.d[2],
                        logits.d[3],
                        false};
    const cudaError_t error = label_map(step, inputs[0], outputs[0], stream);
    if (error == cudaSuccess) return 0;
    throw std::runtime_error(std::string(cudaGetErrorString(error)) + ": logits " + text_of(logits) + ", " + text());
  });
}

const PluginFieldCollection* LabelMapPlugin::getFieldsToSerialize() noexcept {
  return guarded<const PluginFieldCollection*>(
      kName, nullptr, [this] { return keep({{"scale", &scale_, PluginFieldType::kINT32, 1}}); });
}

LabelMapCreator::LabelMapCreator() : CreatorBase({{"scale", nullptr, PluginFieldType::kINT32, 1}}) {}

nvinfer1::IPluginV3* LabelMapCreator::createPlugin(const char* name, const PluginFieldCollection* fields,
                                                   nvinfer1::TensorRTPhase) noexcept {
  return guarded<nvinfer1::IPluginV3*>(name ? name : LabelMapPlugin::kName, nullptr, [=] {
    int64_t scale = 0;
    for (int32_t i = 0; fields && i < fields->nbFields; ++i) {
      const PluginField& field = fields->fields[i];
      if (std::string(field.name) != "scale")
        throw std::invalid_argument(std::string("no such field: ") + field.name + ". It has scale");
      scale = integer_of(field);
    }
    return new LabelMapPlugin(scale);
  });
}

}  // namespace edgeseg
