// As much of TensorFlow's C interface as the kernels use, and a program that runs one of them on arrays from standard
// input: so they run where TensorFlow itself does not, and where memory ends at a chosen moment.
//
//   input: the operation's name; the attributes ("clip 0.7"); "inputs"; each array's name, rank and sizes; "data"; then
//   the floats of all arrays. Output: "ok", each output's name, rank and sizes, "data", the floats; or "error", code,
//   message. With the argument "names" there is no input: the operations' names, inputs and outputs are printed. With
//   "exhaust", the operation runs again and again, its first, second, ... request for memory refused, and how many runs
//   that made, and how many of them failed, is printed.
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <sstream>
#include <string>
#include <vector>

#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"

namespace {

std::atomic<long> refuse_at{-1};     // how many requests for memory are granted before one is refused; -1: all
thread_local bool in_kernel = true;  // what this file itself asks for does not count
std::atomic<long> tensors_alive{0};

struct Outside {
  bool before = in_kernel;
  Outside() { in_kernel = false; }
  ~Outside() { in_kernel = before; }
};

void* allocate(size_t size, size_t alignment) {
  if (in_kernel && refuse_at >= 0 && refuse_at-- == 0) throw std::bad_alloc();
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment + alignment);
}

using Floats = std::vector<float>;

}  // namespace

void* operator new(size_t size) { return allocate(size, 16); }
void* operator new(size_t size, std::align_val_t alignment) { return allocate(size, (size_t)alignment); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }

// What a TF_Status points to here; TensorFlow's versions call the type by different names.
struct Status {
  TF_Code code = TF_OK;
  std::string message;
};

struct TF_Tensor {
  std::vector<int64_t> sizes;
  std::shared_ptr<Floats> data;
  TF_Tensor(std::vector<int64_t> sizes, std::shared_ptr<Floats> data) : sizes(sizes), data(data) { ++tensors_alive; }
  TF_Tensor(const TF_Tensor& other) : TF_Tensor(other.sizes, other.data) {}
  ~TF_Tensor() { --tensors_alive; }
};

struct TF_OpKernelContext {
  std::vector<std::unique_ptr<TF_Tensor>> inputs, outputs;
  Status status;
};

struct TF_OpKernelConstruction {
  std::map<std::string, double> attributes;
};

struct TF_OpDefinitionBuilder {
  std::string name;
  std::vector<std::string> inputs, outputs;
};

struct TF_KernelBuilder {
  void* (*create)(TF_OpKernelConstruction*);
  void (*compute)(void*, TF_OpKernelContext*);
  void (*destroy)(void*);
};

namespace {

std::map<std::string, TF_OpDefinitionBuilder>& definitions() {
  static std::map<std::string, TF_OpDefinitionBuilder> all;
  return all;
}

std::map<std::string, TF_KernelBuilder>& kernels() {
  static std::map<std::string, TF_KernelBuilder> all;
  return all;
}

std::string before_colon(const char* text) { return std::string(text).substr(0, std::string(text).find(':')); }

TF_Tensor* put(TF_OpKernelContext* context, int index, const TF_Tensor& tensor) {
  context->outputs.at(index) = std::make_unique<TF_Tensor>(tensor);
  return new TF_Tensor(tensor);
}

}  // namespace

Status* ours(TF_Status* status) { return reinterpret_cast<Status*>(status); }
TF_Status* TF_NewStatus() { return Outside(), reinterpret_cast<TF_Status*>(new Status); }
void TF_DeleteStatus(TF_Status* status) { delete ours(status); }
TF_Code TF_GetCode(const TF_Status* status) { return reinterpret_cast<const Status*>(status)->code; }
void TF_SetStatus(TF_Status* status, TF_Code code, const char* message) {
  Outside outside;
  *ours(status) = {code, message};
}
void TF_OpKernelContext_Failure(TF_OpKernelContext* context, TF_Status* status) {
  Outside outside;
  context->status = *ours(status);
}

