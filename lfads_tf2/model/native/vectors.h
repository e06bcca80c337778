// Vectors of floats as wide as the target's registers, written with the GCC/clang vector extension.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace lfads {

// Rows of a product computed at once: with two vectors of columns a row, the sums must fit the register file.
#if defined(__AVX512F__)
constexpr int kLanes = 16, kMaxRows = 12;  // 32 registers
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int kLanes = 8, kMaxRows = 6;  // 16 registers
#elif defined(__aarch64__)
constexpr int kLanes = 4, kMaxRows = 12;  // 32 registers
#else
constexpr int kLanes = 4, kMaxRows = 6;  // 16 registers
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));
typedef float UnalignedVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

inline Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
inline Vec splat(float x) { return x - Vec{}; }

// The first min(n, kLanes) floats at p; the other lanes are zero.
inline Vec load_n(const float* p, int n) {
  if (n >= kLanes) return load(p);
  if (n <= 0) return Vec{};
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
  Vec v{};
  std::memcpy(&v, p, sizeof(float) * n);
  return v;
#endif
}

inline void store_n(float* p, Vec v, int n) {
  if (n >= kLanes) return store(p, v);
  if (n <= 0) return;
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
  std::memcpy(p, &v, sizeof(float) * n);
#endif
}

// Lanes before n from v, the others from other.
inline Vec first_lanes(Vec v, Vec other, int n) {
  if (n >= kLanes) return v;
  IntVec lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  return lane < n ? v : other;
}

inline int padded(int columns) { return (columns + kLanes - 1) / kLanes * kLanes; }

}  // namespace lfads
