// The Poisson log-likelihood of counts, entry by entry, and its slope, in one pass.
#include <cmath>

#include "activations.h"
#include "op_context.h"
#include "shards.h"

namespace lfads {
namespace {

constexpr int kTable = 64;        // ln k! of smaller counts is looked up
constexpr int64_t kBlock = 4096;  // entries that a thread takes at a time

struct LogFactorials {
  float of[kTable];
  LogFactorials() {
    for (int k = 0; k < kTable; ++k) of[k] = (float)std::lgamma(k + 1.0);
  }
};

}  // namespace

// log_prob = k x - exp(x) - ln k!, and slope = k - exp(x), for counts k and log-rates x.
void poisson(OpContext& context, const Attributes& attributes) {
  const Shape shape = context.peek("log_rates", 3);
  const float *log_rates = context.input("log_rates", shape), *counts = context.input("counts", shape);
  float *log_prob = context.output("log_prob", shape), *slope = context.output("slope", shape);
  if (!context.ok()) return;
  static const LogFactorials log_factorial;
  const int64_t size = shape[0] * shape[1] * shape[2];
  run_shards((int)((size + kBlock - 1) / kBlock), attributes.threads, [&](int first, int blocks) {
    const int64_t begin = first * kBlock, end = std::min(size, (first + blocks) * kBlock);
    IntVec others{};  // lanes with counts that the table lacks
    for (int64_t at = begin; at < end; at += kLanes) {
      const int n = (int)std::min<int64_t>(kLanes, end - at);
      const Vec k = load_n(counts + at, n), x = load_n(log_rates + at, n), rate = exp(x);
      const IntVec found = (k >= 0.0f) & (k < (float)kTable);
      const IntVec index = __builtin_convertvector(found ? k : Vec{}, IntVec);
      Vec constant;
      for (int i = 0; i < kLanes; ++i) constant[i] = log_factorial.of[index[i]];
      const IntVec whole = __builtin_convertvector(index, Vec) == k;
      others |= ~whole;
      store_n(log_prob + at, k * x - rate - (whole ? constant : Vec{}), n);
      store_n(slope + at, k - rate, n);
    }
    bool any = false;
    for (int i = 0; i < kLanes; ++i) any = any || others[i];
    for (int64_t at = begin; any && at < end; ++at) {
      const float k = counts[at];
      if (!(k >= 0.0f && k < kTable && k == (float)(int)k)) log_prob[at] -= std::lgamma(k + 1.0f);
    }
  });
}

}  // namespace lfads
