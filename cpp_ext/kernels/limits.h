// What launchers check before they trust sizes and pointers.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace edgeseg {

constexpr int64_t kMaxSize = int64_t{1} << 30;   // of one dimension: a cell's outputs may lie a little beyond
constexpr int64_t kMaxBytes = int64_t{1} << 60;  // of one tensor: far from where the index arithmetic would overflow
constexpr int kPackBytes = 16;

inline bool is_multiple(const void* pointer, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % static_cast<uintptr_t>(bytes) == 0;
}

// Whether a tensor of these sizes can be worked on. A size of 0 makes it empty, which is fine.
inline bool fits(std::initializer_list<int64_t> sizes, int64_t element) {
  int64_t bytes = element;
  for (const int64_t size : sizes) {
    if (size < 0 || size > kMaxSize) return false;
    if (size > 0 && bytes > kMaxBytes / size) return false;
    bytes *= size > 0 ? size : 1;
  }
  return true;
}

}  // namespace edgeseg
