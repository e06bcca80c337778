// One GRU step and its gradient for the rows of one thread; every pointer is already at that thread's first row.
//
//   r = sigmoid(xg_r + [h, e] Wg_r)    u = sigmoid(xg_u + [h, e] Wg_u + 1)    c = tanh(xc + [r*h, e] Wc)
//   h' = clip(u*h + (1-u)*c, -clip, clip)
//
// e are inputs that only the scan itself knows (fed-back factors, inferred inputs); there may be none.
#pragma once

#include <cstdint>

#include "activations.h"
#include "gemm.h"

namespace lfads {

// Recurrent weights [units, 2*units] and [units, units]; those of e, [extra, 2*units] and [extra, units].
struct GruWeights {
  int units, extra;
  const float *state_gates, *state_candidate, *extra_gates, *extra_candidate;
  int stride() const { return padded(units + extra) + kLanes; }  // of scratch rows [state | extra]
};

struct GruForward {
  int units;
  PackedMatrix reset, update, candidate;

  explicit GruForward(const GruWeights& w)
      : units(w.units), reset(w.units + w.extra, w.units), update(w.units + w.extra, w.units),
        candidate(w.units + w.extra, w.units) {
    int n = w.units;
    reset.place(w.state_gates, n, n, 2 * n);
    update.place(w.state_gates + n, n, n, 2 * n);
    candidate.place(w.state_candidate, n, n, n);
    if (w.extra == 0) return;
    reset.place(w.extra_gates, w.extra, n, 2 * n, n);
    update.place(w.extra_gates + n, w.extra, n, 2 * n, n);
    candidate.place(w.extra_candidate, w.extra, n, n, n);
  }
};

// One step's slices: pre-activations from outside (row strides may be 0: the same for all rows) and results.
struct GruSlices {
  const float *x_gates, *x_candidate;
  int64_t x_gates_stride, x_candidate_stride;
  float *gates, *candidate, *state;

  // What this step touches, in the order of first use.
  Prefetcher prefetcher(int64_t rows, int64_t units) const {
    Prefetcher p;
    p.add(x_gates, rows * x_gates_stride);
    p.add(gates, rows * 2 * units);
    p.add(x_candidate, rows * x_candidate_stride);
    p.add(candidate, rows * units);
    p.add(state, rows * units);
    return p;
  }
};

// input: [rows, stride] = [h | e]; holds [h' | e] on return. gated: scratch of the same shape, its e filled in. What
// `next` lists is fetched for the step to come.
inline void gru_forward(const GruForward& w, int rows, int stride, float* input, float* gated, const GruSlices& s,
                        float clip, Prefetcher next) {
  const int units = w.units;
  auto finish_reset = [&](int row, int col, Vec sum) {
    int n = units - col;
    Vec r = sigmoid(sum + load_n(s.x_gates + row * s.x_gates_stride + col, n));
    store_n(s.gates + (int64_t)row * 2 * units + col, r, n);
    store_n(gated + (int64_t)row * stride + col, r * load(input + (int64_t)row * stride + col), n);
  };
  product(input, stride, rows, w.reset, finish_reset, &next);
  auto finish_update = [&](int row, int col, Vec sum) {
    int n = units - col;
    Vec u = sigmoid((sum + load_n(s.x_gates + row * s.x_gates_stride + units + col, n)) + 1.0f);
    store_n(s.gates + (int64_t)row * 2 * units + units + col, u, n);
  };
  product(input, stride, rows, w.update, finish_update, &next);
  auto finish_candidate = [&](int row, int col, Vec sum) {
    int n = units - col;
    float* state = input + (int64_t)row * stride + col;
    Vec c = tanh(sum + load_n(s.x_candidate + row * s.x_candidate_stride + col, n));
    Vec u = load_n(s.gates + (int64_t)row * 2 * units + units + col, n);
    Vec h = clamp(u * load(state) + (1.0f - u) * c, -clip, clip);
    store_n(s.candidate + (int64_t)row * units + col, c, n);
    store_n(s.state + (int64_t)row * units + col, h, n);
    store_n(state, h, n);
  };
  product(gated, stride, rows, w.candidate, finish_candidate, &next);
}

struct GruBackward {
  int units, extra;
  PackedMatrix gates, candidate;  // transposed: [2*units, units + extra] and [units, units + extra]

