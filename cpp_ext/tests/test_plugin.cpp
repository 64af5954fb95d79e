// Drives the plugins as TensorRT does: create, clone, types, shapes, formats, configure, serialize, create again,
// attach, shapes of the run, enqueue. The kernels run on the CPU, and all is compiled with the sanitizers; or on the
// device, with EDGESEG_TEST_ON_DEVICE.
#include <cmath>

#include "../plugins/formats.h"
#include "../plugins/upsample_crop_concat_plugin.h"
#include "cases.h"
#include "check.h"
#include "fake_tensorrt.h"
#include "memory.h"

using namespace edgeseg;
using namespace nvinfer1;

extern "C" void setLoggerFinder(ILoggerFinder* finder);
extern "C" IPluginCreatorInterface* const* getCreators(int32_t& count);

namespace {

using Sizes = std::vector<int64_t>;

FakeLogger logger;

IPluginCreatorV3One* creator_of(const std::string& name) {
  int32_t count = 0;
  IPluginCreatorInterface* const* creators = getCreators(count);
  for (int32_t i = 0; i < count; ++i) {
    CHECK(std::string(creators[i]->getInterfaceInfo().kind) == "PLUGIN CREATOR_V3ONE");
    auto* creator = static_cast<IPluginCreatorV3One*>(creators[i]);
    if (creator->getPluginName() == name) return creator;
  }
  return nullptr;
}

std::unique_ptr<IPluginV3> create(const std::string& plugin, std::vector<PluginField> fields,
                                  TensorRTPhase phase = TensorRTPhase::kBUILD) {
  const PluginFieldCollection collection{static_cast<int32_t>(fields.size()), fields.data()};
  return std::unique_ptr<IPluginV3>(creator_of(plugin)->createPlugin("layer", &collection, phase));
}

template <typename Capability>
Capability* capability(const std::unique_ptr<IPluginV3>& plugin, PluginCapabilityType type) {
  return static_cast<Capability*>(plugin->getCapabilityInterface(type));
}

IPluginV3OneBuild* build_of(const std::unique_ptr<IPluginV3>& plugin) {
  return capability<IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD);
}

// What an engine keeps of a plugin, and the plugin that is made of it: the bytes move, as they do in a file.
std::unique_ptr<IPluginV3> reload(const std::unique_ptr<IPluginV3>& plugin) {
  auto* runtime = capability<IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
  const PluginFieldCollection* saved = runtime->getFieldsToSerialize();
  std::vector<Bytes> bytes;
  std::vector<PluginField> fields;
  for (int32_t i = 0; i < saved->nbFields; ++i) {
    const PluginField& field = saved->fields[i];
    const size_t size = static_cast<size_t>(field.length) * (field.type == PluginFieldType::kINT32 ? 4 : 1);
    Bytes shifted(size + 1);  // off its alignment
    std::memcpy(shifted.data() + 1, field.data, size);
    bytes.push_back(std::move(shifted));
    fields.emplace_back(field.name, bytes.back().data() + 1, field.type, field.length);
  }
  const std::string name = capability<IPluginV3OneCore>(plugin, PluginCapabilityType::kCORE)->getPluginName();
  return create(name, fields, TensorRTPhase::kRUNTIME);
}

std::vector<PluginField> step_fields(const int32_t& scale, const char* mode) {
  return {{"scale", &scale, PluginFieldType::kINT32, 1},
          {"mode", mode, PluginFieldType::kCHAR, static_cast<int32_t>(std::strlen(mode))}};
}

