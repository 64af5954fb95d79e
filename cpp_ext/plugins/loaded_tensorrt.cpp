#include "loaded_tensorrt.h"

#include <dlfcn.h>

#include <initializer_list>

namespace edgeseg {
namespace {

// A function of the TensorRT that is loaded. Its file is asked by name first, with the major version in it, since other
// libraries (TensorRT-RTX) have functions of the same names.
template <typename Function>
Function find(const char* function) noexcept {
  for (const char* name : {"libnvinfer.so.10", "libnvinfer.so.11", "libnvinfer.so.12", "libnvinfer.so"}) {
    void* library = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
    if (!library) continue;
    void* found = dlsym(library, function);
    dlclose(library);  // only the count of users: it stays loaded
    if (found) return reinterpret_cast<Function>(found);
  }
  return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, function));
}

}  // namespace

int32_t loaded_version() noexcept {
  static const auto function = find<int32_t (*)()>("getInferLibVersion");
  return function ? function() : NV_TENSORRT_VERSION;
}

nvinfer1::IPluginRegistry* loaded_registry() noexcept {
  static const auto function = find<nvinfer1::IPluginRegistry* (*)()>("getPluginRegistry");
  return function ? function() : nullptr;
}

nvinfer1::ILogger* loaded_logger() noexcept {
  static const auto function = find<nvinfer1::ILogger* (*)()>("getLogger");
  return function ? function() : nullptr;
}

}  // namespace edgeseg
