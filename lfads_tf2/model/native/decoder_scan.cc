// Controller, inferred inputs, generator and factors over all time steps. Rows of the batch do not interact, so each
// thread takes its rows through all steps without waiting for the others.
#include <cmath>

#include "decoder_scan.h"
#include "shards.h"

namespace lfads {

// f[rows, F] = g @ fac_w, g having row stride `stride`.
static void factor_product(const PackedMatrix& fac_w, const float* g, int stride, int rows, float* f) {
  const int F = fac_w.columns();
  product(g, stride, rows, fac_w, [&](int row, int col, Vec sum) {
    store_n(f + (int64_t)row * F + col, sum, F - col);
  });
}

struct DecoderForward {
  const DecoderSizes& d;
  const DecoderWeights& w;
  GruForward controller, generator;
  PackedMatrix heads, fac_w;  // heads: mean and log-variance side by side

  DecoderForward(const DecoderSizes& d, const DecoderWeights& w)
      : d(d), w(w), controller(w.controller), generator(w.generator), heads(d.K, 2 * d.U), fac_w(d.G, d.F) {
    heads.place(w.mean, d.K, d.U, d.U);
    heads.place(w.logvar, d.K, d.U, d.U, 0, d.U);
    fac_w.place(w.factors, d.G, d.F, d.F);
  }
};

// Scratch of one thread.
struct DecoderRows {
  int rows, con_stride, gen_stride, heads_stride;
  Buffer con_input, con_gated, gen_input, gen_gated, gen_masked, heads;

