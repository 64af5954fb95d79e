// What edgeseg's plugins and their creators share: names, capabilities, one output, no state between runs.
#pragma once

#include <NvInferRuntime.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "report.h"

namespace edgeseg {

constexpr const char* kPluginVersion = "1";
constexpr const char* kPluginNamespace = "edgeseg";

// `Derived` has `static constexpr const char* kName` and the rest of TensorRT's methods.
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
    return guarded<nvinfer1::IPluginV3*>(Derived::kName, nullptr,
                                         [this] { return new Derived(static_cast<const Derived&>(*this)); });
  }
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept final { return clone(); }

  const char* getPluginName() const noexcept final { return Derived::kName; }
  const char* getPluginVersion() const noexcept final { return kPluginVersion; }
  const char* getPluginNamespace() const noexcept final { return kPluginNamespace; }
  int32_t getNbOutputs() const noexcept final { return 1; }
  const char* getTimingCacheID() noexcept final { return text_.c_str(); }
  const char* getMetadataString() noexcept final { return text_.c_str(); }

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

  const std::string& text() const { return text_; }

  const nvinfer1::PluginFieldCollection* keep(std::vector<nvinfer1::PluginField> fields) {
    fields_ = std::move(fields);
    collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
    return &collection_;
  }

 private:
  std::string text_;  // the plugin's attributes, as "scale=2 mode=bilinear"
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_{};
};

template <typename Plugin>
class CreatorBase : public nvinfer1::IPluginCreatorV3One {
 public:
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept final { return &collection_; }
  const char* getPluginName() const noexcept final { return Plugin::kName; }
  const char* getPluginVersion() const noexcept final { return kPluginVersion; }
  const char* getPluginNamespace() const noexcept final { return kPluginNamespace; }

 protected:
  explicit CreatorBase(std::vector<nvinfer1::PluginField> fields) : fields_(std::move(fields)) {
    collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
  }

 private:
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_{};
};

// Throws std::invalid_argument unless there are so many inputs, and one output.
inline void check_counts(int32_t wanted, int32_t inputs, int32_t outputs) {
  if (inputs != wanted || outputs != 1)
    throw std::invalid_argument("it takes " + std::to_string(wanted) + " inputs and gives one output: " +
                                std::to_string(inputs) + " and " + std::to_string(outputs) + " seen");
}

}  // namespace edgeseg
