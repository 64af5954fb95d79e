// TensorRT's types and formats, and the kernels'.
#pragma once

#include <NvInferRuntime.h>

#include "../kernels/tensor_kinds.h"

namespace edgeseg {

// Throw std::invalid_argument for what no kernel has.
Type type_of(nvinfer1::DataType type);
Layout layout_of(nvinfer1::TensorFormat format);

// Whether this TensorRT knows tensors of that type and format, and the kernels do too.
bool takes(nvinfer1::DataType type, nvinfer1::TensorFormat format, int32_t tensorrt_version);

// The sizes that are known while the network is built; -1 stands for the others.
nvinfer1::Dims known(const nvinfer1::DimsExprs& expressions);

}  // namespace edgeseg
