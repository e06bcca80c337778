// Runs one function over contiguous shares of the batch, one thread a share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
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
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    set(saved_ | 1 << 24);
  }
  ~FlushDenormals() { set(saved_); }

 private:
  static void set(uint64_t control) { asm volatile("msr fpcr, %0" : : "r"(control)); }
  uint64_t saved_;
#endif
};

// run(first row, number of rows) for each share; returns when all are done. The first share runs in this thread. What a
// share throws is thrown here: out of a thread it would end the process.
template <class Run>
void run_shards(int rows, int threads, const Run& run) {
  if (rows <= 0) return;
  int shards = std::max(1, std::min(threads, rows / kRowsPerThread));
  std::vector<std::exception_ptr> failures(shards);
  auto share = [&](int i) {
    FlushDenormals guard;
    int first = (int)((int64_t)rows * i / shards);
    try {
      run(first, (int)((int64_t)rows * (i + 1) / shards) - first);
    } catch (...) {
      failures[i] = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  others.reserve(shards);
  int started = 1;
  try {
    for (; started < shards; ++started) others.emplace_back(share, started);
  } catch (const std::exception&) {
    // No thread, or no memory for one: this thread does the rest.
  }
  share(0);
  for (int i = started; i < shards; ++i) share(i);
  for (auto& other : others) other.join();
  for (const auto& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

}  // namespace lfads
