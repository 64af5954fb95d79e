// Loads a plugin library into a TensorRT, where Python is not at hand (under qemu), and makes both plugins.
//   load_plugin LIBNVINFER LIBEDGESEG_PLUGIN
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstdio>
#include <string>

namespace {

bool make(nvinfer1::IPluginRegistry& registry, const char* name) {
  nvinfer1::IPluginCreatorInterface* found = registry.getCreator(name, "1", "edgeseg");
  if (!found || std::string(found->getInterfaceInfo().kind) != "PLUGIN CREATOR_V3ONE") return false;
  const int32_t scale = 2;
  const nvinfer1::PluginField field("scale", &scale, nvinfer1::PluginFieldType::kINT32, 1);
  const nvinfer1::PluginFieldCollection fields{1, &field};
  auto* creator = static_cast<nvinfer1::IPluginCreatorV3One*>(found);
  nvinfer1::IPluginV3* plugin = creator->createPlugin("layer", &fields, nvinfer1::TensorRTPhase::kBUILD);
  if (!plugin) return false;
  const bool complete = plugin->getCapabilityInterface(nvinfer1::PluginCapabilityType::kCORE) &&
                        plugin->getCapabilityInterface(nvinfer1::PluginCapabilityType::kBUILD) &&
                        plugin->getCapabilityInterface(nvinfer1::PluginCapabilityType::kRUNTIME);
  delete plugin;
  return complete;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  void* library = dlopen(arguments[1], RTLD_NOW | RTLD_GLOBAL);
  if (!library) {
    std::printf("error: TensorRT does not load: %s\n", dlerror());
    return 1;
  }
  const auto version = reinterpret_cast<int32_t (*)()>(dlsym(library, "getInferLibVersion"));
  const auto get_registry = reinterpret_cast<nvinfer1::IPluginRegistry* (*)()>(dlsym(library, "getPluginRegistry"));
  nvinfer1::IPluginRegistry* registry = get_registry ? get_registry() : nullptr;
  if (!version || !registry || !registry->loadLibrary(arguments[2])) {
    std::printf("error: the plugin library does not load: %s\n", arguments[2]);
    return 1;
  }
  const bool step = make(*registry, "UpsampleCropConcat"), labels = make(*registry, "LabelMap");
  std::printf("TensorRT %d: UpsampleCropConcat %s, LabelMap %s\n", version(), step ? "made" : "missing",
              labels ? "made" : "missing");
  return step && labels ? 0 : 1;
}