void check_creation() {
  auto* creator = creator_of("UpsampleCropConcat");
  if (!CHECK(creator != nullptr)) return;
  CHECK(std::string(creator->getPluginVersion()) == "1" && std::string(creator->getPluginNamespace()) == "edgeseg");
  const PluginFieldCollection* names = creator->getFieldNames();
  CHECK(names->nbFields == 2 && std::string(names->fields[0].name) == "scale" &&
        std::string(names->fields[1].name) == "mode");
  const int32_t two = 2, none = 0, too_large = 1025;
  const int64_t wide = 3;
  const float broken = 2;
  CHECK(create("UpsampleCropConcat", step_fields(two, "nearest")) != nullptr);
  CHECK(create("UpsampleCropConcat", {{"scale", &two, PluginFieldType::kINT32, 1}}) != nullptr);
  CHECK(create("UpsampleCropConcat", {{"scale", &wide, PluginFieldType::kINT64, 1}}) != nullptr);
  CHECK(create("UpsampleCropConcat", {{"scale", &two, PluginFieldType::kINT32, 1},
                                      {"mode", "bilinear\0", PluginFieldType::kCHAR, 9}}) != nullptr);
  CHECK(logger.errors.empty());
  CHECK(create("UpsampleCropConcat", {}) == nullptr && logger.told("scale is an integer from 1 to 1024: 0"));
  CHECK(create("UpsampleCropConcat", step_fields(none, "nearest")) == nullptr && logger.told("layer: "));
  CHECK(create("UpsampleCropConcat", step_fields(too_large, "nearest")) == nullptr && logger.told("1025"));
  CHECK(create("UpsampleCropConcat", step_fields(two, "cubic")) == nullptr && logger.told("cubic"));
  CHECK(create("UpsampleCropConcat", {{"scale", &broken, PluginFieldType::kFLOAT32, 1}}) == nullptr &&
        logger.told("the field scale is one integer"));
  CHECK(create("UpsampleCropConcat", {{"factor", &two, PluginFieldType::kINT32, 1}}) == nullptr &&
        logger.told("no such field: factor"));
  CHECK(creator->createPlugin("layer", nullptr, TensorRTPhase::kBUILD) == nullptr && logger.told("scale"));
}

void check_identity(const std::unique_ptr<IPluginV3>& plugin) {
  auto* core = capability<IPluginV3OneCore>(plugin, PluginCapabilityType::kCORE);
  CHECK(std::string(core->getPluginName()) == "UpsampleCropConcat" && std::string(core->getPluginVersion()) == "1" &&
        std::string(core->getPluginNamespace()) == "edgeseg");
  CHECK(std::string(core->getInterfaceInfo().kind) == "PLUGIN_V3ONE_CORE");
  CHECK(std::string(build_of(plugin)->getInterfaceInfo().kind) == "PLUGIN_V3ONE_BUILD");
  CHECK(build_of(plugin)->getNbOutputs() == 1 && build_of(plugin)->getWorkspaceSize(nullptr, 2, nullptr, 1) == 0);
  CHECK(std::string(build_of(plugin)->getMetadataString()) == "scale=2 mode=bilinear");
  CHECK(plugin->getCapabilityInterface(static_cast<PluginCapabilityType>(9)) == nullptr && logger.told("capability"));
}

void check_types(const std::unique_ptr<IPluginV3>& plugin) {
  DataType types[2] = {DataType::kHALF, DataType::kHALF}, out = DataType::kBOOL;
  CHECK(build_of(plugin)->getOutputDataTypes(&out, 1, types, 2) == 0 && out == DataType::kHALF);
  types[1] = DataType::kFLOAT;
  CHECK(build_of(plugin)->getOutputDataTypes(&out, 1, types, 2) != 0 && logger.told("two types"));
  types[0] = types[1] = DataType::kINT32;
  CHECK(build_of(plugin)->getOutputDataTypes(&out, 1, types, 2) != 0 && logger.told("a type"));
  CHECK(build_of(plugin)->getOutputDataTypes(&out, 1, types, 1) != 0 &&
        logger.told("it takes 2 inputs and gives one output: 1 and 1 seen"));
}

