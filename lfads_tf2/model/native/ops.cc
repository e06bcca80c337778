// Registers the four operations with TensorFlow when the library is loaded.
#include "op_context.h"

namespace lfads {
namespace {

using Names = std::initializer_list<const char*>;

void* read_attributes(TF_OpKernelConstruction* construction) {
  TF_Status* status = TF_NewStatus();
  auto* attributes = new Attributes;
  auto flag = [&](const char* name, bool* value) {
    TF_Bool read = *value;
    if (TF_OpKernelConstruction_HasAttr(construction, name, status))
      TF_OpKernelConstruction_GetAttrBool(construction, name, &read, status);
    *value = read;
  };
  TF_OpKernelConstruction_GetAttrFloat(construction, "clip", &attributes->clip, status);
  if (TF_GetCode(status) == TF_OK)
    TF_OpKernelConstruction_GetAttrInt32(construction, "threads", &attributes->threads, status);
  flag("reverse", &attributes->reverse);
  flag("feed_factors", &attributes->feed_factors);
  flag("save", &attributes->save);
  if (TF_GetCode(status) != TF_OK) TF_OpKernelConstruction_Failure(construction, status);
  TF_DeleteStatus(status);
  return attributes;
}

void delete_attributes(void* kernel) { delete static_cast<Attributes*>(kernel); }

template <void (*Run)(OpContext&, const Attributes&)>
void compute(void* kernel, TF_OpKernelContext* context) {
  OpContext checked(context);
  try {
    Run(checked, *static_cast<Attributes*>(kernel));
  } catch (const std::exception& error) {
    checked.fail(std::string("out of memory or threads: ") + error.what());
  }
}

// Result shapes are set by the Python functions that call the ops.
void unknown_shapes(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

template <void (*Run)(OpContext&, const Attributes&)>
void add_op(const char* name, Names inputs, Names outputs, Names attributes) {
  TF_Status* status = TF_NewStatus();
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  for (const char* input : inputs) TF_OpDefinitionBuilderAddInput(op, (std::string(input) + ": float").c_str());
  for (const char* output : outputs) TF_OpDefinitionBuilderAddOutput(op, (std::string(output) + ": float").c_str());
  for (const char* attribute : attributes) TF_OpDefinitionBuilderAddAttr(op, attribute);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, unknown_shapes);
  TF_RegisterOpDefinition(op, status);
  if (TF_GetCode(status) == TF_OK) {
    TF_KernelBuilder* kernel = TF_NewKernelBuilder(name, "CPU", read_attributes, compute<Run>, delete_attributes);
    TF_RegisterKernelBuilder(name, kernel, status);
  }
  TF_DeleteStatus(status);  // a failure shows when Python looks for the op
}

const bool registered = [] {
  add_op<gru_scan>("LfadsGruScan", {"x_candidate", "x_gates", "h0", "w_gates", "w_candidate"},
                   {"stack", "gates", "candidate"}, {"clip: float", "reverse: bool", "save: bool", "threads: int"});
  add_op<gru_scan_grad>("LfadsGruScanGrad", {"d_states", "stack", "gates", "candidate", "w_gates", "w_candidate"},
                        {"reset_state", "d_x_gates", "d_x_candidate", "d_h0"},
                        {"clip: float", "reverse: bool", "threads: int"});
  add_op<decoder_scan>(
      "LfadsDecoderScan",
      {"noise", "con_h0", "gen_h0", "con_x_gates", "con_x_candidate", "gen_x_gates", "gen_x_candidate", "gen_mask",
       "fb_mask", "con_w_gates", "con_w_candidate", "fb_w_gates", "fb_w_candidate", "w_mean", "b_mean", "w_logvar",
       "b_logvar", "gen_u_w_gates", "gen_u_w_candidate", "gen_w_gates", "gen_w_candidate", "fac_w"},
      {"con_stack", "gen_stack", "factor_stack", "co_mean", "co_logvar", "u", "con_gates", "con_candidate",
       "gen_gates", "gen_candidate"},
      {"clip: float", "feed_factors: bool", "save: bool", "threads: int"});
  add_op<decoder_scan_grad>(
      "LfadsDecoderScanGrad",
      {"noise", "d_con_states", "d_co_mean", "d_co_logvar", "d_u", "d_gen_states", "d_factors", "con_stack",
       "gen_stack", "co_logvar", "con_gates", "con_candidate", "gen_gates", "gen_candidate", "gen_mask", "fb_mask",
       "con_w_gates", "con_w_candidate", "fb_w_gates", "fb_w_candidate", "w_mean", "b_mean", "w_logvar", "b_logvar",
       "gen_u_w_gates", "gen_u_w_candidate", "gen_w_gates", "gen_w_candidate", "fac_w"},
      {"d_con_gates", "d_con_candidate", "d_gen_gates", "d_gen_candidate", "con_reset_state", "gen_reset_state",
       "d_mean", "d_logvar", "d_factors_total", "d_first_factors", "d_con_h0", "d_gen_h0"},
      {"clip: float", "feed_factors: bool", "threads: int"});
  return true;
}();

}  // namespace
}  // namespace lfads
