// Chooses the body that fits format and sizes, and launches it.
#include "limits.h"
#include "preprocess.h"
#include "preprocess_body.h"

namespace edgeseg {
namespace {

// As resize_image in edgeseg/runtime/preprocess.py decides.
bool averages(const Preprocess& step) {
  return 2 * step.frame_width > 3 * step.area.width || 2 * step.frame_height > 3 * step.area.height;
}

int64_t samples(const Preprocess& step) { return averages(step) ? 2 : 1; }

// Bytes of a row of the frame; 0 for a format that there is not, or sides that it cannot have.
int64_t row_bytes(const Preprocess& step) {
  const bool even_width = step.frame_width % 2 == 0, even_height = step.frame_height % 2 == 0;
  switch (step.format) {
    case PixelFormat::kBGR:
    case PixelFormat::kRGB: return 3 * step.frame_width;
    case PixelFormat::kNV12: return even_width && even_height ? step.frame_width : 0;
    case PixelFormat::kYUYV: return even_width ? 2 * step.frame_width : 0;
  }
  return 0;
}

bool are_sound(const Preprocess& step) {
  if (!is_side(step.frame_height) || !is_side(step.frame_width) || !is_side(step.height) || !is_side(step.width) ||
      !lies_inside(step.area, step.height, step.width))
    return false;
  const int64_t bytes = row_bytes(step);
  if (bytes == 0 || step.pitch < bytes || step.pitch > kMaxSize) return false;
  return step.format != PixelFormat::kNV12 || (step.chroma_pitch >= bytes && step.chroma_pitch <= kMaxSize);
}

template <typename From, bool kAverages>
cudaError_t run_pixels(const Preprocess& step, const Tap* taps, const void* pixels, const void* chroma, void* input,
                       cudaStream_t stream) {
  PreprocessPixels<From, kAverages> body{};
  body.from.pixels = static_cast<const uint8_t*>(pixels);
  body.from.chroma = static_cast<const uint8_t*>(chroma);
  body.from.pitch = step.pitch;
  body.from.chroma_pitch = step.chroma_pitch;
  body.rows = taps;
  body.columns = taps + samples(step) * step.area.height;
  body.input = static_cast<uint8_t*>(input);
  body.count = step.height * step.width;
  body.width = static_cast<uint32_t>(step.width);
  body.top = static_cast<int>(step.area.top);
  body.left = static_cast<int>(step.area.left);
  body.area_height = static_cast<int>(step.area.height);
  body.area_width = static_cast<int>(step.area.width);
  body.border = kBorder;
  return launch(body, blocks_for(body.count), stream);
}

using Run = cudaError_t (*)(const Preprocess&, const Tap*, const void*, const void*, void*, cudaStream_t);

template <typename From>
Run of_format(bool averaged) {
  return averaged ? run_pixels<From, true> : run_pixels<From, false>;
}

Run choose(const Preprocess& step) {
  switch (step.format) {
    case PixelFormat::kBGR: return of_format<FromBgr>(averages(step));
    case PixelFormat::kRGB: return of_format<FromRgb>(averages(step));
    case PixelFormat::kNV12: return of_format<FromNv12>(averages(step));
    case PixelFormat::kYUYV: return of_format<FromYuyv>(averages(step));
  }
  return nullptr;
}

}  // namespace

int64_t count_taps(const Preprocess& step) {
  return are_sound(step) ? samples(step) * (step.area.height + step.area.width) : 0;
}

void make_taps(const Preprocess& step, Tap* taps) {
  const int64_t rows = samples(step) * step.area.height, columns = samples(step) * step.area.width;
  make_taps(Axis::kRows, step.frame_height, rows, taps);
  make_taps(Axis::kColumns, step.frame_width, columns, taps + rows);
}

cudaError_t preprocess(const Preprocess& step, const Tap* taps, const void* pixels, const void* chroma, void* input,
                       cudaStream_t stream) {
  if (!are_sound(step) || !taps || !is_multiple(taps, sizeof(Tap)) || !pixels || !input) return cudaErrorInvalidValue;
  if (step.format == PixelFormat::kNV12 && !chroma) return cudaErrorInvalidValue;
  return choose(step)(step, taps, pixels, chroma, input, stream);
}

}  // namespace edgeseg
