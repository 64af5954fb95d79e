// Reads plugin fields, whichever of the fitting types the parser, Python or an engine gives them.
#pragma once

#include <NvInferRuntime.h>

#include <cstring>
#include <stdexcept>
#include <string>

#include "../kernels/tensor_kinds.h"

namespace edgeseg {

// The fields that a plugin is to be made of, looked up by name.
class Fields {
 public:
  // Throws std::invalid_argument for a field that is not among the known ones. `given` may be null: none.
  Fields(const nvinfer1::PluginFieldCollection* given, const nvinfer1::PluginFieldCollection& known) : given_(given) {
    for (int32_t i = 0; given && i < given->nbFields; ++i)
      if (!find(&known, given->fields[i].name))
        throw std::invalid_argument(std::string("no such field: ") + given->fields[i].name + ". It has " +
                                    names_of(known));
  }

  // Throw std::invalid_argument where the field is no single integer, or no text.
  int64_t integer(const char* name, int64_t unless_given) const {
    const nvinfer1::PluginField* field = find(given_, name);
    if (!field) return unless_given;
    if (field->data && field->length == 1) {
      if (field->type == nvinfer1::PluginFieldType::kINT32) return first_of<int32_t>(*field);
      if (field->type == nvinfer1::PluginFieldType::kINT64) return first_of<int64_t>(*field);
    }
    throw wrong(*field, "one integer");
  }

  // Without the zeros that some writers put at the end.
  std::string text(const char* name, const char* unless_given) const {
    const nvinfer1::PluginField* field = find(given_, name);
    if (!field) return unless_given;
    if (!field->data || field->length < 0 || field->type != nvinfer1::PluginFieldType::kCHAR)
      throw wrong(*field, "a text");
    const std::string text(static_cast<const char*>(field->data), static_cast<size_t>(field->length));
    return text.substr(0, text.find('\0'));
  }

  // The field `scale`, which every plugin of ours needs. Throws std::invalid_argument for one that no kernel has.
  int32_t scale() const {
    const int64_t scale = integer("scale", 0);
    if (scale < 1 || scale > kMaxScale)
      throw std::invalid_argument("the field scale is an integer from 1 to " + std::to_string(kMaxScale) + ": " +
                                  std::to_string(scale));
    return static_cast<int32_t>(scale);
  }

 private:
  // The last of that name, or null.
  static const nvinfer1::PluginField* find(const nvinfer1::PluginFieldCollection* fields, const std::string& name) {
    for (int32_t i = fields ? fields->nbFields : 0; i-- > 0;)
      if (name == fields->fields[i].name) return fields->fields + i;
    return nullptr;
  }

  static std::string names_of(const nvinfer1::PluginFieldCollection& fields) {
    std::string names;
    for (int32_t i = 0; i < fields.nbFields; ++i) names += (i ? " and " : "") + std::string(fields.fields[i].name);
    return names;
  }

  static std::invalid_argument wrong(const nvinfer1::PluginField& field, const char* wanted) {
    return std::invalid_argument(std::string("the field ") + field.name + " is " + wanted + ": type " +
                                 std::to_string(static_cast<int>(field.type)) + ", length " +
                                 std::to_string(field.length));
  }

  template <typename T>
  static T first_of(const nvinfer1::PluginField& field) {
    T value;
    std::memcpy(&value, field.data, sizeof value);  // an engine's bytes need not be aligned
    return value;
  }

  const nvinfer1::PluginFieldCollection* given_;
};

}  // namespace edgeseg
