// What lets one kernel body be compiled by nvcc, by NVRTC and by a plain C++ compiler, which runs it on the CPU in
// tests.
#pragma once

#ifdef __CUDACC_RTC__
// NVRTC has no standard headers.
using int8_t = signed char;
using uint8_t = unsigned char;
using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long long;
using uint64_t = unsigned long long;
#else
#include <cmath>
#include <cstdint>
#include <cstring>

using std::memcpy;  // as NVRTC has it
#endif

#ifdef __CUDACC__
#define EDGESEG_DEVICE __device__ __forceinline__
#define EDGESEG_UNROLL _Pragma("unroll")
#define EDGESEG_NO_UNROLL _Pragma("unroll 1")
#else
#define EDGESEG_DEVICE inline
#define EDGESEG_UNROLL
#define EDGESEG_NO_UNROLL
#endif

// A test may watch every access of a body to global memory.
#ifndef EDGESEG_WATCH_LOAD
#define EDGESEG_WATCH_LOAD(pointer, bytes)
#define EDGESEG_WATCH_STORE(pointer, bytes)
#endif

namespace edgeseg {

// Storage of the 16-bit types. They are widened to float, computed with, and rounded once (to nearest, ties to even).
struct Half {
  uint16_t bits;
};
struct Bfloat16 {
  uint16_t bits;
};

// `kCount` neighbours that are moved at once: 16 bytes, or one element where alignment forbids more.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T values[kCount];
};

template <int kCount, typename T>
EDGESEG_DEVICE Pack<T, kCount> load(const T* pointer) {
  EDGESEG_WATCH_LOAD(pointer, sizeof(T) * kCount);
  return *reinterpret_cast<const Pack<T, kCount>*>(pointer);
}

template <typename T>
EDGESEG_DEVICE T read(const T* pointer) {
  return load<1>(pointer).values[0];
}

template <typename T, int kCount>
EDGESEG_DEVICE void store(T* pointer, const Pack<T, kCount>& pack) {
  EDGESEG_WATCH_STORE(pointer, sizeof(T) * kCount);
  *reinterpret_cast<Pack<T, kCount>*>(pointer) = pack;
}

EDGESEG_DEVICE void add_atomically(uint64_t* counter, uint64_t value) {
  EDGESEG_WATCH_STORE(counter, sizeof *counter);
#ifdef __CUDACC__
  atomicAdd(reinterpret_cast<unsigned long long*>(counter), static_cast<unsigned long long>(value));
#else
  *counter += value;
#endif
}

// first * second + added, rounded once.
EDGESEG_DEVICE float multiply_add(float first, float second, float added) {
#ifdef __CUDACC__
  return __fmaf_rn(first, second, added);
#else
  return std::fmaf(first, second, added);
#endif
}

// Ties go to the even number.
EDGESEG_DEVICE int to_nearest(float value) {
#ifdef __CUDACC__
  return __float2int_rn(value);
#else
  return static_cast<int>(std::nearbyint(value));
#endif
}

// The bits of one type as another of its size. On the device this is no work.
template <typename To, typename From>
EDGESEG_DEVICE To same_bits(From from) {
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
EDGESEG_DEVICE float float_of_bits(uint32_t bits) { return same_bits<float>(bits); }
EDGESEG_DEVICE uint32_t bits_of_float(float value) { return same_bits<uint32_t>(value); }

EDGESEG_DEVICE float widen(float value) { return value; }

EDGESEG_DEVICE float widen(Bfloat16 value) { return float_of_bits(static_cast<uint32_t>(value.bits) << 16); }

EDGESEG_DEVICE float widen(Half value) {
#ifdef __CUDACC__
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#else
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16, rest = value.bits & 0x7fffu;
  if (rest >= 0x7c00u) return float_of_bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
  if (rest >= 0x400u) return float_of_bits(sign | ((rest << 13) + (112u << 23)));
  const float tiny = static_cast<float>(rest) * 5.9604644775390625e-8f;  // 2^-24, the step of subnormals
  return sign ? -tiny : tiny;
#endif
}

template <typename T>
EDGESEG_DEVICE T narrow(float value);

template <>
EDGESEG_DEVICE float narrow<float>(float value) {
  return value;
}

template <>
EDGESEG_DEVICE Bfloat16 narrow<Bfloat16>(float value) {
  const uint32_t bits = bits_of_float(value);
  const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<uint16_t>(is_nan ? bits >> 16 | 0x40u : rounded)};
}

template <>
EDGESEG_DEVICE Half narrow<Half>(float value) {
#ifdef __CUDACC__
  Half half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half.bits) : "f"(value));
  return half;
#else
  const uint32_t bits = bits_of_float(value), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
  if (rest > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (rest >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // 65520 and more round to infinity
  if (rest < 0x38800000u)  // below 2^-14: one step of a half is the last bit of a float near 0.5
    return {static_cast<uint16_t>(sign | (bits_of_float(float_of_bits(rest) + 0.5f) - 0x3f000000u))};
  return {static_cast<uint16_t>(sign | (rest - (112u << 23) + 0xfffu + (rest >> 13 & 1u)) >> 13)};
#endif
}

struct Quotient {
  uint64_t quotient;
  uint32_t remainder;
};

// Division of an index. Most fit in 32 bits, where it costs a fifth.
EDGESEG_DEVICE Quotient divide(uint64_t value, uint32_t divisor) {
  if (value >> 32 == 0) {
    const uint32_t low = static_cast<uint32_t>(value), quotient = low / divisor;
    return {quotient, low - quotient * divisor};
  }
  return {value / divisor, static_cast<uint32_t>(value % divisor)};
}

}  // namespace edgeseg
