// Memory that a kernel works on: the CPU's, every access watched; or the device's, with EDGESEG_TEST_ON_DEVICE.
#pragma once

#include <cuda_runtime_api.h>

#include <new>
#include <stdexcept>
#include <vector>

#include "cases.h"

// 0 where the test can run; else the status that ctest takes for skipped, with the reason printed.
inline int no_device() {
#ifdef EDGESEG_TEST_ON_DEVICE
  int devices = 0;
  const cudaError_t state = cudaGetDeviceCount(&devices);
  if (state != cudaSuccess || devices == 0) {
    std::printf("skipped: no GPU: %s\n", cudaGetErrorString(state));
    return 77;
  }
#endif
  return 0;
}

// `size` bytes that start `shift` bytes behind a 256-byte border. Nothing lies behind them that may be touched.
class Memory {
 public:
  Memory(const Bytes& content, size_t shift) : size_(content.size()), shift_(shift) {
#ifdef EDGESEG_TEST_ON_DEVICE
    if (cudaMalloc(&base_, size_ + shift_ + 1) != cudaSuccess) throw std::bad_alloc();
    cudaMemcpy(data(), content.data(), size_, cudaMemcpyHostToDevice);
#else
    base_ = ::operator new(size_ + shift_, std::align_val_t{256});
    if (size_ > 0) std::memcpy(data(), content.data(), size_);
    touched_.assign(size_, 0);
#endif
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
#ifdef EDGESEG_TEST_ON_DEVICE
    cudaFree(base_);
#else
    ::operator delete(base_, std::align_val_t{256});
#endif
  }

  void* data() const { return static_cast<unsigned char*>(base_) + shift_; }

  Bytes content() const {
    Bytes bytes(size_);
#ifdef EDGESEG_TEST_ON_DEVICE
    cudaMemcpy(bytes.data(), data(), size_, cudaMemcpyDeviceToHost);
#else
    if (size_ > 0) std::memcpy(bytes.data(), data(), size_);
#endif
    return bytes;
  }

#ifndef EDGESEG_TEST_ON_DEVICE
  // Counts an access to these bytes; false where it is not, or not wholly, inside.
  bool touch(const void* pointer, size_t bytes) {
    const size_t start =
        static_cast<size_t>(static_cast<const unsigned char*>(pointer) - static_cast<const unsigned char*>(data()));
    if (start > size_ || bytes > size_ - start) return false;
    for (size_t i = start; i < start + bytes; ++i) ++touched_[i];
    return true;
  }
  const std::vector<uint8_t>& touched() const { return touched_; }
#endif

 private:
  size_t size_, shift_;
  void* base_ = nullptr;
  std::vector<uint8_t> touched_;
};
