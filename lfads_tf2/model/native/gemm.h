// Products of a few dozen rows with a weight matrix that is packed once and used at every time step.
#pragma once

#include <algorithm>
#include <cstddef>
#include <new>

#include "vectors.h"

namespace lfads {

// Uninitialised, cache-line aligned floats.
class Buffer {
 public:
  explicit Buffer(size_t size)
      : data_(static_cast<float*>(::operator new(std::max<size_t>(size, 1) * sizeof(float), kAlignment))),
        size_(size) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { ::operator delete(data_, kAlignment); }
  float* data() { return data_; }
  const float* data() const { return data_; }
  void zero() { std::fill(data_, data_ + size_, 0.0f); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  float* data_;
  size_t size_;
};

// A [depth, columns] matrix in panels of two vectors of columns (the last may have one): what the inner loop reads
// is contiguous. Columns are padded with zeros.
class PackedMatrix {
 public:
  PackedMatrix(int depth, int columns) : depth_(depth), columns_(columns), data_((size_t)depth * padded(columns)) {
    data_.zero();
  }
  int depth() const { return depth_; }
  int columns() const { return columns_; }
  int panels() const { return (columns_ + 2 * kLanes - 1) / (2 * kLanes); }
  int vectors(int panel) const { return std::min(2, padded(columns_) / kLanes - 2 * panel); }
  const float* panel(int p) const { return data_.data() + (size_t)p * depth_ * 2 * kLanes; }

  // Puts the block source[0:rows, 0:columns] (row stride ld) at row `row` and column `column`.
  void place(const float* source, int rows, int columns, int ld, int row = 0, int column = 0) {
    for (int c = 0; c < columns;) {
      int p = (column + c) / (2 * kLanes), within = (column + c) % (2 * kLanes);
      int width = vectors(p) * kLanes, run = std::min(columns - c, width - within);
      float* to = data_.data() + (size_t)p * depth_ * 2 * kLanes + (size_t)row * width + within;
      for (int r = 0; r < rows; ++r) std::copy_n(source + (size_t)r * ld + c, run, to + (size_t)r * width);
      c += run;
    }
  }

  // Puts the transpose of source[0:rows, 0:columns] there: its column c becomes row `row` + c.
  void place_transposed(const float* source, int rows, int columns, int ld, int row = 0, int column = 0) {
    for (int r = 0; r < rows; ++r) {
      int p = (column + r) / (2 * kLanes), within = (column + r) % (2 * kLanes), width = vectors(p) * kLanes;
      float* to = data_.data() + (size_t)p * depth_ * 2 * kLanes + (size_t)row * width + within;
      for (int c = 0; c < columns; ++c) to[(size_t)c * width] = source[(size_t)r * ld + c];
    }
  }

 private:
  int depth_, columns_;
  Buffer data_;
};

// Memory that the next time step reads or writes first. Products fetch it, a line for each of their own steps, so that
// it arrives while the arithmetic is busy; all at once, the requests would queue and hold the product up.
class Prefetcher {
 public:
  void add(const float* begin, int64_t count) {
    if (count > 0) ranges_[used_++] = {begin, (count + kLine - 1) / kLine};
  }
  // Where the next `lines` lines start, or null when all have been handed out.
  const float* next(int lines) {
    if (now_ == used_) return nullptr;
    const float* from = ranges_[now_].begin + done_ * kLine;
    done_ += lines;
    if (done_ >= ranges_[now_].lines) done_ = 0, ++now_;
    return from;
  }
  static constexpr int kLine = 16;  // floats of a cache line

 private:
  struct Range {
    const float* begin;
    int64_t lines;
  } ranges_[8];
  int used_ = 0, now_ = 0;
  int64_t done_ = 0;
};

// tile[R, V * kLanes] = a[R, depth] @ panel; all sums stay in registers. If Fetch, `depth` cache lines are fetched
// from `ahead` on the way.
template <int R, int V, bool Fetch>
void tile_product(const float* a, ptrdiff_t lda, const float* panel, int depth, float* tile, const float* ahead) {
  Vec sum[R][V] = {};
  for (int k = 0; k < depth; ++k, panel += V * kLanes) {
    if (Fetch) __builtin_prefetch(ahead + (ptrdiff_t)k * Prefetcher::kLine, 0, 2);
    Vec column[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) column[v] = load(panel + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      Vec factor = splat(a[r * lda + k]);
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) sum[r][v] += factor * column[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) store(tile + (r * V + v) * kLanes, sum[r][v]);
}

using TileProduct = void (*)(const float*, ptrdiff_t, const float*, int, float*, const float*);

template <int R, bool Fetch>
inline TileProduct choose_tile(int rows, int vectors) {
  if constexpr (R == 0) {
    return nullptr;
  } else {
    if (rows == R) return vectors == 1 ? tile_product<R, 1, Fetch> : tile_product<R, 2, Fetch>;
    return choose_tile<R - 1, Fetch>(rows, vectors);
  }
}

// Computes a[rows, depth] @ w and hands each vector of the result to finish(row, first column, values). The vectors of
// the last columns may hold padding. Panels are the outer loop: one panel fits the first-level cache.
template <class Finish>
void product(const float* a, ptrdiff_t lda, int rows, const PackedMatrix& w, Finish finish,
             Prefetcher* prefetcher = nullptr) {
  alignas(64) float tile[kMaxRows * 2 * kLanes];
  int blocks = (rows + kMaxRows - 1) / kMaxRows;
  for (int p = 0; p < w.panels(); ++p) {
    int vectors = w.vectors(p);
    for (int block = 0; block < blocks; ++block) {
      // Blocks of nearly equal height: a short last one would run at a fraction of the speed.
      int first = rows * block / blocks, count = rows * (block + 1) / blocks - first;
      const float* ahead = prefetcher ? prefetcher->next(w.depth()) : nullptr;
      TileProduct multiply = ahead ? choose_tile<kMaxRows, true>(count, vectors)
                                   : choose_tile<kMaxRows, false>(count, vectors);
      multiply(a + first * lda, lda, w.panel(p), w.depth(), tile, ahead);
      for (int r = 0; r < count; ++r)
        for (int v = 0; v < vectors; ++v)
          finish(first + r, (2 * p + v) * kLanes, load(tile + (r * vectors + v) * kLanes));
    }
  }
}

}  // namespace lfads
