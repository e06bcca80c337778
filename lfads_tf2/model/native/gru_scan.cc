// A GRU over all time steps, and its gradient. Rows of the batch do not interact, so each thread takes its rows
// through all steps without waiting for the others.
#include "gru_step.h"
#include "op_context.h"
#include "shards.h"

namespace lfads {

// T steps of B rows, D inputs, H units. The stack of states has one row more than there are steps: the initial state
// stands first (last if reverse), so that the states before each step are a slice of it too.
void gru_scan(OpContext& context, const Attributes& attributes) {
  Shape shape = context.peek("x", 3);
  const int64_t T = shape[0], B = shape[1], D = shape[2], H = context.peek("h0", 2)[1];
  const float* x = context.input("x", shape);
  const float* h0 = context.input("h0", {B, H});
  const float* x_w_gates = context.input("x_w_gates", {D, 2 * H});
  const float* x_w_candidate = context.input("x_w_candidate", {D, H});
  const float* b_gates = context.input("b_gates", {1, 2 * H});
  const float* b_candidate = context.input("b_candidate", {1, H});
  const float* w_gates = context.input("w_gates", {H, 2 * H});
  const float* w_candidate = context.input("w_candidate", {H, H});
  const bool save = attributes.save, reverse = attributes.reverse;
  float* stack = context.output("stack", {T + 1, B, H});
  float* gates = context.output("gates", save ? Shape{T, B, 2 * H} : Shape{0, 0, 0});
  float* candidate = context.output("candidate", save ? Shape{T, B, H} : Shape{0, 0, 0});
  if (!context.ok() || B == 0 || H == 0) return;

  // Without saving, all steps share one step's worth of memory.
  Buffer step_gates(save ? 0 : B * 2 * H), step_candidate(save ? 0 : B * H);
  const int64_t kept = save ? B * H : 0;
  if (!save) gates = step_gates.data(), candidate = step_candidate.data();
  const GruWeights weights{(int)H, (int)D, w_gates, w_candidate, x_w_gates, x_w_candidate};
  const GruForward packed(weights);
  run_shards((int)B, attributes.threads, [&](int first, int rows) {
    const int stride = weights.stride();
    Buffer input((size_t)rows * stride), gated((size_t)rows * stride);
    const int64_t offset = first * H;
    for (int row = 0; row < rows; ++row) std::copy_n(h0 + offset + row * H, H, input.data() + (int64_t)row * stride);
    std::copy_n(h0 + offset, rows * H, stack + (reverse ? T * B * H : 0) + offset);
    auto time = [&](int64_t i) { return reverse ? T - 1 - i : i; };
    auto inputs = [&](int64_t i) { return x + (time(i) * B + first) * D; };
    auto slices = [&](int64_t i) {
      const int64_t at = time(i) * B * H + offset, at_kept = time(i) * kept + offset;
      return GruSlices{b_gates, b_candidate,         0,
                       0,       gates + 2 * at_kept, candidate + at_kept, stack + at + (reverse ? 0 : B * H)};
    };
    for (int64_t i = 0; i < T; ++i) {
      for (int row = 0; row < rows; ++row)
        for (float* to : {input.data(), gated.data()})
          std::copy_n(inputs(i) + row * D, D, to + (int64_t)row * stride + H);
      Prefetcher next;
      if (i + 1 < T) next = slices(i + 1).prefetcher(rows, H), next.add(inputs(i + 1), rows * D);
      gru_forward(packed, rows, stride, input.data(), gated.data(), slices(i), attributes.clip, next);
    }
  });
}

void gru_scan_grad(OpContext& context, const Attributes& attributes) {
  Shape shape = context.peek("stack", 3);
  const int64_t T = std::max<int64_t>(shape[0] - 1, 0), B = shape[1], H = shape[2];
  // What is read of a step is read before its gradients are written, so these may share memory.
  float *reset_state = nullptr, *d_gates = nullptr, *d_candidate = nullptr;
  const float* d_states = context.optional_input_and_output("d_states", "reset_state", {T, B, H}, &reset_state);
  const float* d_last = context.input("d_last", {B, H});
  const float* stack = context.input("stack", {T + 1, B, H});
  const float* gates = context.input_and_output("gates", "d_x_gates", {T, B, 2 * H}, &d_gates);
  const float* candidate = context.input_and_output("candidate", "d_x_candidate", {T, B, H}, &d_candidate);
  const float* w_gates = context.input("w_gates", {H, 2 * H});
  const float* w_candidate = context.input("w_candidate", {H, H});
  float* d_h0 = context.output("d_h0", {B, H});
  if (!context.ok() || B == 0 || H == 0) return;

  const bool reverse = attributes.reverse;
  const GruWeights weights{(int)H, 0, w_gates, w_candidate, nullptr, nullptr};
  const GruBackward packed(weights);
  run_shards((int)B, attributes.threads, [&](int first, int rows) {
    const int stride = weights.stride();
    Buffer carry((size_t)rows * stride);
    carry.zero();
    const int64_t offset = first * H;
    for (int row = 0; row < rows; ++row)
      std::copy_n(d_last + offset + row * H, H, carry.data() + (int64_t)row * stride);
    auto row_of = [&](int64_t i) { return (reverse ? i : T - 1 - i) * B * H + offset; };
    auto of_states = [&](int64_t at) { return d_states == nullptr ? nullptr : d_states + at; };
    auto slices = [&](int64_t at) {
      return GruGradSlices{gates + 2 * at,   candidate + at,   stack + at + (reverse ? B * H : 0),
                           d_gates + 2 * at, d_candidate + at, reset_state + at};
    };
    for (int64_t i = 0; i < T; ++i) {
      const int64_t at = row_of(i), then = row_of(i + 1);
      const Prefetcher next = i + 1 < T ? slices(then).prefetcher(rows, H, of_states(then)) : Prefetcher();
      gru_backward(packed, rows, stride, carry.data(), of_states(at), slices(at), attributes.clip, next);
    }
    for (int row = 0; row < rows; ++row)
      std::copy_n(carry.data() + (int64_t)row * stride, H, d_h0 + offset + row * H);
  });
}

}  // namespace lfads
