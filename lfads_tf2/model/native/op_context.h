// A thin C++ face on TensorFlow's C interface for kernels: float32 inputs and outputs by name, checked; attributes.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
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

class OpContext;

// Attributes, read once when the kernel is made. What an operation does not have stays as it is here.
struct Attributes {
  float clip = 0;
  int threads = 1, count = 0;
  bool reverse = false, feed_factors = false, save = true;
};

// An operation as ops.cc registers it. Kernels find their inputs and outputs by these names, Python does too.
struct Operation {
  const char* name;
  std::vector<const char*> inputs, outputs, attributes;
  void (*run)(OpContext&, const Attributes&);
};

// The inputs and outputs of one call. After the first failure ok() is false, and the pointers handed out are null.
class OpContext {
 public:
  OpContext(TF_OpKernelContext* context, const Operation& operation)
      : context_(context), operation_(operation), status_(TF_NewStatus()) {}
  OpContext(const OpContext&) = delete;
  OpContext& operator=(const OpContext&) = delete;
  ~OpContext() {
    if (!ok()) TF_OpKernelContext_Failure(context_, status_);
    TF_DeleteStatus(status_);
  }

  bool ok() const { return TF_GetCode(status_) == TF_OK; }
  void fail(const std::string& message, TF_Code code = TF_INVALID_ARGUMENT) {
    if (ok()) TF_SetStatus(status_, code, message.c_str());
  }

  // The shape of an input; its rank must be `rank`.
  Shape peek(const char* name, int rank) {
    Tensor tensor = get(name);
    if (!tensor) return Shape(rank, 0);
    Shape actual = shape_of(tensor);
    if ((int)actual.size() == rank) return actual;
    fail(std::string(name) + " must have rank " + std::to_string(rank) + ", got shape " + to_string(actual));
    return Shape(rank, 0);
  }

  // An input, which must have this shape.
  const float* input(const char* name, const Shape& shape) { return keep(get_checked(name, shape)); }

  // An input, or null where it is [0, 0, 0], which stands for "none".
  const float* optional_input(const char* name, const Shape& shape) {
    return peek(name, 3) == Shape{0, 0, 0} ? nullptr : input(name, shape);
  }

  // An input, and an output of the same shape. Where nobody else needs the input any more, the output takes over its
  // memory: less to allocate, and what is overwritten has just been read into the cache.
  const float* input_and_output(const char* name, const char* output_name, const Shape& shape, float** result) {
    if (!get_checked(name, shape)) return nullptr;  // not kept: a reference of ours would count as a need
    const int index = index_of(operation_.inputs, name), output = index_of(operation_.outputs, output_name);
    if (!ok()) return nullptr;
    int forwarded = -1;
    Tensor tensor(TF_ForwardInputOrAllocateOutput(context_, &index, 1, output, shape.data(), (int)shape.size(),
                                                  &forwarded, status_));
    *result = keep(std::move(tensor));
    return forwarded == index ? *result : keep(get(name));
  }

  // The same where the input may be "none".
  const float* optional_input_and_output(const char* name, const char* output_name, const Shape& shape, float** result) {
    if (peek(name, 3) != Shape{0, 0, 0}) return input_and_output(name, output_name, shape, result);
    *result = output(output_name, shape);
    return nullptr;
  }

  float* output(const char* name, const Shape& shape) {
    const int index = index_of(operation_.outputs, name);
    if (!ok()) return nullptr;
    int64_t count = 1;
    for (int64_t size : shape) count *= size;
    return keep(Tensor(TF_AllocateOutput(context_, index, TF_FLOAT, shape.data(), (int)shape.size(),
                                         count * sizeof(float), status_)));
  }

 private:
  struct Delete {
    void operator()(TF_Tensor* tensor) const { TF_DeleteTensor(tensor); }
  };
  using Tensor = std::unique_ptr<TF_Tensor, Delete>;

  static Shape shape_of(const Tensor& tensor) {
    Shape shape(TF_NumDims(tensor.get()));
    for (size_t i = 0; i < shape.size(); ++i) shape[i] = TF_Dim(tensor.get(), (int)i);
    return shape;
  }

  int index_of(const std::vector<const char*>& names, const char* name) {
    for (size_t i = 0; i < names.size(); ++i)
      if (std::strcmp(names[i], name) == 0) return (int)i;
    fail(std::string(operation_.name) + " is registered without " + name, TF_INTERNAL);
    return -1;
  }

  Tensor get(const char* name) {
    const int index = index_of(operation_.inputs, name);
    TF_Tensor* tensor = nullptr;
    if (ok()) TF_GetInput(context_, index, &tensor, status_);
    return Tensor(tensor);
  }

  Tensor get_checked(const char* name, const Shape& shape) {
    Tensor tensor = get(name);
    if (!tensor || shape_of(tensor) == shape) return tensor;
    fail(std::string(name) + " must have shape " + to_string(shape) + ", got " + to_string(shape_of(tensor)));
    return nullptr;
  }

  float* keep(Tensor tensor) {
    if (!tensor || !ok()) return nullptr;
    tensors_.push_back(std::move(tensor));
    return static_cast<float*>(TF_TensorData(tensors_.back().get()));
  }

  TF_OpKernelContext* context_;
  const Operation& operation_;
  TF_Status* status_;
  std::vector<Tensor> tensors_;
};

// What the other files provide to ops.cc.
void gru_scan(OpContext& context, const Attributes& attributes);
void gru_scan_grad(OpContext& context, const Attributes& attributes);
void decoder_scan(OpContext& context, const Attributes& attributes);
void decoder_scan_grad(OpContext& context, const Attributes& attributes);
void dropout_mask(OpContext& context, const Attributes& attributes);
void poisson(OpContext& context, const Attributes& attributes);

}  // namespace lfads
