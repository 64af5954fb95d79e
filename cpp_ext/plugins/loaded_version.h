// The TensorRT that this process runs, which may be newer than the headers that the library was compiled with.
#pragma once

#include <cstdint>

namespace edgeseg {

// 100600 for 10.6.0. Where no TensorRT is found in the process: the version of the headers.
int32_t loaded_version() noexcept;

}  // namespace edgeseg