  explicit GruBackward(const GruWeights& w)
      : units(w.units), extra(w.extra), gates(2 * w.units, w.units + w.extra), candidate(w.units, w.units + w.extra) {
    int n = w.units;
    gates.place_transposed(w.state_gates, n, 2 * n, 2 * n);
    candidate.place_transposed(w.state_candidate, n, n, n);
    if (extra == 0) return;
    gates.place_transposed(w.extra_gates, extra, 2 * n, 2 * n, 0, n);
    candidate.place_transposed(w.extra_candidate, extra, n, n, 0, n);
  }
};

// One step's saved activations, and where the gradients of its pre-activations and r*h go.
struct GruGradSlices {
  const float *gates, *candidate, *previous;
  float *d_gates, *d_candidate, *reset_state;

  // What the gradient of this step touches, in the order of first use.
  Prefetcher prefetcher(int64_t rows, int64_t units, const float* incoming) const {
    Prefetcher p;
    p.add(candidate, rows * units);
    p.add(previous, rows * units);
    if (incoming != nullptr) p.add(incoming, rows * units);
    p.add(gates, rows * 2 * units);
    if (d_candidate != candidate) p.add(d_candidate, rows * units);
    if (d_gates != gates) p.add(d_gates, rows * 2 * units);
    if (reset_state != incoming) p.add(reset_state, rows * units);
    return p;
  }
};

// carry: [rows, stride]; its first `units` columns hold the gradient of h' on entry and that of h on return, the next
// `extra` columns that of e on return. incoming ([rows, units] or null) is added to the gradient of h' first. What
// `next` lists is fetched for the step to come.
inline void gru_backward(const GruBackward& w, int rows, int stride, float* carry, const float* incoming,
                         const GruGradSlices& s, float clip, Prefetcher next) {
  const int units = w.units;
  for (int row = 0; row < rows; ++row) {
    const int64_t at = (int64_t)row * units, at_gates = 2 * at;
    float* out = carry + (int64_t)row * stride;
    for (int col = 0; col < padded(units + w.extra); col += kLanes) {
      int n = units - col;
      if (n <= 0) {
        store(out + col, Vec{});
        continue;
      }
      Vec h = load_n(s.previous + at + col, n), c = load_n(s.candidate + at + col, n);
      Vec u = load_n(s.gates + at_gates + units + col, n), d = load(out + col);
      if (incoming != nullptr) d += load_n(incoming + at + col, n);
      Vec state = u * h + (1.0f - u) * c;
      d = state > clip ? Vec{} : d;
      d = state < -clip ? Vec{} : d;
      store_n(s.d_candidate + at + col, d * (1.0f - u) * (1.0f - c * c), n);
      store_n(s.d_gates + at_gates + units + col, d * (h - c) * u * (1.0f - u), n);
      store(out + col, first_lanes(d * u, Vec{}, n));  // the columns of e start from zero
    }
  }
  auto finish_candidate = [&](int row, int col, Vec sum) {
    int n = units - col;
    const int64_t at = (int64_t)row * units + col, at_gates = (int64_t)row * 2 * units + col;
    float* out = carry + (int64_t)row * stride + col;
    if (n <= 0) return store(out, sum);
    Vec r = load_n(s.gates + at_gates, n), h = load_n(s.previous + at, n);
    store_n(s.d_gates + at_gates, sum * h * r * (1.0f - r), n);
    store_n(s.reset_state + at, r * h, n);
    store(out, load(out) + sum * first_lanes(r, splat(1.0f), n));
  };
  product(s.d_candidate, units, rows, w.candidate, finish_candidate, &next);
  auto finish_gates = [&](int row, int col, Vec sum) {
    float* out = carry + (int64_t)row * stride + col;
    store(out, load(out) + sum);
  };
  product(s.d_gates, 2 * units, rows, w.gates, finish_gates, &next);
}

}  // namespace lfads
