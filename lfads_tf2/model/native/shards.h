// Runs one function over contiguous shares of the batch, one thread a share.
#pragma once

#include <algorithm>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace lfads {

constexpr int kRowsPerThread = 16;  // below that, a thread's start costs more than it saves

// Gradients that fade over hundreds of steps end as denormal numbers, which are slow: flush them to zero, as TensorFlow
// does in its own threads.
class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#endif
};

// run(first row, number of rows) for each share; returns when all are done. The first share runs in this thread.
template <class Run>
void run_shards(int rows, int threads, const Run& run) {
  if (rows <= 0) return;
  int shards = std::max(1, std::min(threads, rows / kRowsPerThread));
  auto share = [&](int i) {
    FlushDenormals guard;
    int first = (int)((int64_t)rows * i / shards);
    run(first, (int)((int64_t)rows * (i + 1) / shards) - first);
  };
  std::vector<std::thread> others;
  others.reserve(shards);
  int started = 1;
  try {
    for (; started < shards; ++started) others.emplace_back(share, started);
  } catch (const std::system_error&) {
    // No thread to be had: this one does the rest.
  }
  share(0);
  for (int i = started; i < shards; ++i) share(i);
  for (auto& other : others) other.join();
}

}  // namespace lfads
