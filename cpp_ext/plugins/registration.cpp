// The two functions that TensorRT looks up in a plugin library.
#include "label_map_plugin.h"
#include "upsample_crop_concat_plugin.h"

#define EDGESEG_EXPORT extern "C" __attribute__((visibility("default")))

EDGESEG_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) { edgeseg::set_logger_finder(finder); }

EDGESEG_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
  static edgeseg::Creator<edgeseg::UpsampleCropConcatPlugin> upsample_crop_concat;
  static edgeseg::Creator<edgeseg::LabelMapPlugin> label_map;
  static nvinfer1::IPluginCreatorInterface* const creators[] = {&upsample_crop_concat, &label_map};
  count = sizeof(creators) / sizeof(creators[0]);
  return creators;
}
