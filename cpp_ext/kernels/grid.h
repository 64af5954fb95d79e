// Runs a body over a one-dimensional grid: on the device, or, compiled without nvcc, block by block on the CPU.
#pragma once

#include "portable.h"

namespace edgeseg {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 0x7fffffff;

#ifdef __CUDACC__
// A body is a struct of plain values with `void operator()(int64_t block, int thread) const`.
template <typename Body>
__global__ void __launch_bounds__(kThreads) run(const Body body) {
  body(blockIdx.x, static_cast<int>(threadIdx.x));
}
#endif

}  // namespace edgeseg

#ifndef __CUDACC_RTC__
#include <cuda_runtime_api.h>

namespace edgeseg {

// Blocks with at least one thread for each of `count`.
inline int64_t blocks_for(int64_t count) { return (count + kThreads - 1) / kThreads; }

// Enqueues `blocks` blocks of kThreads threads; none is no error, more than a grid holds is one.
template <typename Body>
cudaError_t launch(const Body& body, int64_t blocks, cudaStream_t stream) {
  if (blocks == 0) return cudaSuccess;
  if (blocks < 0 || blocks > kMaxBlocks) return cudaErrorInvalidValue;
#ifdef __CUDACC__
  run<Body><<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(body);
  return cudaGetLastError();
#else
  static_cast<void>(stream);
  for (int64_t block = 0; block < blocks; ++block)
    for (int thread = 0; thread < kThreads; ++thread) body(block, thread);
  return cudaSuccess;
#endif
}

}  // namespace edgeseg
#endif
