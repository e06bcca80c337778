// Registers the operations with TensorFlow when the library is loaded.
#include <exception>
#include <new>

#include "op_context.h"

namespace lfads {
namespace {

void* read_attributes(TF_OpKernelConstruction* construction) {
  TF_Status* status = TF_NewStatus();
  auto* attributes = new Attributes;
  auto has = [&](const char* name) { return TF_OpKernelConstruction_HasAttr(construction, name, status); };
  auto flag = [&](const char* name, bool* value) {
    TF_Bool read = *value;
    if (has(name)) TF_OpKernelConstruction_GetAttrBool(construction, name, &read, status);
    *value = read;
  };
  auto number = [&](const char* name, int* value) {
    if (has(name)) TF_OpKernelConstruction_GetAttrInt32(construction, name, value, status);
  };
  if (has("clip")) TF_OpKernelConstruction_GetAttrFloat(construction, "clip", &attributes->clip, status);
  number("threads", &attributes->threads);
  number("count", &attributes->count);
  flag("reverse", &attributes->reverse);
  flag("feed_factors", &attributes->feed_factors);
  flag("save", &attributes->save);
  if (TF_GetCode(status) != TF_OK) TF_OpKernelConstruction_Failure(construction, status);
  TF_DeleteStatus(status);
  return attributes;
}

void delete_attributes(void* kernel) { delete static_cast<Attributes*>(kernel); }

template <const Operation& operation>
void compute(void* kernel, TF_OpKernelContext* context) {
  OpContext checked(context, operation);
  try {
    operation.run(checked, *static_cast<Attributes*>(kernel));
  } catch (const std::bad_alloc&) {
    checked.fail("out of memory", TF_RESOURCE_EXHAUSTED);
  } catch (const std::exception& error) {
    checked.fail(error.what(), TF_INTERNAL);
  }
}

// Result shapes are set by the Python functions that call the ops.
void unknown_shapes(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

template <const Operation& operation>
void add_op() {
  TF_Status* status = TF_NewStatus();
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(operation.name);
  for (std::string input : operation.inputs) TF_OpDefinitionBuilderAddInput(op, (input + ": float").c_str());
  for (std::string output : operation.outputs) TF_OpDefinitionBuilderAddOutput(op, (output + ": float").c_str());
  for (const char* attribute : operation.attributes) TF_OpDefinitionBuilderAddAttr(op, attribute);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, unknown_shapes);
  TF_RegisterOpDefinition(op, status);
  if (TF_GetCode(status) == TF_OK) {
    TF_KernelBuilder* kernel =
        TF_NewKernelBuilder(operation.name, "CPU", read_attributes, compute<operation>, delete_attributes);
    TF_RegisterKernelBuilder(operation.name, kernel, status);
  }
  TF_DeleteStatus(status);  // a failure shows when Python looks for the op
}

// The one place where the order of inputs and outputs is written.
const Operation kGruScan{
    "LfadsGruScan",
    {"x", "h0", "x_w_gates", "x_w_candidate", "b_gates", "b_candidate", "w_gates", "w_candidate"},
    {"stack", "gates", "candidate"},
    {"clip: float", "reverse: bool", "save: bool", "threads: int"},
    gru_scan};
const Operation kGruScanGrad{
    "LfadsGruScanGrad",
    {"d_states", "d_last", "stack", "gates", "candidate", "w_gates", "w_candidate"},
    {"reset_state", "d_x_gates", "d_x_candidate", "d_h0"},
    {"clip: float", "reverse: bool", "threads: int"},
    gru_scan_grad};
const Operation kDecoderScan{
    "LfadsDecoderScan",
    {"noise", "con_h0", "gen_h0", "con_x_gates", "con_x_candidate", "gen_x_gates", "gen_x_candidate", "gen_mask",
     "fb_mask", "con_w_gates", "con_w_candidate", "fb_w_gates", "fb_w_candidate", "w_mean", "b_mean", "w_logvar",
     "b_logvar", "gen_u_w_gates", "gen_u_w_candidate", "gen_w_gates", "gen_w_candidate", "fac_w"},
    {"con_stack", "gen_stack", "factor_stack", "co_mean", "co_logvar", "u", "con_gates", "con_candidate", "gen_gates",
     "gen_candidate"},
    {"clip: float", "feed_factors: bool", "save: bool", "threads: int"},
    decoder_scan};
const Operation kDecoderScanGrad{
    "LfadsDecoderScanGrad",
    {"noise", "d_con_states", "d_co_mean", "d_co_logvar", "d_u", "d_gen_states", "d_factors", "con_stack", "gen_stack",
     "co_logvar", "con_gates", "con_candidate", "gen_gates", "gen_candidate", "gen_mask", "fb_mask", "con_w_gates",
     "con_w_candidate", "fb_w_gates", "fb_w_candidate", "w_mean", "b_mean", "w_logvar", "b_logvar", "gen_u_w_gates",
     "gen_u_w_candidate", "gen_w_gates", "gen_w_candidate", "fac_w"},
    {"d_con_gates", "d_con_candidate", "d_gen_gates", "d_gen_candidate", "con_reset_state", "gen_reset_state", "d_mean",
     "d_logvar", "d_factors_total", "d_first_factors", "d_con_h0", "d_gen_h0"},
    {"clip: float", "feed_factors: bool", "threads: int"},
    decoder_scan_grad};

const Operation kDropoutMask{
    "LfadsDropoutMask", {"key", "counter", "keep"}, {"mask"}, {"count: int", "threads: int"}, dropout_mask};
const Operation kPoisson{"LfadsPoisson", {"counts", "log_rates"}, {"log_prob", "slope"}, {"threads: int"}, poisson};

const bool registered = [] {
  add_op<kGruScan>();
  add_op<kGruScanGrad>();
  add_op<kDecoderScan>();
  add_op<kDecoderScanGrad>();
  add_op<kDropoutMask>();
  add_op<kPoisson>();
  return true;
}();

}  // namespace
}  // namespace lfads