  DecoderRows(const DecoderForward& p, int rows)
      : rows(rows), con_stride(p.w.controller.stride()), gen_stride(p.w.generator.stride()),
        heads_stride(padded(2 * p.d.U)), con_input((size_t)rows * con_stride), con_gated((size_t)rows * con_stride),
        gen_input((size_t)rows * gen_stride), gen_gated((size_t)rows * gen_stride),
        gen_masked((size_t)rows * gen_stride), heads((size_t)rows * heads_stride) {}
};

// Writes the factors of the step before, masked, next to the controller's state.
static void feed_factors(const DecoderSizes& d, DecoderRows& s, const float* factors, const float* mask) {
  for (int row = 0; row < s.rows; ++row) {
    float* fed = s.con_input.data() + (int64_t)row * s.con_stride + d.K;
    for (int j = 0; j < d.F; ++j) fed[j] = factors[row * d.F + j] * (mask ? mask[row * d.F + j] : 1.0f);
    std::copy_n(fed, d.F, s.con_gated.data() + (int64_t)row * s.con_stride + d.K);
  }
}

// mean, logvar and u of one step, each [rows, U]; u goes next to the generator's state too.
static void infer_inputs(const DecoderForward& p, DecoderRows& s, const float* noise, float* mean, float* logvar,
                         float* u) {
  product(s.con_input.data(), s.con_stride, s.rows, p.heads, [&](int row, int col, Vec sum) {
    store(s.heads.data() + (int64_t)row * s.heads_stride + col, sum);
  });
  const int U = p.d.U;
  for (int row = 0; row < s.rows; ++row) {
    const float* heads = s.heads.data() + (int64_t)row * s.heads_stride;
    float* input = s.gen_input.data() + (int64_t)row * s.gen_stride + p.d.G;
    for (int j = 0; j < U; ++j) {
      int at = row * U + j;
      mean[at] = heads[j] + p.w.mean_bias[j];
      logvar[at] = heads[U + j] + p.w.logvar_bias[j];
      u[at] = input[j] = mean[at] + std::exp(0.5f * logvar[at]) * noise[at];
    }
    std::copy_n(input, U, s.gen_gated.data() + (int64_t)row * s.gen_stride + p.d.G);
  }
}

// The generator's state of this step, masked if there is a mask, as left operand of the factors' product.
static const float* masked_generator(const DecoderSizes& d, DecoderRows& s, const float* mask) {
  if (mask == nullptr) return s.gen_input.data();
  for (int row = 0; row < s.rows; ++row) {
    const float* g = s.gen_input.data() + (int64_t)row * s.gen_stride;
    float* masked = s.gen_masked.data() + (int64_t)row * s.gen_stride;
    for (int j = 0; j < d.G; ++j) masked[j] = g[j] * mask[(int64_t)row * d.G + j];
  }
  return s.gen_masked.data();
}

static void run_rows(const DecoderForward& p, const DecoderData& x, const DecoderResults& y, const Attributes& a,
                     int first, int rows) {
  const DecoderSizes& d = p.d;
  const int64_t K = d.K, U = d.U, G = d.G, F = d.F;
  DecoderRows s(p, rows);
  for (int row = 0; row < rows; ++row) {
    std::copy_n(x.con_h0 + (first + row) * K, K, s.con_input.data() + (int64_t)row * s.con_stride);
    std::copy_n(x.gen_h0 + (first + row) * G, G, s.gen_input.data() + (int64_t)row * s.gen_stride);
  }
  std::copy_n(x.con_h0 + first * K, rows * K, y.con_stack + first * K);
  std::copy_n(x.gen_h0 + first * G, rows * G, y.gen_stack + first * G);
  factor_product(p.fac_w, s.gen_input.data(), s.gen_stride, rows, y.factor_stack + first * F);
  auto kept = [&](int64_t t) { return (a.save ? t * d.B : 0) + first; };
  auto controller = [&](int64_t t) {
    const int64_t now = t * d.B + first;
    return GruSlices{x.con_x_gates + now * 2 * K, x.con_x_candidate + now * K, 2 * K, K, y.con_gates + kept(t) * 2 * K,
                     y.con_candidate + kept(t) * K, y.con_stack + (now + d.B) * K};
  };
  auto generator = [&](int64_t t) {
    const int64_t now = t * d.B + first, from = x.gen_x_shared ? 0 : now;
    return GruSlices{x.gen_x_gates + from * 2 * G, x.gen_x_candidate + from * G,  x.gen_x_shared ? 0 : 2 * G,
                     x.gen_x_shared ? 0 : G,       y.gen_gates + kept(t) * 2 * G, y.gen_candidate + kept(t) * G,
                     y.gen_stack + (now + d.B) * G};
  };
  for (int64_t t = 0; t < d.T; ++t) {
    const int64_t now = t * d.B + first, next = now + d.B;  // rows of this step; of a stack, those after it
    if (a.feed_factors) feed_factors(d, s, y.factor_stack + now * F, x.fb_mask ? x.fb_mask + now * F : nullptr);
    gru_forward(p.controller, rows, s.con_stride, s.con_input.data(), s.con_gated.data(), controller(t), a.clip,
                generator(t).prefetcher(rows, G));
    infer_inputs(p, s, x.noise + now * U, y.mean + now * U, y.logvar + now * U, y.u + now * U);
    gru_forward(p.generator, rows, s.gen_stride, s.gen_input.data(), s.gen_gated.data(), generator(t), a.clip,
                t + 1 < d.T ? controller(t + 1).prefetcher(rows, K) : Prefetcher());
    const float* g = masked_generator(d, s, x.gen_mask ? x.gen_mask + now * G : nullptr);
    factor_product(p.fac_w, g, s.gen_stride, rows, y.factor_stack + next * F);
  }
}

DecoderWeights decoder_weights(OpContext& context, const DecoderSizes& d, bool feed) {
  DecoderWeights w;
  const int K = d.K, U = d.U, G = d.G, F = d.F;
  w.controller = {K, feed ? F : 0, nullptr, nullptr, nullptr, nullptr};
  w.generator = {G, U, nullptr, nullptr, nullptr, nullptr};
  w.controller.state_gates = context.input("con_w_gates", {K, 2 * K});
  w.controller.state_candidate = context.input("con_w_candidate", {K, K});
  if (feed) {
    w.controller.extra_gates = context.input("fb_w_gates", {F, 2 * K});
    w.controller.extra_candidate = context.input("fb_w_candidate", {F, K});
  }
  w.mean = context.input("w_mean", {K, U});
  w.mean_bias = context.input("b_mean", {U});
  w.logvar = context.input("w_logvar", {K, U});
  w.logvar_bias = context.input("b_logvar", {U});
  w.generator.extra_gates = context.input("gen_u_w_gates", {U, 2 * G});
  w.generator.extra_candidate = context.input("gen_u_w_candidate", {U, G});
  w.generator.state_gates = context.input("gen_w_gates", {G, 2 * G});
  w.generator.state_candidate = context.input("gen_w_candidate", {G, G});
  w.factors = context.input("fac_w", {G, F});
  return w;
}

// Noise, the two initial states and fac_w tell the sizes.
void decoder_scan(OpContext& context, const Attributes& a) {
  DecoderSizes d;
  DecoderData x;
  Shape noise = context.peek("noise", 3);
  d.T = noise[0], d.B = noise[1], d.U = noise[2];
  x.noise = context.input("noise", noise);
  d.K = context.peek("con_h0", 2)[1];
  x.con_h0 = context.input("con_h0", {d.B, d.K});
  d.G = context.peek("gen_h0", 2)[1];
  x.gen_h0 = context.input("gen_h0", {d.B, d.G});
  x.con_x_gates = context.input("con_x_gates", {d.T, d.B, 2 * d.K});
  x.con_x_candidate = context.input("con_x_candidate", {d.T, d.B, d.K});
  x.gen_x_shared = context.peek("gen_x_gates", 3) == Shape{1, 1, 2 * d.G};
  const int64_t gen_T = x.gen_x_shared ? 1 : d.T, gen_B = x.gen_x_shared ? 1 : d.B;
  x.gen_x_gates = context.input("gen_x_gates", {gen_T, gen_B, 2 * d.G});
  x.gen_x_candidate = context.input("gen_x_candidate", {gen_T, gen_B, d.G});
  x.gen_mask = context.optional_input("gen_mask", {d.T, d.B, d.G});
  d.F = context.peek("fac_w", 2)[1];
  x.fb_mask = context.optional_input("fb_mask", {d.T, d.B, d.F});
  const DecoderWeights w = decoder_weights(context, d, a.feed_factors);
  const Shape none{0, 0, 0};
  DecoderResults y;
  y.con_stack = context.output("con_stack", {d.T + 1, d.B, d.K});
  y.gen_stack = context.output("gen_stack", {d.T + 1, d.B, d.G});
  y.factor_stack = context.output("factor_stack", {d.T + 1, d.B, d.F});
  y.mean = context.output("co_mean", {d.T, d.B, d.U});
  y.logvar = context.output("co_logvar", {d.T, d.B, d.U});
  y.u = context.output("u", {d.T, d.B, d.U});
  y.con_gates = context.output("con_gates", a.save ? Shape{d.T, d.B, 2 * d.K} : none);
  y.con_candidate = context.output("con_candidate", a.save ? Shape{d.T, d.B, d.K} : none);
  y.gen_gates = context.output("gen_gates", a.save ? Shape{d.T, d.B, 2 * d.G} : none);
  y.gen_candidate = context.output("gen_candidate", a.save ? Shape{d.T, d.B, d.G} : none);
  if (context.ok() && (d.U < 1 || d.K < 1 || d.G < 1 || d.F < 1))
    context.fail("decoder needs at least one inferred input, controller unit, generator unit and factor");
  if (!context.ok() || d.B == 0) return;

  const int64_t units = a.save ? 0 : d.B;
  Buffer con_gates(units * 2 * d.K), con_candidate(units * d.K), gen_gates(units * 2 * d.G), gen_candidate(units * d.G);
  if (!a.save) {
    y.con_gates = con_gates.data(), y.con_candidate = con_candidate.data();
    y.gen_gates = gen_gates.data(), y.gen_candidate = gen_candidate.data();
  }
  const DecoderForward packed(d, w);
  run_shards((int)d.B, a.threads, [&](int first, int rows) { run_rows(packed, x, y, a, first, rows); });
}

}  // namespace lfads
