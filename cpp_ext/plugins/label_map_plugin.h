// `edgeseg::LabelMap`, version 1, for TensorRT 10.3 and later: logits [N, C, H, W] in, class ids [N, scale * H, scale *
// W] out, in the logits' type: a plugin may give no uint8, so a Cast stands behind it.
#pragma once

#include "../kernels/label_map.h"
#include "plugin_base.h"

namespace edgeseg {

class LabelMapPlugin final : public PluginBase<LabelMapPlugin> {
 public:
  static constexpr const char* kName = "LabelMap";

  // Throws std::invalid_argument for a scale that the kernel does not have.
  explicit LabelMapPlugin(int64_t scale);

  int32_t getOutputDataTypes(nvinfer1::DataType* output_types, int32_t outputs, const nvinfer1::DataType* input_types,
                             int32_t inputs) const noexcept override;
  int32_t getOutputShapes(const nvinfer1::DimsExprs* inputs, int32_t input_count,
                          const nvinfer1::DimsExprs* shape_inputs, int32_t shape_input_count,
                          nvinfer1::DimsExprs* outputs, int32_t output_count,
                          nvinfer1::IExprBuilder& builder) noexcept override;
  bool supportsFormatCombination(int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors, int32_t inputs,
                                 int32_t outputs) noexcept override;
  int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* inputs, int32_t input_count,
                          const nvinfer1::DynamicPluginTensorDesc* outputs, int32_t output_count) noexcept override;
  int32_t onShapeChange(const nvinfer1::PluginTensorDesc* inputs, int32_t input_count,
                        const nvinfer1::PluginTensorDesc* outputs, int32_t output_count) noexcept override;
  int32_t enqueue(const nvinfer1::PluginTensorDesc* input_descs, const nvinfer1::PluginTensorDesc* output_descs,
                  const void* const* inputs, void* const* outputs, void* workspace,
                  cudaStream_t stream) noexcept override;
  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override;

 private:
  int32_t scale_;
};

class LabelMapCreator final : public CreatorBase<LabelMapPlugin> {
 public:
  LabelMapCreator();

  // Field: `scale`, an integer, needed. Null after an error, which the logger has.
  nvinfer1::IPluginV3* createPlugin(const char* name, const nvinfer1::PluginFieldCollection* fields,
                                    nvinfer1::TensorRTPhase phase) noexcept override;
};

}  // namespace edgeseg
