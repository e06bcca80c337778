// Gradient of the decoder's scan: all time steps backwards, each thread with its own rows of the batch. Gives the
// gradients of pre-activations; those of weights are products over all steps, left to the caller.
#include <cmath>

#include "decoder_scan.h"
#include "shards.h"

namespace lfads {
namespace {

struct Packed {
  const DecoderSizes& d;
  const DecoderWeights& w;
  GruBackward controller, generator;
  PackedMatrix heads, fac_w;  // transposed: [2U, K] and [F, G]

  Packed(const DecoderSizes& d, const DecoderWeights& w)
      : d(d), w(w), controller(w.controller), generator(w.generator), heads(2 * d.U, d.K), fac_w(d.F, d.G) {
    heads.place_transposed(w.mean, d.K, d.U, d.U);
    heads.place_transposed(w.logvar, d.K, d.U, d.U, d.U);
    fac_w.place_transposed(w.factors, d.G, d.F, d.F);
  }
};

// [T, B, .] each; incoming gradients and masks may be null.
struct Saved {
  const float *d_con_states, *d_mean, *d_logvar, *d_u, *d_gen_states, *d_factors;
  const float *con_stack, *gen_stack, *logvar, *noise, *con_gates, *con_candidate, *gen_gates, *gen_candidate;
  const float *gen_mask, *fb_mask;
};

struct Gradients {
  float *con_gates, *con_candidate, *con_reset_state, *gen_gates, *gen_candidate, *gen_reset_state;
  float *mean, *logvar, *factors;         // [T, B, U], [T, B, U], [T, B, F]
  float *first_factors, *con_h0, *gen_h0;  // [B, F], [B, K], [B, G]
};

inline float at_or_zero(const float* p, int64_t i) { return p == nullptr ? 0.0f : p[i]; }

// One thread: its rows, and the gradients it carries from step to step, [state | what was fed in].
struct Rows {
  const Packed& p;
  const Saved& x;
  const Gradients& y;
  int first, rows, con_stride, gen_stride, heads_stride;
  Buffer con_carry, gen_carry, heads;

  Rows(const Packed& p, const Saved& x, const Gradients& y, int first, int rows)
      : p(p), x(x), y(y), first(first), rows(rows), con_stride(p.w.controller.stride()),
        gen_stride(p.w.generator.stride()), heads_stride(padded(2 * p.d.U)), con_carry((size_t)rows * con_stride),
        gen_carry((size_t)rows * gen_stride), heads((size_t)rows * heads_stride) {
    con_carry.zero();
    gen_carry.zero();
  }

  // Adds d_factors @ fac_w^T, times the mask if there is one, to the generator's gradient.
  void through_factors(const float* d_factors, const float* mask) {
    const int G = p.d.G, F = p.d.F;
    product(d_factors, F, rows, p.fac_w, [&](int row, int col, Vec sum) {
      float* out = gen_carry.data() + (int64_t)row * gen_stride + col;
      Vec scale = mask ? load_n(mask + (int64_t)row * G + col, G - col) : splat(1.0f);
      store_n(out, load(out) + sum * scale, G - col);
    });
  }

  // What flows back into the factors of step t (t = -1: those of the initial state) from the controller of step t + 1.
  void gather_factors(int64_t t, bool feed, float* d_factors) {
    const int64_t K = p.d.K, F = p.d.F, now = t * p.d.B + first, next = now + p.d.B;
    for (int row = 0; row < rows; ++row) {
      const float* fed = con_carry.data() + row * con_stride + K;
      for (int64_t j = 0; j < F; ++j) {
        float d = t < 0 ? 0.0f : at_or_zero(x.d_factors, (now + row) * F + j);
        if (feed && t + 1 < p.d.T) d += fed[j] * (x.fb_mask ? x.fb_mask[(next + row) * F + j] : 1.0f);
        d_factors[row * F + j] = d;
      }
    }
  }

  // From the generator's input to mean, log-variance and controller state of the step whose first row is `now`.
  void through_inputs(int64_t now) {
    const int64_t U = p.d.U, G = p.d.G;
    for (int row = 0; row < rows; ++row) {
      const float* d_input = gen_carry.data() + row * gen_stride + G;
      float* d_heads = heads.data() + row * heads_stride;
      for (int64_t j = 0; j < U; ++j) {
        const int64_t at = (now + row) * U + j;
        const float d = d_input[j] + at_or_zero(x.d_u, at);
        d_heads[j] = y.mean[at] = d + at_or_zero(x.d_mean, at);
        d_heads[U + j] = y.logvar[at] =
            at_or_zero(x.d_logvar, at) + d * x.noise[at] * (0.5f * std::exp(0.5f * x.logvar[at]));
      }
    }
    product(heads.data(), heads_stride, rows, p.heads, [&](int row, int col, Vec sum) {
      float* out = con_carry.data() + (int64_t)row * con_stride + col;
      store_n(out, load(out) + sum, p.d.K - col);
    });
  }

  static const float* of_row(const float* base, int64_t row, int64_t width) { return base ? base + row * width : base; }

