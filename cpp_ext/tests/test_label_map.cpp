// The label map against the ONNX reference evaluator: every case in every layout, ids as bytes and in the logits' type.
//
// Compiled twice, as test_upsample_crop_concat.cpp. Padded layouts hold NaN (or -1) behind the classes.
#include "../kernels/portable.h"
#include "check.h"
#include "memory.h"

using namespace edgeseg;

namespace {

constexpr Layout kLayouts[] = {Layout::kNCHW, Layout::kNHWC, Layout::kHWC8, Layout::kHWC16, Layout::kCHW32};

int id_at(const Bytes& bytes, size_t index, Type type, bool as_bytes) {
  if (as_bytes) return bytes[index];
  const auto value = [&](auto kind) {
    std::memcpy(&kind, &bytes[index * sizeof(kind)], sizeof(kind));
    return kind;
  };
  switch (type) {
    case Type::kFloat32: return static_cast<int>(value(float{}));
    case Type::kFloat16: return static_cast<int>(widen(value(Half{})));
    case Type::kBfloat16: return static_cast<int>(widen(value(Bfloat16{})));
    case Type::kInt8: return value(int8_t{});
  }
  return -1;
}

void run_case(const LabelCase& one, Layout layout, bool as_bytes, size_t shift) {
  LabelMap step = one.step;
  step.layout = layout;
  step.as_bytes = as_bytes;
  const int64_t element = bytes_of(step.type), vector = vector_of(layout);
  const auto where = places(layout, step.batch, step.classes, step.height, step.width);
  const int64_t padded = (step.classes + vector - 1) / vector * vector;
  Memory logits(
      lay_out(one.logits, where, element, static_cast<size_t>(step.batch * padded * step.height * step.width)),
      shift * static_cast<size_t>(element), Use::kRead);
  const size_t id_bytes = as_bytes ? 1 : static_cast<size_t>(element);
  Memory labels(Bytes(one.ids.size() * id_bytes, 0xa5), shift * id_bytes, Use::kWritten);
  if (!CHECK(label_map(step, logits.data(), labels.data(), nullptr) == cudaSuccess)) return;
  const Bytes got = labels.content();
  size_t wrong = 0;
  for (size_t i = 0; i < one.ids.size(); ++i)
    wrong += id_at(got, i, step.type, as_bytes) != one.ids[i] && !one.close[i];
  if (!CHECK(wrong == 0))
    std::printf("  type %d layout %d bytes %d scale %ld logits %ldx%ldx%ldx%ld shift %zu: %zu of %zu ids\n",
                static_cast<int>(step.type), static_cast<int>(layout), as_bytes, step.scale, step.batch, step.classes,
                step.height, step.width, shift, wrong, one.ids.size());
#ifndef EDGESEG_TEST_ON_DEVICE
  CHECK(labels.touched_each(1));
  CHECK(Memory::outside == 0);
#endif
}

}  // namespace

int main(int, char** arguments) {
  if (const int status = no_device()) return status;
  long runs = 0, ids = 0, close = 0;
  const std::vector<LabelCase> cases = read_label_cases(arguments[1]);
  for (const LabelCase& one : cases)
    for (const Layout layout : kLayouts)
      for (const bool as_bytes : {true, false})
        for (const size_t shift : {0, 1}) {
          run_case(one, layout, as_bytes, shift);
          ++runs;
          ids += static_cast<long>(one.ids.size());
          for (const unsigned char undecided : one.close) close += undecided;
        }
  std::printf("%zu cases in %ld runs, %ld ids, %ld of them left to rounding\n", cases.size(), runs, ids, close);
  return finish("label_map");
}
