// `edgeseg::LabelMap`, version 1, for TensorRT 10.3 and later: logits [N, C, H, W] in, class ids [N, scale * H, scale *
// W] out, in the logits' type: a plugin may give no uint8, so a Cast stands behind it.
#pragma once

#include "../kernels/label_map.h"
#include "plugin_base.h"

namespace edgeseg {

class LabelMapPlugin final : public PluginBase<LabelMapPlugin> {
 public:
  static constexpr const char* kName = "LabelMap";
  static constexpr const char* kInputs[] = {"logits"};

  // Field: `scale`, an integer, needed.
  explicit LabelMapPlugin(const Fields& fields);

  static std::vector<nvinfer1::PluginField> known_fields();
  std::vector<nvinfer1::PluginField> fields() const;
  void check(const AllDims& dims, const AllTypes& types) const;
  std::vector<const nvinfer1::IDimensionExpr*> shape(const nvinfer1::DimsExprs* inputs,
                                                     nvinfer1::IExprBuilder& builder) const;
  bool takes_format(int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors) const;
  cudaError_t run(const nvinfer1::PluginTensorDesc* descs, const void* const* inputs, void* output,
                  cudaStream_t stream) const;

 private:
  int32_t scale_;
};

}  // namespace edgeseg
