// Reads plugin fields, whichever of the fitting types the parser, Python or an engine gives them.
#pragma once

#include <NvInferRuntime.h>

#include <cstring>
#include <stdexcept>
#include <string>

#include "../kernels/tensor_kinds.h"

namespace edgeseg {

inline std::invalid_argument wrong_field(const nvinfer1::PluginField& field, const char* wanted) {
  return std::invalid_argument(std::string("the field ") + field.name + " is " + wanted + ": type " +
                               std::to_string(static_cast<int>(field.type)) + ", length " +
                               std::to_string(field.length));
}

template <typename T>
T first_of(const nvinfer1::PluginField& field) {
  T value;
  std::memcpy(&value, field.data, sizeof value);  // an engine's bytes need not be aligned
  return value;
}

// Throws std::invalid_argument where the field is no single integer.
inline int64_t integer_of(const nvinfer1::PluginField& field) {
  if (field.data && field.length == 1) {
    if (field.type == nvinfer1::PluginFieldType::kINT32) return first_of<int32_t>(field);
    if (field.type == nvinfer1::PluginFieldType::kINT64) return first_of<int64_t>(field);
  }
  throw wrong_field(field, "one integer");
}

// Throws std::invalid_argument for a scale that no kernel has. A missing field stands here as 0.
inline int64_t checked_scale(int64_t scale) {
  if (scale < 1 || scale > kMaxScale)
    throw std::invalid_argument("the field scale is an integer from 1 to " + std::to_string(kMaxScale) + ": " +
                                std::to_string(scale));
  return scale;
}

// Without the zeros that some writers put at the end. Throws std::invalid_argument where the field is no text.
inline std::string string_of(const nvinfer1::PluginField& field) {
  if (!field.data || field.length < 0 || field.type != nvinfer1::PluginFieldType::kCHAR)
    throw wrong_field(field, "a text");
  const std::string text(static_cast<const char*>(field.data), static_cast<size_t>(field.length));
  return text.substr(0, text.find('\0'));
}

}  // namespace edgeseg