// The output's sizes (-1: unknown), or nothing after an error.
Sizes shapes(const std::unique_ptr<IPluginV3>& plugin, const std::vector<Sizes>& sizes_in) {
  FakeBuilder builder;
  std::vector<DimsExprs> inputs;
  for (const Sizes& one : sizes_in) inputs.push_back(builder.expressions(one));
  DimsExprs output{};
  if (build_of(plugin)->getOutputShapes(inputs.data(), static_cast<int32_t>(inputs.size()), nullptr, 0, &output, 1,
                                        builder) != 0)
    return {};
  Sizes sizes;
  for (int32_t i = 0; i < output.nbDims; ++i)
    sizes.push_back(output.d[i]->isConstant() ? output.d[i]->getConstantValue() : -1);
  return sizes;
}

void check_shapes(const std::unique_ptr<IPluginV3>& plugin) {
  CHECK((shapes(plugin, {{1, 64, 28, 28}, {1, 32, 64, 64}}) == Sizes{1, 96, 56, 56}));
  CHECK((shapes(plugin, {{-1, 64, 28, -1}, {-1, 32, 56, -1}}) == Sizes{-1, 96, 56, -1}));
  CHECK((shapes(plugin, {{0, 1, 3, 5}, {0, 1, 7, 11}}) == Sizes{0, 2, 6, 10}));
  CHECK(logger.errors.empty());
  CHECK((shapes(plugin, {{1, 64, 28, 28}, {1, 32, 55, 56}}).empty()) &&
        logger.told("cannot be cropped: deep [1, 64, 28, 28]"));
  CHECK((shapes(plugin, {{-1, 64, -1, 28}, {-1, 32, -1, 50}}).empty()) && logger.told("skip [-1, 32, -1, 50]"));
  CHECK((shapes(plugin, {{1, 64, 28, 28}, {2, 32, 56, 56}}).empty()) && logger.told("batch"));
  CHECK((shapes(plugin, {{64, 28, 28}, {32, 56, 56}}).empty()) && logger.told("four dimensions"));
}

void check_formats(const std::unique_ptr<IPluginV3>& plugin) {
  const auto taken = [&](DataType type, TensorFormat format, int64_t deep, int64_t skip) {
    DynamicPluginTensorDesc tensors[3] = {profile_of(desc_of({-1, deep, 8, 8}, type, format)),
                                          profile_of(desc_of({-1, skip, 16, 16}, type, format)),
                                          profile_of(desc_of({-1, deep + skip, 16, 16}, type, format))};
    for (int32_t position = 0; position < 3; ++position)
      if (!build_of(plugin)->supportsFormatCombination(position, tensors, 2, 1)) return false;
    return true;
  };
  // Which format goes with which channels; without a TensorRT in the process the headers' version decides.
  struct Row {
    TensorFormat format;
    int64_t vector;
  };
  const Row rows[] = {{TensorFormat::kLINEAR, 1}, {TensorFormat::kHWC, 1},    {TensorFormat::kHWC8, 8},
                      {TensorFormat::kHWC16, 16}, {TensorFormat::kCHW32, 32}, {TensorFormat::kCHW4, 4},
                      {TensorFormat::kCHW16, 16}, {TensorFormat::kDHWC8, 8},  {TensorFormat::kCHW2, 2}};
  for (const DataType type : {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT8, DataType::kINT32,
                              DataType::kUINT8, DataType::kBOOL, DataType::kINT64, DataType::kFP8})
    for (const Row& row : rows)
      for (const int64_t deep : {3, 8, 24, 32, 64})
        for (const int64_t skip : {5, 16, 32, 96}) {
          const bool divides = deep % row.vector == 0 && skip % row.vector == 0;
          CHECK(taken(type, row.format, deep, skip) == (takes(type, row.format, NV_TENSORRT_VERSION) && divides));
        }
  CHECK(!taken(DataType::kINT8, TensorFormat::kCHW32, -1, 32));
  DynamicPluginTensorDesc mixed[3] = {profile_of(desc_of({1, 8, 8, 8}, DataType::kHALF, TensorFormat::kLINEAR)),
                                      profile_of(desc_of({1, 8, 16, 16}, DataType::kHALF, TensorFormat::kHWC8)),
                                      profile_of(desc_of({1, 16, 16, 16}, DataType::kFLOAT, TensorFormat::kLINEAR))};
  CHECK(!build_of(plugin)->supportsFormatCombination(1, mixed, 2, 1));
  CHECK(!build_of(plugin)->supportsFormatCombination(2, mixed, 2, 1));
  CHECK(logger.errors.empty());
}

