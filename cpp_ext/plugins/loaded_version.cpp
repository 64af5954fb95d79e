#include "loaded_version.h"

#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <initializer_list>

namespace edgeseg {
namespace {

// The library is not linked: its file's name has the major version in it, and one plugin serves several. It is asked
// for by name first, since other libraries (TensorRT-RTX) have a function of the same name.
int32_t find_version() noexcept {
  using Function = int32_t (*)();
  constexpr const char* kFunction = "getInferLibVersion";
  for (const char* name : {"libnvinfer.so.10", "libnvinfer.so.11", "libnvinfer.so.12", "libnvinfer.so"}) {
    void* library = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
    if (!library) continue;
    const auto function = reinterpret_cast<Function>(dlsym(library, kFunction));
    const int32_t version = function ? function() : 0;
    dlclose(library);  // only the count of users: it stays loaded
    if (version > 0) return version;
  }
  const auto function = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, kFunction));
  return function ? function() : NV_TENSORRT_VERSION;
}

}  // namespace

int32_t loaded_version() noexcept {
  static const int32_t version = find_version();
  return version;
}

}  // namespace edgeseg