  GruGradSlices generator(int64_t row) const {
    const int64_t at = row * p.d.G;
    return {x.gen_gates + 2 * at, x.gen_candidate + at, x.gen_stack + at,
            y.gen_gates + 2 * at, y.gen_candidate + at, y.gen_reset_state + at};
  }

  GruGradSlices controller(int64_t row) const {
    const int64_t at = row * p.d.K;
    return {x.con_gates + 2 * at, x.con_candidate + at, x.con_stack + at,
            y.con_gates + 2 * at, y.con_candidate + at, y.con_reset_state + at};
  }

  void run(const Attributes& a) {
    const int64_t K = p.d.K, G = p.d.G, F = p.d.F;
    for (int64_t t = p.d.T - 1; t >= 0; --t) {
      const int64_t now = t * p.d.B + first;
      gather_factors(t, a.feed_factors, y.factors + now * F);
      through_factors(y.factors + now * F, x.gen_mask ? x.gen_mask + now * G : nullptr);
      gru_backward(p.generator, rows, gen_stride, gen_carry.data(), of_row(x.d_gen_states, now, G), generator(now),
                   a.clip, controller(now).prefetcher(rows, K, of_row(x.d_con_states, now, K)));
      through_inputs(now);
      const int64_t then = now - p.d.B;
      const Prefetcher next =
          t > 0 ? generator(then).prefetcher(rows, G, of_row(x.d_gen_states, then, G)) : Prefetcher();
      gru_backward(p.controller, rows, con_stride, con_carry.data(), of_row(x.d_con_states, now, K), controller(now),
                   a.clip, next);
    }
    gather_factors(-1, a.feed_factors, y.first_factors + first * F);
    through_factors(y.first_factors + first * F, nullptr);
    for (int row = 0; row < rows; ++row) {
      std::copy_n(con_carry.data() + (int64_t)row * con_stride, K, y.con_h0 + (first + row) * K);
      std::copy_n(gen_carry.data() + (int64_t)row * gen_stride, G, y.gen_h0 + (first + row) * G);
    }
  }
};

// All results but the gradients of gates and candidates.
void allocate(OpContext& context, const DecoderSizes& d, Gradients& y) {
  y.con_reset_state = context.output("con_reset_state", {d.T, d.B, d.K});
  y.gen_reset_state = context.output("gen_reset_state", {d.T, d.B, d.G});
  y.mean = context.output("d_mean", {d.T, d.B, d.U});
  y.logvar = context.output("d_logvar", {d.T, d.B, d.U});
  y.factors = context.output("d_factors_total", {d.T, d.B, d.F});
  y.first_factors = context.output("d_first_factors", {d.B, d.F});
  y.con_h0 = context.output("d_con_h0", {d.B, d.K});
  y.gen_h0 = context.output("d_gen_h0", {d.B, d.G});
}

}  // namespace

void decoder_scan_grad(OpContext& context, const Attributes& a) {
  DecoderSizes d;
  Saved x;
  Shape noise = context.peek("noise", 3);
  d.T = noise[0], d.B = noise[1], d.U = noise[2];
  d.K = context.peek("con_stack", 3)[2];
  d.G = context.peek("gen_stack", 3)[2];
  d.F = context.peek("fac_w", 2)[1];
  x.noise = context.input("noise", noise);
  x.d_con_states = context.optional_input("d_con_states", {d.T, d.B, d.K});
  x.d_mean = context.optional_input("d_co_mean", {d.T, d.B, d.U});
  x.d_logvar = context.optional_input("d_co_logvar", {d.T, d.B, d.U});
  x.d_u = context.optional_input("d_u", {d.T, d.B, d.U});
  x.d_gen_states = context.optional_input("d_gen_states", {d.T, d.B, d.G});
  x.d_factors = context.optional_input("d_factors", {d.T, d.B, d.F});
  x.con_stack = context.input("con_stack", {d.T + 1, d.B, d.K});
  x.gen_stack = context.input("gen_stack", {d.T + 1, d.B, d.G});
  x.logvar = context.input("co_logvar", {d.T, d.B, d.U});
  // What is read of a step is read before its gradients are written, so these may share memory.
  Gradients y{};
  x.con_gates = context.input_and_output("con_gates", "d_con_gates", {d.T, d.B, 2 * d.K}, &y.con_gates);
  x.con_candidate = context.input_and_output("con_candidate", "d_con_candidate", {d.T, d.B, d.K}, &y.con_candidate);
  x.gen_gates = context.input_and_output("gen_gates", "d_gen_gates", {d.T, d.B, 2 * d.G}, &y.gen_gates);
  x.gen_candidate = context.input_and_output("gen_candidate", "d_gen_candidate", {d.T, d.B, d.G}, &y.gen_candidate);
  x.gen_mask = context.optional_input("gen_mask", {d.T, d.B, d.G});
  x.fb_mask = context.optional_input("fb_mask", {d.T, d.B, d.F});
  const DecoderWeights w = decoder_weights(context, d, a.feed_factors);
  allocate(context, d, y);
  if (!context.ok() || d.B == 0) return;
  const Packed packed(d, w);
  run_shards((int)d.B, a.threads, [&](int first, int rows) { Rows(packed, x, y, first, rows).run(a); });
}

}  // namespace lfads
