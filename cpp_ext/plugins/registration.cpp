// The two functions that TensorRT looks up in a plugin library.
#include "report.h"
#include "upsample_crop_concat_plugin.h"

#define EDGESEG_EXPORT extern "C" __attribute__((visibility("default")))

EDGESEG_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) { edgeseg::set_logger_finder(finder); }

EDGESEG_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
  static edgeseg::UpsampleCropConcatCreator upsample_crop_concat;
  static nvinfer1::IPluginCreatorInterface* const creators[] = {&upsample_crop_concat};
  count = sizeof(creators) / sizeof(creators[0]);
  return creators;
}
