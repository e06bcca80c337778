// A thin C++ face on TensorFlow's C interface for kernels: checked float32 inputs, outputs, attributes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"

namespace lfads {

using Shape = std::vector<int64_t>;

inline std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// The inputs and outputs of one call. After the first failure ok() is false, and the pointers handed out are null.
class OpContext {
 public:
  explicit OpContext(TF_OpKernelContext* context) : context_(context), status_(TF_NewStatus()) {}
  OpContext(const OpContext&) = delete;
  OpContext& operator=(const OpContext&) = delete;
  ~OpContext() {
    if (!ok()) TF_OpKernelContext_Failure(context_, status_);
    for (TF_Tensor* tensor : tensors_) TF_DeleteTensor(tensor);
    TF_DeleteStatus(status_);
  }

  bool ok() const { return TF_GetCode(status_) == TF_OK; }
  void fail(const std::string& message) {
    if (ok()) TF_SetStatus(status_, TF_INVALID_ARGUMENT, message.c_str());
  }

  // The shape of an input; its rank must be `rank`.
  Shape peek_at(const char* name, int index, int rank) {
    TF_Tensor* tensor = get(index);
    if (tensor == nullptr) return Shape(rank, 0);
    Shape actual = shape_of(tensor);
    TF_DeleteTensor(tensor);
    if ((int)actual.size() == rank) return actual;
    fail(std::string(name) + " must have rank " + std::to_string(rank) + ", got shape " + to_string(actual));
    return Shape(rank, 0);
  }

  // The same for the next input.
  Shape peek(const char* name, int rank) { return peek_at(name, next_input_, rank); }

  // The next input, which must have this shape.
  const float* input(const char* name, const Shape& shape) {
    TF_Tensor* tensor = get_checked(next_input_++, name, shape);
    return tensor == nullptr ? nullptr : keep(tensor);
  }

  // The next input, or null where it is [0, 0, 0], which stands for "none".
  const float* optional_input(const char* name, const Shape& shape) {
    if (peek(name, 3) != Shape{0, 0, 0}) return input(name, shape);
    ++next_input_;
    return nullptr;
  }

  // The next input, and the next output, of the same shape. Where nobody else needs the input any more, the output
  // takes over its memory: less to allocate, and what is overwritten has just been read into the cache.
  const float* input_and_output(const char* name, const Shape& shape, float** result) {
    const int index = next_input_++;
    TF_Tensor* tensor = get_checked(index, name, shape);
    if (tensor == nullptr) return nullptr;
    TF_DeleteTensor(tensor);  // a reference of ours would count as a need
    int forwarded = -1;
    TF_Tensor* output = TF_ForwardInputOrAllocateOutput(context_, &index, 1, next_output_++, shape.data(),
                                                        (int)shape.size(), &forwarded, status_);
    if (output == nullptr || !ok()) return nullptr;
    *result = keep(output);
    if (forwarded == index) return *result;
    tensor = get(index);
    return tensor == nullptr ? nullptr : keep(tensor);
  }

  void skip_input() { ++next_input_; }

  float* output(const Shape& shape) {
    if (!ok()) return nullptr;
    int64_t count = 1;
    for (int64_t size : shape) count *= size;
    TF_Tensor* tensor = TF_AllocateOutput(context_, next_output_++, TF_FLOAT, shape.data(), (int)shape.size(),
                                          count * sizeof(float), status_);
    return tensor == nullptr || !ok() ? nullptr : keep(tensor);
  }

 private:
  static Shape shape_of(const TF_Tensor* tensor) {
    Shape shape(TF_NumDims(tensor));
    for (size_t i = 0; i < shape.size(); ++i) shape[i] = TF_Dim(tensor, (int)i);
    return shape;
  }

  // The caller keeps or deletes the tensor.
  TF_Tensor* get(int index) {
    if (!ok()) return nullptr;
    TF_Tensor* tensor = nullptr;
    TF_GetInput(context_, index, &tensor, status_);
    return ok() ? tensor : nullptr;
  }

  TF_Tensor* get_checked(int index, const char* name, const Shape& shape) {
    TF_Tensor* tensor = get(index);
    if (tensor == nullptr) return nullptr;
    Shape actual = shape_of(tensor);
    if (actual == shape) return tensor;
    TF_DeleteTensor(tensor);
    fail(std::string(name) + " must have shape " + to_string(shape) + ", got " + to_string(actual));
    return nullptr;
  }

  float* keep(TF_Tensor* tensor) {
    tensors_.push_back(tensor);
    return static_cast<float*>(TF_TensorData(tensor));
  }

  TF_OpKernelContext* context_;
  TF_Status* status_;
  std::vector<TF_Tensor*> tensors_;
  int next_input_ = 0, next_output_ = 0;
};

// Attributes, read once when the kernel is made. Ops that have no `reverse`, say, leave it false.
struct Attributes {
  float clip = 0;
  int threads = 1;
  bool reverse = false, feed_factors = false, save = true;
};

// What gru_scan.cc and decoder_scan*.cc provide to ops.cc.
void gru_scan(OpContext& context, const Attributes& attributes);
void gru_scan_grad(OpContext& context, const Attributes& attributes);
void decoder_scan(OpContext& context, const Attributes& attributes);
void decoder_scan_grad(OpContext& context, const Attributes& attributes);

}  // namespace lfads
