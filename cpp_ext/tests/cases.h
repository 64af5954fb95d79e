// Reads what make_cases.py writes, and lays NCHW values out as a kernel wants them.
#pragma once

#include <array>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "../kernels/label_map.h"
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

inline Bytes read_bytes(std::FILE* file, int64_t count) {
  Bytes bytes(static_cast<size_t>(count));
  if (count > 0 && std::fread(bytes.data(), 1, bytes.size(), file) != bytes.size())
    throw std::runtime_error("the file of cases is cut off");
  return bytes;
}

using Head = std::array<int64_t, 12>;

// Every case of a file, each by `read(head, file)`.
template <typename One, typename Read>
std::vector<One> read_file(const std::string& path, Read read) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) throw std::runtime_error("no file of cases: " + path);
  std::vector<One> cases;
  Head head;
  while (std::fread(head.data(), sizeof(int64_t), head.size(), file) == head.size()) {
    if (head[0] != 0x6573656763617365) throw std::runtime_error("not a case: " + path);
    cases.push_back(read(head, file));
  }
  std::fclose(file);
  return cases;
}

inline std::vector<Case> read_cases(const std::string& path) {
  return read_file<Case>(path, [](const Head& head, std::FILE* file) {
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
    const int64_t element = edgeseg::bytes_of(one.step.type);
    const int64_t outputs = head[4] * one.channels() * one.height() * one.width();
    one.deep = read_bytes(file, element * head[4] * head[5] * head[6] * head[7]);
    one.skip = read_bytes(file, element * head[4] * head[8] * head[9] * head[10]);
    one.expected = read_bytes(file, element * outputs);
    one.slack = read_bytes(file, outputs);
    return one;
  });
}

struct LabelCase {
  edgeseg::LabelMap step;  // the layout and the type of the ids are left to the test
  Bytes logits;            // NCHW
  Bytes ids, close;        // an id and whether rounding may decide it, each a byte
};

inline std::vector<LabelCase> read_label_cases(const std::string& path) {
  return read_file<LabelCase>(path, [](const Head& head, std::FILE* file) {
    LabelCase one{};
    one.step = {
        static_cast<edgeseg::Type>(head[1]), edgeseg::Layout::kNCHW, head[2], head[3], head[4], head[5], head[6], true};
    one.logits = read_bytes(file, edgeseg::bytes_of(one.step.type) * head[3] * head[4] * head[5] * head[6]);
    const int64_t ids = head[3] * head[5] * head[2] * head[6] * head[2];
    one.ids = read_bytes(file, ids);
    one.close = read_bytes(file, ids);
    return one;
  });
}

// Where element i of NCHW lies in the layout, whose last vector of channels is padded.
inline std::vector<size_t> places(edgeseg::Layout layout, int64_t batch, int64_t channels, int64_t height,
                                  int64_t width) {
  const int64_t vector = edgeseg::vector_of(layout), padded = (channels + vector - 1) / vector * vector;
  const int64_t block = edgeseg::channels_last(layout) ? padded : vector;
  std::vector<size_t> found;
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t y = 0; y < height; ++y)
        for (int64_t x = 0; x < width; ++x)
          found.push_back(
              static_cast<size_t>((((n * (padded / block) + c / block) * height + y) * width + x) * block + c % block));
  return found;
}

// The values in their places. Padding behind the channels, where `elements` is more than there are, is all ones: NaN,
// -1.
inline Bytes lay_out(const Bytes& values, const std::vector<size_t>& where, int64_t element, size_t elements = 0) {
  const size_t bytes = static_cast<size_t>(element);
  Bytes laid(elements > where.size() ? elements * bytes : values.size(), 0xff);
  for (size_t i = 0; i < where.size(); ++i) std::memcpy(&laid[where[i] * bytes], &values[i * bytes], bytes);
  return laid;
}