int TF_NumDims(const TF_Tensor* tensor) { return (int)tensor->sizes.size(); }
int64_t TF_Dim(const TF_Tensor* tensor, int index) { return tensor->sizes.at(index); }
void* TF_TensorData(const TF_Tensor* tensor) { return tensor->data->data(); }
void TF_DeleteTensor(TF_Tensor* tensor) { delete tensor; }

void TF_GetInput(TF_OpKernelContext* context, int index, TF_Tensor** tensor, TF_Status*) {
  Outside outside;
  *tensor = new TF_Tensor(*context->inputs.at(index));
}

TF_Tensor* TF_AllocateOutput(TF_OpKernelContext* context, int index, TF_DataType, const int64_t* sizes, int rank,
                             size_t bytes, TF_Status*) {
  Outside outside;
  // What is never written shows.
  auto data = std::make_shared<Floats>(bytes / sizeof(float), std::numeric_limits<float>::quiet_NaN());
  return put(context, index, TF_Tensor({sizes, sizes + rank}, data));
}

// All memory that only the inputs hold is handed on, as in a graph where nothing else needs it.
TF_Tensor* TF_ForwardInputOrAllocateOutput(TF_OpKernelContext* context, const int* candidates, int, int output,
                                           const int64_t* sizes, int rank, int* forwarded, TF_Status* status) {
  Outside outside;
  TF_Tensor& input = *context->inputs.at(*candidates);
  *forwarded = input.data.use_count() == 1 ? *candidates : -1;
  if (*forwarded >= 0) return put(context, output, input);
  int64_t count = 1;
  for (int i = 0; i < rank; ++i) count *= sizes[i];
  return TF_AllocateOutput(context, output, TF_FLOAT, sizes, rank, count * sizeof(float), status);
}

bool TF_OpKernelConstruction_HasAttr(TF_OpKernelConstruction* construction, const char* name, TF_Status*) {
  return construction->attributes.count(name) > 0;
}
void TF_OpKernelConstruction_GetAttrBool(TF_OpKernelConstruction* construction, const char* name, TF_Bool* value,
                                         TF_Status*) {
  *value = construction->attributes.at(name) != 0;
}
void TF_OpKernelConstruction_GetAttrInt32(TF_OpKernelConstruction* construction, const char* name, int32_t* value,
                                          TF_Status*) {
  *value = (int32_t)construction->attributes.at(name);
}
void TF_OpKernelConstruction_GetAttrFloat(TF_OpKernelConstruction* construction, const char* name, float* value,
                                          TF_Status*) {
  *value = (float)construction->attributes.at(name);
}
void TF_OpKernelConstruction_Failure(TF_OpKernelConstruction*, TF_Status*) { std::abort(); }

TF_OpDefinitionBuilder* TF_NewOpDefinitionBuilder(const char* name) { return new TF_OpDefinitionBuilder{name, {}, {}}; }
void TF_OpDefinitionBuilderAddInput(TF_OpDefinitionBuilder* op, const char* input) {
  op->inputs.push_back(before_colon(input));
}
void TF_OpDefinitionBuilderAddOutput(TF_OpDefinitionBuilder* op, const char* output) {
  op->outputs.push_back(before_colon(output));
}
void TF_OpDefinitionBuilderAddAttr(TF_OpDefinitionBuilder*, const char*) {}
void TF_OpDefinitionBuilderSetShapeInferenceFunction(TF_OpDefinitionBuilder*,
                                                     void (*)(TF_ShapeInferenceContext*, TF_Status*)) {}
void TF_ShapeInferenceContextSetUnknownShape(TF_ShapeInferenceContext*, TF_Status*) {}
void TF_RegisterOpDefinition(TF_OpDefinitionBuilder* op, TF_Status*) {
  definitions()[op->name] = *op;
  delete op;
}
TF_KernelBuilder* TF_NewKernelBuilder(const char*, const char*, void* (*create)(TF_OpKernelConstruction*),
                                      void (*compute)(void*, TF_OpKernelContext*), void (*destroy)(void*)) {
  return new TF_KernelBuilder{create, compute, destroy};
}
void TF_RegisterKernelBuilder(const char* name, TF_KernelBuilder* builder, TF_Status*) {
  kernels()[name] = *builder;
  delete builder;
}