// Vectors by version: bfloat16 not on 10.6, int8 in kHWC16 from 10.6 on.
void check_versions() {
  for (const int32_t version : {100300, 100600, 100601, 100700, 101500, 110200}) {
    CHECK(takes(DataType::kFLOAT, TensorFormat::kHWC, version) &&
          !takes(DataType::kFLOAT, TensorFormat::kHWC8, version));
    CHECK(takes(DataType::kHALF, TensorFormat::kHWC8, version) && !takes(DataType::kHALF, TensorFormat::kHWC, version));
    CHECK(takes(DataType::kBF16, TensorFormat::kHWC8, version) == (version / 100 != 1006));
    CHECK(takes(DataType::kINT8, TensorFormat::kCHW32, version) &&
          !takes(DataType::kHALF, TensorFormat::kCHW32, version));
    CHECK(takes(DataType::kINT8, TensorFormat::kHWC16, version) == (version >= 100600));
    CHECK(!takes(DataType::kUINT8, TensorFormat::kLINEAR, version) &&
          !takes(DataType::kUINT8, TensorFormat::kHWC, version));
  }
}

// int8, so that layouts can be compared exactly: the value of the fused step by its definition.
int8_t defined(const Bytes& deep, const Bytes& skip, int64_t c, int64_t y, int64_t x) {
  constexpr int64_t kSkips = 32, kDeep = 5, kSkip = 13;
  if (c < kSkips) return static_cast<int8_t>(skip[static_cast<size_t>((c * kSkip + y + 1) * kSkip + x + 1)]);
  const auto at = [&](int64_t row, int64_t column) {
    const int64_t inside_row = std::clamp<int64_t>(row, 0, kDeep - 1),
                  inside = std::clamp<int64_t>(column, 0, kDeep - 1);
    return static_cast<double>(
        static_cast<int8_t>(deep[static_cast<size_t>(((c - kSkips) * kDeep + inside_row) * kDeep + inside)]));
  };
  const double row = (static_cast<double>(y) + 0.5) / 2 - 0.5, column = (static_cast<double>(x) + 0.5) / 2 - 0.5;
  const int64_t i = static_cast<int64_t>(std::floor(row)), j = static_cast<int64_t>(std::floor(column));
  const double down = row - static_cast<double>(i), right = column - static_cast<double>(j);
  return static_cast<int8_t>(std::nearbyint((at(i, j) * (1 - right) + at(i, j + 1) * right) * (1 - down) +
                                            (at(i + 1, j) * (1 - right) + at(i + 1, j + 1) * right) * down));
}

