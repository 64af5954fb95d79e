#include "label_map_plugin.h"

#include "loaded_tensorrt.h"

namespace edgeseg {

using nvinfer1::DataType;
using nvinfer1::DimensionOperation;
using nvinfer1::Dims;
using nvinfer1::IDimensionExpr;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;

LabelMapPlugin::LabelMapPlugin(const Fields& fields)
    : PluginBase("scale=" + std::to_string(fields.scale())), scale_(fields.scale()) {}

std::vector<PluginField> LabelMapPlugin::known_fields() { return {{"scale", nullptr, PluginFieldType::kINT32, 1}}; }

std::vector<PluginField> LabelMapPlugin::fields() const { return {{"scale", &scale_, PluginFieldType::kINT32, 1}}; }

void LabelMapPlugin::check(const AllDims& dims, const AllTypes& types) const {
  const int64_t classes = dims[0].d[1];
  const int64_t most = !types.empty() && types[0] == DataType::kINT8 ? kMaxClassesInInt8 : kMaxClasses;
  if (classes == 0 || classes > most)
    throw std::invalid_argument("logits are of 1 to " + std::to_string(most) + " classes");
}

std::vector<const IDimensionExpr*> LabelMapPlugin::shape(const nvinfer1::DimsExprs* inputs,
                                                         nvinfer1::IExprBuilder& builder) const {
  const IDimensionExpr* scale = builder.constant(scale_);
  const auto times = [&](int axis) { return builder.operation(DimensionOperation::kPROD, *inputs[0].d[axis], *scale); };
  return {inputs[0].d[0], times(2), times(3)};
}

bool LabelMapPlugin::takes_format(int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors) const {
  const PluginTensorDesc& here = tensors[position].desc;
  if (position == 1) return here.format == TensorFormat::kLINEAR;
  if (here.type == DataType::kINT8 && here.dims.nbDims == 4 && here.dims.d[1] > kMaxClassesInInt8) return false;
  return takes(here.type, here.format, loaded_version());
}

cudaError_t LabelMapPlugin::run(const PluginTensorDesc* descs, const void* const* inputs, void* output,
                                cudaStream_t stream) const {
  const Dims& logits = descs[0].dims;
  const LabelMap step{type_of(descs[0].type),
                      layout_of(descs[0].format),
                      scale_,
                      logits.d[0],
                      logits.d[1],
                      logits.d[2],
                      logits.d[3],
                      false};
  return label_map(step, inputs[0], output, stream);
}

}  // namespace edgeseg
