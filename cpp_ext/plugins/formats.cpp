#include "formats.h"

#include <stdexcept>
#include <string>

namespace edgeseg {
namespace {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

constexpr int32_t kFirstWithHwc16 = 100600;  // int8 as kHWC16
constexpr int32_t kFirstAfter10_6 = 100700;  // 10.6 alone has no vectors of bfloat16

}  // namespace

Type type_of(DataType type) {
  switch (type) {
    case DataType::kFLOAT: return Type::kFloat32;
    case DataType::kHALF: return Type::kFloat16;
    case DataType::kBF16: return Type::kBfloat16;
    case DataType::kINT8: return Type::kInt8;
    default: throw std::invalid_argument("a type that no kernel has: " + std::to_string(static_cast<int>(type)));
  }
}

Layout layout_of(TensorFormat format) {
  switch (format) {
    case TensorFormat::kLINEAR: return Layout::kNCHW;
    case TensorFormat::kHWC: return Layout::kNHWC;
    case TensorFormat::kHWC8: return Layout::kHWC8;
    case TensorFormat::kHWC16: return Layout::kHWC16;
    case TensorFormat::kCHW32: return Layout::kCHW32;
    default: throw std::invalid_argument("a format that no kernel has: " + std::to_string(static_cast<int>(format)));
  }
}

bool takes(DataType type, TensorFormat format, int32_t tensorrt_version) {
  const bool linear = format == TensorFormat::kLINEAR;
  switch (type) {
    case DataType::kFLOAT: return linear || format == TensorFormat::kHWC;
    case DataType::kHALF: return linear || format == TensorFormat::kHWC8;
    case DataType::kBF16: {
      const bool vectors = tensorrt_version < kFirstWithHwc16 || tensorrt_version >= kFirstAfter10_6;
      return linear || (format == TensorFormat::kHWC8 && vectors);
    }
    case DataType::kINT8:
      return linear || format == TensorFormat::kCHW32 ||
             (format == TensorFormat::kHWC16 && tensorrt_version >= kFirstWithHwc16);
    default: return false;
  }
}

nvinfer1::Dims known(const nvinfer1::DimsExprs& expressions) {
  nvinfer1::Dims dims{expressions.nbDims, {}};
  for (int32_t i = 0; i < expressions.nbDims; ++i)
    dims.d[i] = expressions.d[i]->isConstant() ? expressions.d[i]->getConstantValue() : -1;
  return dims;
}

}  // namespace edgeseg
