"""Small models with random weights, as exported."""

from __future__ import annotations

import dataclasses

import numpy as np

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.model.names import file_key, original_names
from lfads_tf2.online import ExportedModel
from lfads_tf2.online.exported import SETTINGS
from lfads_tf2.types import ModelSpec, SessionShape, Trials

BINS, SEGMENT = 14, 5
SMALL = {
    "ic_dim": 5, "ic_enc_dim": 6, "gen_dim": 9, "factors_dim": 4, "co_dim": 2, "con_dim": 6, "ci_enc_dim": 7,
    "cell_clip_value": 0.9,
}  # fmt: skip
CAUSAL = SMALL | {"ic_enc_seq_len": SEGMENT, "do_causal_controller": True}


def made(settings: dict, channels: list[int], bins: int = BINS):
    """A model with random weights, and what would be exported of it."""
    hp = HyperParameters(**settings)
    sessions = tuple(SessionShape(f"s{n}", count) for n, count in enumerate(channels))
    model = LFADS(ModelSpec(hp, bins - hp.ic_enc_seq_len, sessions), seed=3, for_training=False)
    random = np.random.default_rng(4)
    for weight in original_names(model).values():
        value = weight.numpy()
        if "gamma_factors" not in weight.variable.name:
            weight.assign(value + 0.3 * random.standard_normal(value.shape).astype(np.float32))
    values = dataclasses.asdict(hp)
    names = {shape.name: shape.num_channels for shape in sessions}
    weights = {file_key(name): weight.numpy() for name, weight in original_names(model).items()}
    exported = ExportedModel(weights, {name: values[name] for name in SETTINGS}, names, names, bins)
    return model, exported


def trials(model, session: int, count: int = 3) -> Trials:
    hp, random = model.spec.hyperparameters, np.random.default_rng(5)
    data = random.poisson(1.0, (count, BINS, model.spec.sessions[session].num_channels)).astype(np.float32)
    inputs = random.standard_normal((count, BINS, hp.ext_input_dim)).astype(np.float32) if hp.ext_input_dim else None
    return Trials(data, inputs)
