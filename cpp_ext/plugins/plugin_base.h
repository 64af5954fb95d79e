// What edgeseg's plugins and their creators share: TensorRT's methods, written over what a plugin says of itself; one
// output of the inputs' type, no workspace, no state between runs.
#pragma once

#include <NvInferRuntime.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fields.h"
#include "formats.h"
#include "report.h"

namespace edgeseg {

constexpr const char* kPluginVersion = "1";
constexpr const char* kPluginNamespace = "edgeseg";

// What TensorRT says of the tensors, input by input.
using AllDims = std::vector<nvinfer1::Dims>;
using AllTypes = std::vector<nvinfer1::DataType>;

// `Derived` has
//   static constexpr const char *kName, *kInputs[];    the plugin's name, and its inputs'
//   explicit Derived(const Fields&);                   throws std::invalid_argument for fields that make no plugin
//   static std::vector<nvinfer1::PluginField> known_fields();
//   std::vector<nvinfer1::PluginField> fields() const;     the same, with its values
//   void check(const AllDims&, const AllTypes&) const;     throws std::invalid_argument; sizes may be -1, unknown
//   std::vector<const nvinfer1::IDimensionExpr*> shape(const nvinfer1::DimsExprs* inputs, nvinfer1::IExprBuilder&)
//   const; bool takes_format(int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors) const; cudaError_t
//   run(const nvinfer1::PluginTensorDesc*, const void* const* inputs, void* output, cudaStream_t) const;
// which may all throw: it is reported as an error of the plugin.
template <typename Derived>
class PluginBase : public nvinfer1::IPluginV3,
                   public nvinfer1::IPluginV3OneCore,
                   public nvinfer1::IPluginV3OneBuild,
                   public nvinfer1::IPluginV3OneRuntime {
 public:
  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept final {
    switch (type) {
      case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
      case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
      case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return guarded<nvinfer1::IPluginCapability*>(Derived::kName, nullptr, [type]() -> nvinfer1::IPluginCapability* {
      throw std::invalid_argument("no such capability: " + std::to_string(static_cast<int>(type)));
    });
  }

  nvinfer1::IPluginV3* clone() noexcept final {
    return guarded<nvinfer1::IPluginV3*>(Derived::kName, nullptr, [this] { return new Derived(derived()); });
  }
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept final { return clone(); }

  const char* getPluginName() const noexcept final { return Derived::kName; }
  const char* getPluginVersion() const noexcept final { return kPluginVersion; }
  const char* getPluginNamespace() const noexcept final { return kPluginNamespace; }
  int32_t getNbOutputs() const noexcept final { return 1; }
  const char* getTimingCacheID() noexcept final { return text_.c_str(); }
  const char* getMetadataString() noexcept final { return text_.c_str(); }

  int32_t getOutputDataTypes(nvinfer1::DataType* output_types, int32_t outputs, const nvinfer1::DataType* input_types,
                             int32_t inputs) const noexcept final {
    return guarded_call([=] {
      check_counts(inputs, outputs);
      if (!std::equal(input_types + 1, input_types + inputs, input_types))
        throw std::invalid_argument("its inputs are of two types");
      type_of(input_types[0]);
      output_types[0] = input_types[0];
    });
  }

  int32_t getOutputShapes(const nvinfer1::DimsExprs* inputs, int32_t inputs_seen, const nvinfer1::DimsExprs*, int32_t,
                          nvinfer1::DimsExprs* outputs, int32_t output_count,
                          nvinfer1::IExprBuilder& builder) noexcept final {
    return guarded_call([&] {
      check_counts(inputs_seen, output_count);
      AllDims dims;
      std::transform(inputs, inputs + inputs_seen, std::back_inserter(dims), known);
      checked(dims, {});
      const auto shape = derived().shape(inputs, builder);
      if (std::find(shape.begin(), shape.end(), nullptr) != shape.end())
        throw std::runtime_error("TensorRT made no expression for the output's shape");
      outputs[0].nbDims = static_cast<int32_t>(shape.size());
      std::copy(shape.begin(), shape.end(), outputs[0].d);
    });
  }

  bool supportsFormatCombination(int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors, int32_t inputs,
                                 int32_t outputs) noexcept final {
    return guarded<bool>(Derived::kName, false, [=] {
      check_counts(inputs, outputs);
      return tensors[position].desc.type == tensors[0].desc.type && derived().takes_format(position, tensors);
    });
  }

  int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* inputs, int32_t inputs_seen,
                          const nvinfer1::DynamicPluginTensorDesc*, int32_t output_count) noexcept final {
    return guarded_call([=] {
      check_counts(inputs_seen, output_count);
      AllDims dims, best;
      AllTypes types;
      for (int32_t i = 0; i < inputs_seen; ++i) {
        dims.push_back(inputs[i].desc.dims);
        best.push_back(inputs[i].opt);
        types.push_back(inputs[i].desc.type);
      }
      checked(dims, types);
      checked(best, types);
    });
  }

  int32_t onShapeChange(const nvinfer1::PluginTensorDesc* inputs, int32_t inputs_seen,
                        const nvinfer1::PluginTensorDesc*, int32_t output_count) noexcept final {
    return guarded_call([=] {
      check_counts(inputs_seen, output_count);
      AllTypes types;
      for (int32_t i = 0; i < inputs_seen; ++i) types.push_back(inputs[i].type);
      checked(dims_of_run(inputs), types);
    });
  }

  int32_t enqueue(const nvinfer1::PluginTensorDesc* input_descs, const nvinfer1::PluginTensorDesc*,
                  const void* const* inputs, void* const* outputs, void*, cudaStream_t stream) noexcept final {
    return guarded_call([=] {
      const cudaError_t error = derived().run(input_descs, inputs, outputs[0], stream);
      if (error != cudaSuccess)
        throw std::runtime_error(std::string(cudaGetErrorString(error)) + ": " + described(dims_of_run(input_descs)));
    });
  }

  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept final {
    return guarded<const nvinfer1::PluginFieldCollection*>(Derived::kName, nullptr, [this] {
      fields_ = derived().fields();
      collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
      return &collection_;
    });
  }

 protected:
  explicit PluginBase(std::string text) : text_(std::move(text)) {}
  // Copies what a plugin is; the fields that TensorRT reads point into the copy, so they are made anew.
  PluginBase(const PluginBase& other)
      : nvinfer1::IPluginV3(),
        nvinfer1::IPluginV3OneCore(),
        nvinfer1::IPluginV3OneBuild(),
        nvinfer1::IPluginV3OneRuntime(),
        text_(other.text_) {}
  PluginBase& operator=(const PluginBase&) = delete;

 private:
  static constexpr int32_t input_count() { return static_cast<int32_t>(std::size(Derived::kInputs)); }

  const Derived& derived() const { return static_cast<const Derived&>(*this); }

  // 0, or -1 where `body` throws.
  template <typename Body>
  static int32_t guarded_call(Body body) noexcept {
    return guarded<int32_t>(Derived::kName, -1, [&] {
      body();
      return 0;
    });
  }

  static void check_counts(int32_t inputs, int32_t outputs) {
    if (inputs != input_count() || outputs != 1)
      throw std::invalid_argument("it takes " + std::to_string(input_count()) + " inputs and gives one output: " +
                                  std::to_string(inputs) + " and " + std::to_string(outputs) + " seen");
  }

  // Four dimensions each, and what the plugin itself asks for; what is thrown says what was seen.
  void checked(const AllDims& dims, const AllTypes& types) const {
    try {
      for (const nvinfer1::Dims& one : dims)
        if (one.nbDims != 4) throw std::invalid_argument("its inputs have four dimensions, NCHW");
      derived().check(dims, types);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(std::string(error.what()) + ": " + described(dims));
    }
  }

  static AllDims dims_of_run(const nvinfer1::PluginTensorDesc* inputs) {
    AllDims dims;
    for (int32_t i = 0; i < input_count(); ++i) dims.push_back(inputs[i].dims);
    return dims;
  }

  // "deep [1, 64, 28, 28], skip [1, 32, 56, 56], scale=2 mode=bilinear"
  std::string described(const AllDims& dims) const {
    std::string seen;
    for (size_t i = 0; i < dims.size(); ++i) seen += std::string(Derived::kInputs[i]) + " " + text_of(dims[i]) + ", ";
    return seen + text_;
  }

  std::string text_;  // the plugin's attributes, as "scale=2 mode=bilinear"
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_{};
};

template <typename Plugin>
class Creator final : public nvinfer1::IPluginCreatorV3One {
 public:
  Creator() : fields_(Plugin::known_fields()) { collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()}; }

  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
  const char* getPluginName() const noexcept override { return Plugin::kName; }
  const char* getPluginVersion() const noexcept override { return kPluginVersion; }
  const char* getPluginNamespace() const noexcept override { return kPluginNamespace; }

  // Null after an error, which the logger has.
  nvinfer1::IPluginV3* createPlugin(const char* name, const nvinfer1::PluginFieldCollection* given,
                                    nvinfer1::TensorRTPhase) noexcept override {
    return guarded<nvinfer1::IPluginV3*>(name ? name : Plugin::kName, nullptr,
                                         [=] { return new Plugin(Fields(given, collection_)); });
  }

 private:
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_{};
};

}  // namespace edgeseg
