// Calls the parser as nvinferserver does, through the documented pointer type, with tensors given as plain arrays.
#include <cstdint>
#include <vector>

#include "nvdsinfer.h"

extern "C" bool EdgesegParseLabelMap(std::vector<NvDsInferLayerInfo> const&, NvDsInferNetworkInfo const&, float,
                                     unsigned int, int*, float*&);

// NvDsInferSemSegmentationParseCustomFunc of nvdsinfer_custom_impl.h.
typedef bool (*Parse)(std::vector<NvDsInferLayerInfo> const& outputLayersInfo,
                      NvDsInferNetworkInfo const& networkInfo, float segmentationThreshold, unsigned int numClasses,
                      int* classificationMap, float*& classProbabilityMap);

// One frame: `count` outputs of rows x columns bytes each, by name, their DeepStream type and an optional 1 in front.
// Returns 1 where the parser takes them, 0 where it does not, -1 where it hands on probabilities.
extern "C" int call_parser(int count, const char** names, uint8_t** buffers, int type, int leading_one,
                           unsigned int rows, unsigned int columns, unsigned int height, unsigned int width,
                           float threshold, int* class_map) {
    std::vector<NvDsInferLayerInfo> layers;
    for (int i = 0; i < count; ++i) {
        NvDsInferLayerInfo layer{};
        layer.dataType = static_cast<NvDsInferDataType>(type);
        unsigned int place = 0;
        if (leading_one) layer.inferDims.d[place++] = 1;
        layer.inferDims.d[place++] = rows;
        layer.inferDims.d[place++] = columns;
        layer.inferDims.numDims = place;
        layer.inferDims.numElements = rows * columns;
        layer.layerName = names[i];
        layer.buffer = buffers[i];
        layers.push_back(layer);
    }
    const NvDsInferNetworkInfo network{width, height, 3};
    float unset = 0;
    float* probabilities = &unset;
    const Parse parse = &EdgesegParseLabelMap;
    const bool taken = parse(layers, network, threshold, 2, class_map, probabilities);
    return probabilities != nullptr ? -1 : taken ? 1 : 0;
}
