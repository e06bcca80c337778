// Dropout masks from the stream of random bits that TensorFlow's stateless operations give for the same key and
// counter: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
#include <cmath>

#include "op_context.h"
#include "shards.h"
#include "vectors.h"

namespace lfads {
namespace {

constexpr int kCounters = 8;           // whose rounds run side by side, one in each lane
constexpr int kBlock = kCounters * 8;  // elements: a counter gives four words, each two halves

typedef uint64_t Words __attribute__((vector_size(kCounters * 8)));
typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));

struct Philox {
  uint32_t key[2];
  uint64_t counter[2];

  // The halves that the counters `from` ... after the first one give, the lower one of a word first.
  void halves(uint64_t from, uint16_t* out) const {
    Words c0, c1, c2, c3;  // a word in each lane, the upper 32 bits zero
    for (int i = 0; i < kCounters; ++i) {
      const uint64_t low = counter[0] + from + i, high = counter[1] + (low < counter[0]);
      c0[i] = (uint32_t)low, c1[i] = low >> 32, c2[i] = (uint32_t)high, c3[i] = high >> 32;
    }
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
      const Words a = c0 * 0xD2511F53u, b = c2 * 0xCD9E8D57u;
      c0 = (b >> 32) ^ c1 ^ k0, c2 = (a >> 32) ^ c3 ^ k1;
      c1 = b & 0xffffffffu, c3 = a & 0xffffffffu;
    }
    const Words first = c0 | c1 << 32, second = c2 | c3 << 32;
    uint64_t words[kCounters][2];
    for (int i = 0; i < kCounters; ++i) words[i][0] = first[i], words[i][1] = second[i];
    std::memcpy(out, words, sizeof words);
  }
};

}  // namespace

// count elements, 0 or 1 / keep. Sixteen bits decide each.
void dropout_mask(OpContext& context, const Attributes& attributes) {
  Philox random;
  const float *key = context.input("key", {1, 2}), *counter = context.input("counter", {2, 2});
  const float* keep = context.input("keep", {});
  const int64_t count = attributes.count;
  float* mask = context.output("mask", {count});
  if (!context.ok()) return;
  std::memcpy(random.key, key, sizeof random.key);
  std::memcpy(random.counter, counter, sizeof random.counter);
  const IntVec largest = (IntVec{} + (int)(std::nearbyint(*keep * 65536.0f) - 1.0f)) & 0xffff;
  const Vec kept = splat(1.0f / *keep);
  run_shards((int)((count + kBlock - 1) / kBlock), attributes.threads, [&](int first, int blocks) {
    for (int64_t block = first; block < first + blocks; ++block) {
      uint16_t halves[kBlock];
      random.halves(block * kCounters, halves);
      for (int i = 0; i < kBlock; i += kLanes) {
        Halves these;
        std::memcpy(&these, halves + i, sizeof these);
        const IntVec half = __builtin_convertvector(these, IntVec);
        const int64_t at = block * kBlock + i;
        store_n(mask + at, half <= largest ? kept : Vec{}, (int)std::min<int64_t>(kLanes, count - at));
      }
    }
  });
}

}  // namespace lfads
