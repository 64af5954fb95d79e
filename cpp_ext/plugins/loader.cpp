// libedgeseg_plugin_loader.so, for programs that only dlopen what they are told is a plugin library (Triton, trtexec's
// --staticPlugins): being loaded it hands libedgeseg_plugin.so, which lies beside it, to the registry of this process'
// TensorRT. A library of its own, since one that registers itself cannot be given to a registry as well.
#include <NvInferVersion.h>
#include <dlfcn.h>

#include <string>

#include "loaded_tensorrt.h"
#include "report.h"

namespace edgeseg {
namespace {

constexpr char kLibrary[] = "libedgeseg_plugin.so";

// Nothing where it is registered, else why it is not.
std::string load_plugin() {
  nvinfer1::IPluginRegistry* registry = loaded_registry();
  if (!registry) return "there is no TensorRT in this process yet";
  // The registry's table of functions changed with 11.
  if (loaded_version() / 10000 != NV_TENSORRT_VERSION / 10000) {
    return "this TensorRT is " + std::to_string(loaded_version()) + ", the headers it was built with are of " +
           std::to_string(NV_TENSORRT_VERSION) + ": build it with headers of the same major version";
  }
  if (registry->getCreator("UpsampleCropConcat", "1", "edgeseg")) return {};
  Dl_info self{};
  if (!dladdr(kLibrary, &self) || !self.dli_fname) return "its own file is not known";
  const std::string file = self.dli_fname;
  const size_t slash = file.rfind('/');
  const std::string plugin = (slash == std::string::npos ? "" : file.substr(0, slash + 1)) + kLibrary;
  return registry->loadLibrary(plugin.c_str()) ? "" : "TensorRT does not take " + plugin;
}

__attribute__((constructor)) void loaded() noexcept {
  guarded("loader", 0, [] {
    const std::string why = load_plugin();
    if (!why.empty()) report_error("the plugin is not registered: " + why);
    return 0;
  });
}

}  // namespace
}  // namespace edgeseg