namespace {

struct Request {
  std::string operation;
  TF_OpKernelConstruction construction;
  std::map<std::string, TF_Tensor> inputs;
};

Request read_request() {
  Request request;
  std::string word;
  std::cin >> request.operation;
  while (std::cin >> word && word != "inputs") std::cin >> request.construction.attributes[word];
  std::vector<std::string> names;
  while (std::cin >> word && word != "data") {
    int rank;
    std::cin >> rank;
    std::vector<int64_t> sizes(rank);
    int64_t count = 1;
    for (int64_t& size : sizes) std::cin >> size, count *= size;
    request.inputs.emplace(word, TF_Tensor(sizes, std::make_shared<Floats>(count)));
    names.push_back(word);
  }
  std::cin.get();
  for (const std::string& name : names) {
    Floats& data = *request.inputs.at(name).data;
    std::cin.read(reinterpret_cast<char*>(data.data()), data.size() * sizeof(float));
  }
  return request;
}

// Runs the operation on copies of the inputs; without `quiet`, prints what comes out.
Status run(const Request& request, long granted, bool quiet) {
  Outside outside;
  const auto& definition = definitions().at(request.operation);
  const auto& kernel = kernels().at(request.operation);
  TF_OpKernelConstruction construction = request.construction;
  TF_OpKernelContext context;
  for (const std::string& name : definition.inputs) {
    const TF_Tensor& given = request.inputs.at(name);
    context.inputs.push_back(std::make_unique<TF_Tensor>(given.sizes, std::make_shared<Floats>(*given.data)));
  }
  context.outputs.resize(definition.outputs.size());
  void* made = kernel.create(&construction);
  refuse_at = granted, in_kernel = true;
  kernel.compute(made, &context);
  in_kernel = false;
  kernel.destroy(made);
  if (quiet || context.status.code != TF_OK) return context.status;
  std::cout << "ok\n";
  for (size_t i = 0; i < context.outputs.size(); ++i) {
    const auto& sizes = context.outputs[i]->sizes;
    std::cout << definition.outputs[i] << ' ' << sizes.size();
    for (int64_t size : sizes) std::cout << ' ' << size;
    std::cout << '\n';
  }
  std::cout << "data\n";
  for (const auto& output : context.outputs)
    std::cout.write(reinterpret_cast<const char*>(output->data->data()), output->data->size() * sizeof(float));
  return context.status;
}

void print_names() {
  for (const auto& [name, definition] : definitions()) {
    std::cout << name;
    for (const std::string& input : definition.inputs) std::cout << ' ' << input;
    std::cout << " ->";
    for (const std::string& output : definition.outputs) std::cout << ' ' << output;
    std::cout << '\n';
  }
}

int exhaust(const Request& request) {
  const long alive = tensors_alive;
  long refused = 0, errors = 0;
  for (bool reached = true; reached; ++refused) {
    const Status status = run(request, refused, true);
    reached = refuse_at < 0;  // otherwise fewer requests were made than would be granted
    errors += status.code == TF_RESOURCE_EXHAUSTED;
    if ((status.code != TF_OK && status.code != TF_RESOURCE_EXHAUSTED) || tensors_alive != alive) {
      std::cout << "request " << refused << ": code " << status.code << ", tensors left: " << tensors_alive - alive;
      return 1;
    }
  }
  std::cout << refused - 1 << ' ' << errors;
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  const std::string how = count > 1 ? arguments[1] : "";
  if (how == "names") return print_names(), 0;
  const Request request = read_request();
  if (how == "exhaust") return exhaust(request);
  const Status status = run(request, -1, false);
  if (status.code != TF_OK) std::cout << "error " << status.code << ' ' << status.message;
  return 0;
}