// One inference in every format of int8: deep [1, 64, 5, 5], skip [1, 32, 13, 13], so a crop of one pixel at the top
// left.
void check_runs(const std::unique_ptr<IPluginV3>& built) {
  Bytes deep(64 * 25), skip(32 * 169), expected(96 * 100);
  for (size_t i = 0; i < deep.size(); ++i) deep[i] = static_cast<unsigned char>(i * 97 + i / 7);
  for (size_t i = 0; i < skip.size(); ++i) skip[i] = static_cast<unsigned char>(i * 31 + i / 5);
  for (size_t i = 0; i < expected.size(); ++i)
    expected[i] = static_cast<unsigned char>(defined(deep, skip, static_cast<int64_t>(i / 100),
                                                     static_cast<int64_t>(i / 10 % 10), static_cast<int64_t>(i % 10)));
  const std::pair<TensorFormat, Layout> formats[] = {{TensorFormat::kLINEAR, Layout::kNCHW},
                                                     {TensorFormat::kCHW32, Layout::kCHW32},
                                                     {TensorFormat::kHWC16, Layout::kHWC16}};
  for (const auto& [format, layout] : formats) {
    const PluginTensorDesc inputs[2] = {desc_of({1, 64, 5, 5}, DataType::kINT8, format),
                                        desc_of({1, 32, 13, 13}, DataType::kINT8, format)};
    const PluginTensorDesc output = desc_of({1, 96, 10, 10}, DataType::kINT8, format);
    const DynamicPluginTensorDesc profiles[2] = {profile_of(inputs[0]), profile_of(inputs[1])};
    const DynamicPluginTensorDesc out_profile = profile_of(output);
    CHECK(build_of(built)->configurePlugin(profiles, 2, &out_profile, 1) == 0);
    const std::unique_ptr<IPluginV3> loaded = reload(built);
    if (!CHECK(loaded != nullptr)) return;
    const std::unique_ptr<IPluginV3> attached(
        capability<IPluginV3OneRuntime>(loaded, PluginCapabilityType::kRUNTIME)->attachToContext(nullptr));
    auto* runtime = capability<IPluginV3OneRuntime>(attached, PluginCapabilityType::kRUNTIME);
    CHECK(runtime->onShapeChange(inputs, 2, &output, 1) == 0);
    const Memory laid_deep(lay_out(deep, places(layout, 1, 64, 5, 5), 1), 0, Use::kRead);
    const Memory laid_skip(lay_out(skip, places(layout, 1, 32, 13, 13), 1), 0, Use::kRead);
    const Memory got(Bytes(expected.size(), 0x5a), 0, Use::kWritten);
    const void* sources[2] = {laid_deep.data(), laid_skip.data()};
    void* target = got.data();
    CHECK(runtime->enqueue(inputs, &output, sources, &target, nullptr, nullptr) == 0);
    CHECK(got.content() == lay_out(expected, places(layout, 1, 96, 10, 10), 1));
    CHECK(logger.errors.empty());

    PluginTensorDesc small[2] = {inputs[0], desc_of({1, 32, 9, 13}, DataType::kINT8, format)};
    CHECK(runtime->onShapeChange(small, 2, &output, 1) != 0 && logger.told("skip [1, 32, 9, 13]"));
    CHECK(runtime->enqueue(small, &output, sources, &target, nullptr, nullptr) != 0 && logger.told("invalid argument"));
    const DynamicPluginTensorDesc small_profiles[2] = {profiles[0], profile_of(small[1])};
    CHECK(build_of(built)->configurePlugin(small_profiles, 2, &out_profile, 1) != 0 &&
          logger.told("cannot be cropped"));
    const void* missing[2] = {nullptr, laid_skip.data()};
    CHECK(runtime->enqueue(inputs, &output, missing, &target, nullptr, nullptr) != 0 && logger.told("scale=2"));
  }
}

