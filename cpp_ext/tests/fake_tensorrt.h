// What TensorRT hands to a plugin, in miniature: shape expressions that are evaluated at once, and a logger that
// remembers.
#pragma once

#include <NvInferRuntime.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

// A size: known, or -1 for one that only a profile decides.
class FakeExpression final : public nvinfer1::IDimensionExpr, public nvinfer1::apiv::VDimensionExpr {
 public:
  explicit FakeExpression(int64_t value) : value_(value) { mImpl = this; }
  bool isConstant() const override { return value_ >= 0; }
  int64_t getConstantValue() const override { return value_; }
  bool isSizeTensor() const override { return false; }

 private:
  int64_t value_;
};

class FakeBuilder final : public nvinfer1::IExprBuilder, public nvinfer1::apiv::VExprBuilder {
 public:
  FakeBuilder() { mImpl = this; }

  const nvinfer1::IDimensionExpr* constant(int64_t value) override { return keep(value); }

  const nvinfer1::IDimensionExpr* operation(nvinfer1::DimensionOperation operation,
                                            const nvinfer1::IDimensionExpr& first,
                                            const nvinfer1::IDimensionExpr& second) override {
    if (!first.isConstant() || !second.isConstant()) return keep(-1);
    const int64_t a = first.getConstantValue(), b = second.getConstantValue();
    switch (operation) {
      case nvinfer1::DimensionOperation::kSUM: return keep(a + b);
      case nvinfer1::DimensionOperation::kPROD: return keep(a * b);
      default: return nullptr;
    }
  }

  const nvinfer1::IDimensionExpr* declareSizeTensor(int32_t, const nvinfer1::IDimensionExpr&,
                                                    const nvinfer1::IDimensionExpr&) override {
    return nullptr;
  }

  nvinfer1::DimsExprs expressions(const std::vector<int64_t>& sizes) {
    nvinfer1::DimsExprs made{static_cast<int32_t>(sizes.size()), {}};
    for (size_t i = 0; i < sizes.size(); ++i) made.d[i] = keep(sizes[i]);
    return made;
  }

 private:
  const nvinfer1::IDimensionExpr* keep(int64_t value) {
    kept_.push_back(std::make_unique<FakeExpression>(value));
    return kept_.back().get();
  }
  std::vector<std::unique_ptr<FakeExpression>> kept_;
};

class FakeLogger final : public nvinfer1::ILogger, public nvinfer1::ILoggerFinder {
 public:
  void log(Severity severity, const char* text) noexcept override {
    if (severity == Severity::kERROR) errors.push_back(text);
  }
  nvinfer1::ILogger* findLogger() override { return this; }

  // The errors since the last call: true where there is exactly one, and it contains `part`.
  bool told(const std::string& part) {
    const bool once = errors.size() == 1 && errors[0].find(part) != std::string::npos;
    errors.clear();
    return once;
  }

  std::vector<std::string> errors;
};

inline nvinfer1::Dims dims_of(const std::vector<int64_t>& sizes) {
  nvinfer1::Dims dims{static_cast<int32_t>(sizes.size()), {}};
  std::copy(sizes.begin(), sizes.end(), dims.d);
  return dims;
}

inline nvinfer1::PluginTensorDesc desc_of(const std::vector<int64_t>& sizes, nvinfer1::DataType type,
                                          nvinfer1::TensorFormat format) {
  nvinfer1::PluginTensorDesc desc{};
  desc.dims = dims_of(sizes);
  desc.type = type;
  desc.format = format;
  return desc;
}

inline nvinfer1::DynamicPluginTensorDesc profile_of(const nvinfer1::PluginTensorDesc& desc) {
  nvinfer1::DynamicPluginTensorDesc dynamic{};
  dynamic.desc = desc;
  dynamic.min = dynamic.opt = dynamic.max = desc.dims;
  return dynamic;
}
