// Runs one function over contiguous shares of the batch; threads take the next one as they get done.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace lfads {

constexpr int kRowsPerThread = 16;  // below that, a thread's start costs more than it saves
// A few tiles of a product, so that a share's own memory stays in the cache. A thread that another process holds up
// leaves the shares that are left to the others.
constexpr int kRowsPerShare = 24;

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

// run(first row, number of rows) for each share, in this thread and others; returns when all are done. What a share
// throws is thrown here: out of a thread it would end the process.
template <class Run>
void run_shards(int rows, int threads, const Run& run) {
  if (rows <= 0) return;
  const int workers = std::max(1, std::min(threads, rows / kRowsPerThread));
  const int shares = workers * std::max(1, rows / (workers * kRowsPerShare));  // as many for each
  std::atomic<int> taken{0};
  std::vector<std::exception_ptr> failures(workers);
  auto work = [&](int worker) {
    FlushDenormals guard;
    try {
      for (int i = taken++; i < shares; i = taken++) {
        int first = (int)((int64_t)rows * i / shares);
        run(first, (int)((int64_t)rows * (i + 1) / shares) - first);
      }
    } catch (...) {
      failures[worker] = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  others.reserve(workers);
  try {
    for (int worker = 1; worker < workers; ++worker) others.emplace_back(work, worker);
  } catch (const std::exception&) {
    // No thread, or no memory for one: those that there are do all.
  }
  work(0);
  for (auto& other : others) other.join();
  for (const auto& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

}  // namespace lfads
