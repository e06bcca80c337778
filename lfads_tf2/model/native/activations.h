// Sigmoid, tanh and exponential of a vector, to about 1e-7 relative. NaN stays NaN; infinities give the limits.
#pragma once

#include "vectors.h"

namespace lfads {

struct Reduced {
  Vec power;     // 2^n
  Vec expm1_of;  // exp(r) - 1, with x = n ln 2 + r and |r| <= ln 2 / 2
};

// x must lie above -87, so that 2^n is a normal number, and below 89, where it is infinite (or be NaN, which the
// polynomial carries on).
inline Reduced reduce_exp(Vec x) {
  const float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  Vec shifted = x * 1.44269504f + kMagic;
  Vec n = shifted - kMagic;
  Vec r = x - n * 0.693359375f;  // ln 2 in two parts: the first has few bits, so its multiples are exact
  r = r + n * 2.12194440e-4f;
  // Taylor's polynomial to degree 7: on |r| <= 0.347 what it leaves out is below 6e-9.
  Vec p = r * (1.0f / 5040) + (1.0f / 720);
  p = p * r + (1.0f / 120);
  p = p * r + (1.0f / 24);
  p = p * r + (1.0f / 6);
  p = p * r + 0.5f;
  p = p * (r * r) + r;
  IntVec bits = ((IntVec)shifted << 23) + 0x3f800000;
  return {(Vec)bits, p};
}

// Comparisons with NaN are false, so NaN passes through.
inline Vec clamp(Vec x, float low, float high) {
  x = x > high ? splat(high) : x;
  return x < low ? splat(low) : x;
}

// Ends as 2^-126 on one side, and as infinity from 88.4 on.
inline Vec exp(Vec x) {
  Reduced e = reduce_exp(clamp(x, -87.0f, 89.0f));
  return e.power + e.power * e.expm1_of;
}

inline Vec sigmoid(Vec x) {
  Reduced e = reduce_exp(clamp(-x, -87.0f, 87.0f));
  return 1.0f / ((e.power + 1.0f) + e.power * e.expm1_of);
}

inline Vec tanh(Vec x) {
  // With m = exp(2x) - 1, tanh x = m / (m + 2): keeps its relative accuracy where x is small.
  Reduced e = reduce_exp(clamp(x + x, -20.0f, 20.0f));
  Vec m = e.power * e.expm1_of + (e.power - 1.0f);
  return m / (m + 2.0f);
}

}  // namespace lfads
