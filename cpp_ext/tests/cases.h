// Reads what make_cases.py writes, and lays NCHW values out as a kernel wants them.
#pragma once

#include <array>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "../kernels/upsample_crop_concat.h"

using Bytes = std::vector<unsigned char>;

struct Case {
  edgeseg::UpsampleCropConcat step;  // the layout is left to the test
  Bytes deep, skip, expected;        // NCHW, in the step's type
  Bytes slack;                       // by how much each element may be off

  int64_t channels() const { return step.deep_channels + step.skip_channels; }
  int64_t height() const { return step.scale * step.deep_height; }
  int64_t width() const { return step.scale * step.deep_width; }
};

inline int64_t element_bytes(edgeseg::Type type) {
  return type == edgeseg::Type::kFloat32 ? 4 : type == edgeseg::Type::kInt8 ? 1 : 2;
}

inline Bytes read_bytes(std::FILE* file, int64_t count) {
  Bytes bytes(static_cast<size_t>(count));
  if (count > 0 && std::fread(bytes.data(), 1, bytes.size(), file) != bytes.size())
    throw std::runtime_error("the file of cases is cut off");
  return bytes;
}

inline std::vector<Case> read_cases(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) throw std::runtime_error("no file of cases: " + path);
  std::vector<Case> cases;
  std::array<int64_t, 12> head;
  while (std::fread(head.data(), sizeof(int64_t), head.size(), file) == head.size()) {
    if (head[0] != 0x6573656763617365) throw std::runtime_error("not a case: " + path);
    Case one{};
    one.step = {static_cast<edgeseg::Type>(head[1]),
                edgeseg::Layout::kNCHW,
                static_cast<edgeseg::Upsampling>(head[2]),
                head[3],
                head[4],
                head[5],
                head[6],
                head[7],
                head[8],
                head[9],
                head[10]};
    const int64_t element = element_bytes(one.step.type),
                  outputs = head[4] * one.channels() * one.height() * one.width();
    one.deep = read_bytes(file, element * head[4] * head[5] * head[6] * head[7]);
    one.skip = read_bytes(file, element * head[4] * head[8] * head[9] * head[10]);
    one.expected = read_bytes(file, element * outputs);
    one.slack = read_bytes(file, outputs);
    cases.push_back(one);
  }
  std::fclose(file);
  return cases;
}

// Element numbers of the layout, in NCHW's order: where element i of NCHW lies.
inline std::vector<size_t> places(edgeseg::Layout layout, int64_t batch, int64_t channels, int64_t height,
                                  int64_t width) {
  const bool last = layout != edgeseg::Layout::kNCHW && layout != edgeseg::Layout::kCHW32;
  const int64_t block = last ? channels : edgeseg::vector_of(layout);
  std::vector<size_t> found;
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t y = 0; y < height; ++y)
        for (int64_t x = 0; x < width; ++x)
          found.push_back(static_cast<size_t>(
              (((n * (channels / block) + c / block) * height + y) * width + x) * block + c % block));
  return found;
}

inline Bytes lay_out(const Bytes& values, const std::vector<size_t>& where, int64_t element) {
  Bytes laid(values.size());
  const size_t bytes = static_cast<size_t>(element);
  for (size_t i = 0; i < where.size(); ++i) std::memcpy(&laid[where[i] * bytes], &values[i * bytes], bytes);
  return laid;
}
