// What the decoder's scan and its gradient share: sizes, weights, and where inputs and results lie. Shapes in comments;
// T steps, B rows, K controller units, U inferred inputs, G generator units, F factors.
#pragma once

#include "gru_step.h"
#include "op_context.h"

namespace lfads {

struct DecoderSizes {
  int64_t T = 0, B = 0, K = 0, U = 0, G = 0, F = 0;
};

struct DecoderWeights {
  GruWeights controller, generator;
  const float *mean, *mean_bias, *logvar, *logvar_bias;  // [K, U], [U]
  const float* factors;                                  // [G, F]
};

struct DecoderData {
  const float *con_x_gates, *con_x_candidate, *con_h0;  // [T, B, 2K], [T, B, K], [B, K]
  const float *gen_x_gates, *gen_x_candidate, *gen_h0;  // [T, B, 2G], [T, B, G] or [1, 1, .] if shared; [B, G]
  bool gen_x_shared;
  const float *noise, *fb_mask, *gen_mask;  // [T, B, U]; [T, B, F] and [T, B, G] or null
};

struct DecoderResults {
  float *con_stack, *gen_stack, *factor_stack;                      // [T + 1, B, .]; the initial ones stand first
  float *mean, *logvar, *u;                                         // [T, B, U]
  float *con_gates, *con_candidate, *gen_gates, *gen_candidate;     // [T, B, .]; all steps in one place unless saved
};

// The inputs con_w_gates to fac_w.
DecoderWeights decoder_weights(OpContext& context, const DecoderSizes& sizes, bool feed);

}  // namespace lfads
