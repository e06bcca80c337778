"""The original program's name of every variable, so that its files and ours are read by the same programs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lfads_tf2.model.affine import SessionLinear
from lfads_tf2.model.cells import GenGRUCell
from lfads_tf2.model.encoder import BidirectionalEncoder
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.model.priors import AutoregressivePrior


class NamedWeight(NamedTuple):
    """A weight under its original name; for read-in and read-out one session's part of a stack."""

    variable: object  # keras.Variable
    session: int | None = None  # which row of a SessionLinear stack
    part: tuple[int, int] | None = None  # rows and columns of that row that are not padding

    def numpy(self) -> np.ndarray:
        """The weight's value, float32."""
        value = np.array(self.variable)
        return value if self.session is None else value[self.session, : self.part[0], : self.part[1]]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in the original's files."""
        return tuple(self.variable.shape) if self.session is None else self.part

    def assign(self, value: np.ndarray) -> None:
        """Sets the weight; ``value`` has the shape of ``numpy()``."""
        if self.session is not None:
            whole = np.array(self.variable)
            whole[self.session, : self.part[0], : self.part[1]] = value
            value = whole
        self.variable.assign(value)


def _linear(prefix: str, layer) -> dict[str, NamedWeight]:
    named = {f"{prefix}/W": NamedWeight(layer.kernel)}
    if layer.bias is not None:
        named[f"{prefix}/b"] = NamedWeight(layer.bias)
    return named


def _sessions(prefix: str, layer: SessionLinear, names: list[str]) -> dict[str, NamedWeight]:
    named = {}
    for index, name in enumerate(names):
        rows, columns = layer.inputs[index], layer.outputs[index]
        named[f"{prefix}_{name}/W"] = NamedWeight(layer.kernel, index, (rows, columns))
        named[f"{prefix}_{name}/b"] = NamedWeight(layer.bias, index, (1, columns))
    return named


def _encoder(kind: str, layer: BidirectionalEncoder) -> dict[str, NamedWeight]:
    named = {}
    for direction, encoder in (("fwd", layer.forward), ("rev", layer.reverse)):
        if encoder is not None:
            prefix = f"{kind}_enc_{direction}"
            named[f"{prefix}/{kind}_enc_t0_{direction}"] = NamedWeight(encoder.initial_state)
            named |= _linear(f"{prefix}/GRU/Gates/xh_2_ru", encoder.cell.gates)
            named |= _linear(f"{prefix}/GRU/Candidate/xrh_2_c", encoder.cell.candidate)
    return named


def _cell(prefix: str, cell: GenGRUCell) -> dict[str, NamedWeight]:
    named = {}
    if cell.has_inputs:
        named |= _linear(f"{prefix}/GenGRU/Gates/x_2_ru", cell.input_gates)
        named |= _linear(f"{prefix}/GenGRU/Candidate/x_2_c", cell.input_candidate)
    named |= _linear(f"{prefix}/GenGRU/Gates/h_2_ru", cell.gates)
    named |= _linear(f"{prefix}/GenGRU/Candidate/rh_2_c", cell.candidate)
    return named


def original_names(model: LFADS) -> dict[str, NamedWeight]:
    """Every weight of the model by the original's variable name, such as ``LFADS/gen/GenGRU/Gates/h_2_ru/W:0``."""
    sessions = [session.name for session in model.spec.sessions]
    named = {} if model.read_in is None else _sessions("x_2_infac", model.read_in, sessions)
    for layer in model.observation.read_outs:
        named |= _sessions(f"glm/{layer.name}", layer, sessions)
    for weight in model.observation.own_weights:
        named[f"glm/{weight.name}"] = NamedWeight(weight)
    if model.spec.hyperparameters.ic_dim > 0:
        named |= _encoder("ic", model.ic_encoder)
        if model.ic_prior is not None:
            named["z/prior_g0/mean"] = NamedWeight(model.ic_prior.mean)
            named["z/prior_g0/logvar"] = NamedWeight(model.ic_prior.raw_logvar)
        named |= _linear("z/ic_enc_2_post_g0/mean", model.post_g0_mean)
        named |= _linear("z/ic_enc_2_post_g0/logvar", model.post_g0_logvar)
    if model.has_controller:
        named |= _encoder("ci", model.ci_encoder)
        if isinstance(model.co_prior, AutoregressivePrior):
            named["z/u_prior_ar1/logatau"] = NamedWeight(model.co_prior.log_tau)
            named["z/u_prior_ar1/logevars"] = NamedWeight(model.co_prior.log_noise_variance)
        elif model.co_prior is not None:
            named |= {f"z/u_prior/{weight.name}": NamedWeight(weight) for weight in model.co_prior.weights}
        named["con/c0"] = NamedWeight(model.controller.initial_state)
        named |= _cell("con", model.controller.cell)
        named |= _linear("con/con_to_post_co/mean", model.controller.mean)
        named |= _linear("con/con_to_post_co/logvar", model.controller.logvar)
    generator = model.generator
    if generator.initial_state is not None:
        named["gen/g0"] = NamedWeight(generator.initial_state)
    if generator.from_code is not None:
        named |= _linear("gen/g0_2_gen_ic", generator.from_code)
    named |= _cell("gen", generator.cell)
    named["gen/gen_2_fac/W"] = NamedWeight(generator.factor_map.kernel)
    return {f"LFADS/{name}:0": weight for name, weight in named.items()}


def file_key(name: str) -> str:
    """The name as a key of a model_params file."""
    return name.replace("/", "_")
