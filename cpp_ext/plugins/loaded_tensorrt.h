// The TensorRT that this process runs. It is not linked, so that one plugin serves several versions: it is looked up.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>

namespace edgeseg {

// 100600 for 10.6.0, newer perhaps than the headers. Where no TensorRT is found in the process: the headers' version.
int32_t loaded_version() noexcept;

// Its plugin registry, the one of the whole process; null where no TensorRT is found.
nvinfer1::IPluginRegistry* loaded_registry() noexcept;

// The logger that TensorRT keeps for what belongs to no builder or runtime; null where there is none.
nvinfer1::ILogger* loaded_logger() noexcept;

}  // namespace edgeseg
