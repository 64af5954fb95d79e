// Where a frame lies in a model's input, and the tables of a resize: the host's arithmetic. No kernel.
#include "frames.h"

#include <algorithm>
#include <cmath>

namespace edgeseg {

void make_taps(Axis axis, int64_t inputs, int64_t outputs, Tap* taps) {
  constexpr float kOne = 2048.0f;
  const double scale = 1.0 / (static_cast<double>(outputs) / static_cast<double>(inputs));
  const int32_t last = static_cast<int32_t>(inputs - 1);
  for (int64_t i = 0; i < outputs; ++i) {
    const float place = static_cast<float>((static_cast<double>(i) + 0.5) * scale - 0.5);
    int32_t first = static_cast<int32_t>(std::floor(place));
    float part = place - static_cast<float>(first);
    // Beyond the border columns repeat one pixel. Rows weigh it twice, which is truncated twice.
    if (axis == Axis::kColumns && (first < 0 || first >= last)) part = 0.0f;
    const auto weight = [](float share) { return static_cast<int32_t>(std::nearbyint(share * kOne)); };
    taps[i] = {std::clamp(first, 0, last), std::clamp(first + 1, 0, last), weight(1.0f - part), weight(part)};
  }
}

Area fit_area(Fit fit, int64_t frame_height, int64_t frame_width, int64_t height, int64_t width) {
  if (fit == Fit::kStretch) return {0, 0, height, width};
  const double scale = std::min(static_cast<double>(height) / static_cast<double>(frame_height),
                                static_cast<double>(width) / static_cast<double>(frame_width));
  const auto side = [scale](int64_t frame, int64_t most) {  // rounded to even, as Python rounds
    const int64_t size = static_cast<int64_t>(std::nearbyint(static_cast<double>(frame) * scale));
    return std::clamp<int64_t>(size, 1, most);
  };
  const int64_t rows = side(frame_height, height), columns = side(frame_width, width);
  return {(height - rows) / 2, (width - columns) / 2, rows, columns};
}

}  // namespace edgeseg
