// Memory that a kernel works on: the CPU's, every access watched; or the device's, with EDGESEG_TEST_ON_DEVICE.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
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

// What a kernel may do with a piece of memory.
enum class Use { kRead, kWritten, kBoth };

// `size` bytes that start `shift` bytes behind a 256-byte border. Nothing lies behind them that may be touched.
class Memory {
 public:
  Memory(const Bytes& content, size_t shift, Use use) : size_(content.size()), shift_(shift) {
#ifdef EDGESEG_TEST_ON_DEVICE
    if (cudaMalloc(&base_, size_ + shift_ + 1) != cudaSuccess) throw std::bad_alloc();
    cudaMemcpy(data(), content.data(), size_, cudaMemcpyHostToDevice);
#else
    base_ = ::operator new(size_ + shift_, std::align_val_t{256});
    if (size_ > 0) std::memcpy(data(), content.data(), size_);
    touched_.assign(size_, 0);
    if (use != Use::kWritten) readable.push_back(this);
    if (use != Use::kRead) writable.push_back(this);
#endif
    static_cast<void>(use);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
#ifdef EDGESEG_TEST_ON_DEVICE
    cudaFree(base_);
#else
    for (std::vector<Memory*>* all : {&readable, &writable})
      all->erase(std::remove(all->begin(), all->end(), this), all->end());
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
  const std::vector<uint8_t>& touched() const { return touched_; }

  // Whether each byte was written (or read) as often.
  bool touched_each(uint8_t times) const {
    return std::all_of(touched_.begin(), touched_.end(), [=](uint8_t seen) { return seen == times; });
  }

  // Counts an access; one that no such memory holds wholly is counted as outside.
  static void touch(const std::vector<Memory*>& all, const void* pointer, size_t bytes) {
    for (Memory* one : all) {
      const size_t start =
          static_cast<size_t>(static_cast<const unsigned char*>(pointer) - static_cast<unsigned char*>(one->data()));
      if (start > one->size_ || bytes > one->size_ - start) continue;
      for (size_t i = start; i < start + bytes; ++i) ++one->touched_[i];
      return;
    }
    ++outside;
  }

  static inline std::vector<Memory*> readable, writable;
  static inline long outside = 0;
#endif

 private:
  size_t size_, shift_;
  void* base_ = nullptr;
  std::vector<uint8_t> touched_;
};

#ifndef EDGESEG_TEST_ON_DEVICE
// For the kernels that are compiled with watch.h. One source file a program includes this header.
void watch_load(const void* pointer, std::size_t bytes) { Memory::touch(Memory::readable, pointer, bytes); }
void watch_store(const void* pointer, std::size_t bytes) { Memory::touch(Memory::writable, pointer, bytes); }
#endif
