// `edgeseg::UpsampleCropConcat`, version 1, for TensorRT 10.3 and later: deep and skip in, one output (see the kernel).
#pragma once

#include "../kernels/upsample_crop_concat.h"
#include "plugin_base.h"

namespace edgeseg {

class UpsampleCropConcatPlugin final : public PluginBase<UpsampleCropConcatPlugin> {
 public:
  static constexpr const char* kName = "UpsampleCropConcat";
  static constexpr const char* kInputs[] = {"deep", "skip"};

  // Fields: `scale`, an integer, needed; `mode`, "bilinear" unless given, or "nearest".
  explicit UpsampleCropConcatPlugin(const Fields& fields);

  static std::vector<nvinfer1::PluginField> known_fields();
  std::vector<nvinfer1::PluginField> fields() const;
  void check(const AllDims& dims, const AllTypes& types) const;
  std::vector<const nvinfer1::IDimensionExpr*> shape(const nvinfer1::DimsExprs* inputs,
                                                     nvinfer1::IExprBuilder& builder) const;
  bool takes_format(int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors) const;
  cudaError_t run(const nvinfer1::PluginTensorDesc* descs, const void* const* inputs, void* output,
                  cudaStream_t stream) const;

 private:
  UpsampleCropConcatPlugin(int32_t scale, std::string mode);

  int32_t scale_;
  std::string mode_;
};

}  // namespace edgeseg