// All that differs for the second plugin: one input, three dimensions out, padded vectors taken, ids out as a plane.
void check_label_map() {
  const int32_t two = 2, none = 0;
  CHECK(create("LabelMap", {}) == nullptr && logger.told("scale is an integer"));
  CHECK(create("LabelMap", {{"scale", &none, PluginFieldType::kINT32, 1}}) == nullptr && logger.told("1024: 0"));
  CHECK(create("LabelMap", {{"mode", "nearest", PluginFieldType::kCHAR, 7}}) == nullptr &&
        logger.told("no such field: mode"));
  const std::unique_ptr<IPluginV3> built = create("LabelMap", {{"scale", &two, PluginFieldType::kINT32, 1}});
  if (!CHECK(built != nullptr)) return;
  DataType in = DataType::kHALF, out = DataType::kBOOL;
  CHECK(build_of(built)->getOutputDataTypes(&out, 1, &in, 1) == 0 && out == DataType::kHALF);
  CHECK((shapes(built, {{1, 19, 64, 128}}) == Sizes{1, 128, 256}));
  CHECK((shapes(built, {{-1, -1, -1, 128}}) == Sizes{-1, -1, 256}));
  CHECK((shapes(built, {{1, 257, 64, 128}}).empty()) && logger.told("1 to 256 classes"));
  CHECK((shapes(built, {{19, 64, 128}}).empty()) && logger.told("four dimensions"));
  const auto taken = [&](TensorFormat format, DataType type, TensorFormat out_format, int64_t classes = 19) {
    const DynamicPluginTensorDesc tensors[2] = {profile_of(desc_of({1, classes, 4, 4}, type, format)),
                                                profile_of(desc_of({1, 8, 8}, type, out_format))};
    return build_of(built)->supportsFormatCombination(0, tensors, 1, 1) &&
           build_of(built)->supportsFormatCombination(1, tensors, 1, 1);
  };
  CHECK(taken(TensorFormat::kHWC8, DataType::kHALF, TensorFormat::kLINEAR));
  CHECK(taken(TensorFormat::kCHW32, DataType::kINT8, TensorFormat::kLINEAR));
  CHECK(!taken(TensorFormat::kCHW32, DataType::kINT8, TensorFormat::kLINEAR, 129));
  CHECK(!taken(TensorFormat::kHWC8, DataType::kHALF, TensorFormat::kHWC8));
  CHECK(!taken(TensorFormat::kHWC8, DataType::kFLOAT, TensorFormat::kLINEAR));
  CHECK(!taken(TensorFormat::kLINEAR, DataType::kINT32, TensorFormat::kLINEAR));

  // Class 1 wins in the right half, class 0 in the left: of four output columns the third is the first of class 1.
  const float logits[8] = {1, 0, 1, 0, 0, 1, 0, 1};
  const PluginTensorDesc input = desc_of({1, 2, 2, 2}, DataType::kFLOAT, TensorFormat::kLINEAR);
  const PluginTensorDesc output = desc_of({1, 4, 4}, DataType::kFLOAT, TensorFormat::kLINEAR);
  const DynamicPluginTensorDesc profiles[2] = {profile_of(input), profile_of(output)};
  CHECK(build_of(built)->configurePlugin(profiles, 1, profiles + 1, 1) == 0);
  const std::unique_ptr<IPluginV3> loaded = reload(built);
  const std::unique_ptr<IPluginV3> attached(
      capability<IPluginV3OneRuntime>(loaded, PluginCapabilityType::kRUNTIME)->attachToContext(nullptr));
  auto* runtime = capability<IPluginV3OneRuntime>(attached, PluginCapabilityType::kRUNTIME);
  CHECK(runtime->onShapeChange(&input, 1, &output, 1) == 0);
  Bytes bytes(sizeof(logits));
  std::memcpy(bytes.data(), logits, sizeof(logits));
  const Memory there(bytes, 0, Use::kRead), given(Bytes(16 * sizeof(float), 0x5a), 0, Use::kWritten);
  const void* source = there.data();
  void* target = given.data();
  CHECK(runtime->enqueue(&input, &output, &source, &target, nullptr, nullptr) == 0);
  float ids[16];
  std::memcpy(ids, given.content().data(), sizeof(ids));
  for (int i = 0; i < 16; ++i) CHECK(ids[i] == (i % 4 < 2 ? 0.0f : 1.0f));
  CHECK(logger.errors.empty());
  const PluginTensorDesc many = desc_of({1, 300, 2, 2}, DataType::kFLOAT, TensorFormat::kLINEAR);
  CHECK(runtime->onShapeChange(&many, 1, &output, 1) != 0 && logger.told("[1, 300, 2, 2]"));
  CHECK(runtime->enqueue(&many, &output, &source, &target, nullptr, nullptr) != 0 && logger.told("invalid argument"));
}

}  // namespace

int main() {
  if (const int status = no_device()) return status;
  setLoggerFinder(&logger);
  check_creation();
  check_versions();
  const int32_t two = 2;
  const std::unique_ptr<IPluginV3> original = create("UpsampleCropConcat", step_fields(two, "bilinear"));
  const std::unique_ptr<IPluginV3> plugin(original->clone());
  check_identity(plugin);
  check_types(plugin);
  check_shapes(plugin);
  check_formats(plugin);
  check_runs(plugin);
  check_label_map();
  setLoggerFinder(nullptr);
  return finish("plugin");
}
