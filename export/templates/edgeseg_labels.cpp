// The label map of an edgeseg model for DeepStream's Gst-nvinferserver.
//
// nvinferserver calls the function below once a frame, with the model's outputs in host memory, and attaches the class
// map that it fills to the frame: NvDsInferSegmentationMeta, of the size of the model's input. Its configuration names
// the function in postprocess { segmentation { custom_parse_segmentation_func } }, and its prototype is
// NvDsInferSemSegmentationParseCustomFunc of nvdsinfer_custom_impl.h. That header asks for TensorRT's; this file does
// with nvdsinfer.h.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <vector>

#include "nvdsinfer.h"

namespace {

// The output `name` [1, rows, columns] or [rows, columns] as bytes; null where there is none of that name and size.
const uint8_t* find_map(const std::vector<NvDsInferLayerInfo>& layers, const char* name, unsigned rows,
                        unsigned columns) {
    for (const NvDsInferLayerInfo& layer : layers) {
        if (layer.layerName == nullptr || std::strcmp(layer.layerName, name) != 0) continue;
        // uint8 is UINT8 (5) in newer DeepStreams; older ones have no such word and say INT8 (2).
        const int type = static_cast<int>(layer.dataType);
        const NvDsInferDims& dims = layer.inferDims;
        if ((type == 2 || type == 5) && dims.numDims >= 2 && dims.d[dims.numDims - 2] == rows &&
            dims.d[dims.numDims - 1] == columns && dims.numElements == rows * columns && layer.buffer != nullptr) {
            return static_cast<const uint8_t*>(layer.buffer);
        }
        std::cerr << "edgeseg: output " << name << " is no uint8 map of " << rows << "x" << columns << std::endl;
    }
    return nullptr;
}

}  // namespace

// Fills classificationMap [height x width] with the id of each pixel's class. With a threshold above 0 in the
// configuration, and a model that gives the foreground's probability, 1 stands where that reaches the threshold; the
// model's own label map, which cuts at 0.5, otherwise. No probabilities are handed on: DeepStream wants floats.
extern "C" bool EdgesegParseLabelMap(std::vector<NvDsInferLayerInfo> const& outputLayersInfo,
                                     NvDsInferNetworkInfo const& networkInfo, float segmentationThreshold,
                                     unsigned int /*numClasses*/, int* classificationMap,
                                     float*& classProbabilityMap) {
    classProbabilityMap = nullptr;
    const unsigned rows = networkInfo.height, columns = networkInfo.width;
    const std::size_t pixels = static_cast<std::size_t>(rows) * columns;
    if (segmentationThreshold > 0.0f) {
        const uint8_t* probability = find_map(outputLayersInfo, "probability", rows, columns);
        if (probability != nullptr) {
            // A hair less, because 255 times a float can come out above the byte that it stands for.
            const int first = static_cast<int>(std::ceil(255.0 * segmentationThreshold - 1e-4));
            for (std::size_t i = 0; i < pixels; ++i) classificationMap[i] = probability[i] >= first ? 1 : 0;
            return true;
        }
    }
    const uint8_t* labels = find_map(outputLayersInfo, "label_map", rows, columns);
    if (labels == nullptr) {
        std::cerr << "edgeseg: the model gives no label_map of its input's size" << std::endl;
        return false;
    }
    for (std::size_t i = 0; i < pixels; ++i) classificationMap[i] = labels[i];
    return true;
}
