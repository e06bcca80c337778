"""One golden case of the original: its settings, weights, inputs, noise and recorded results."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import tensorflow as tf

from lfads_tf2.hyperparameters import HyperParameters, declared
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.model.names import file_key, original_names
from lfads_tf2.types import Batch, Masks, ModelSpec, Noise, SessionShape

FOLDER = Path(__file__).parent / "golden"
CASES = sorted((path.stem for path in FOLDER.glob("c*.h5")), key=lambda name: int(name[1:]))


def time_major(array):
    return None if array is None else tf.constant(np.swapaxes(array, 0, 1).astype(np.float32))


class GoldenCase:
    def __init__(self, name: str):
        with h5py.File(FOLDER / f"{name}.h5") as f:
            settings = json.loads(f.attrs["hps"])
            self.step = int(f.attrs["global_step"])
            self.params = {key: value[()] for key, value in f["params"].items()}
            self.tree = {}
            f.visititems(lambda key, item: self._keep(key, item))
            self.examples = {
                ds: f[f"posterior_sample_and_average/{ds}"].attrs["example_index"]
                for ds in f.get("posterior_sample_and_average", {})
            }
            self.adam_order = list(f["adam/vars_after_steps"].attrs.get("dataset_sequence", ())) or None
            if self.adam_order is None and "dataset_sequence" in f["adam"].attrs:
                self.adam_order = list(f["adam"].attrs["dataset_sequence"])
        known = {key: value for key, value in settings.items() if key in declared() and key != "kind"}
        known = {key: type(declared()[key].default)(value) for key, value in known.items()}
        known["num_steps_for_gen_ic"] = min(known["num_steps_for_gen_ic"], 2**32 - 1)
        self.hp = HyperParameters(**known)
        self.names = settings["dataset_names"]
        shapes = tuple(
            SessionShape(ds, settings["dataset_dims"][ds], f"inputs/{ds}/alignment_matrix_cxf" in self.tree)
            for ds in self.names
        )
        self.spec = ModelSpec(self.hp, settings["num_steps"], shapes)

    def _keep(self, key, item):
        if isinstance(item, h5py.Dataset):
            self.tree[key] = item[()]

    def model(self, native: bool = False) -> LFADS:
        """The model with the case's weights."""
        model = LFADS(self.spec, native=native)
        weights = {file_key(name): weight for name, weight in original_names(model).items()}
        recorded = {k: v for k, v in self.params.items() if "global_step" not in k and "learning_rate" not in k}
        assert set(weights) == set(recorded)
        for key, weight in weights.items():
            assert weight.shape == recorded[key].shape, key
            weight.assign(recorded[key])
        return model

    def results(self, group: str) -> dict[str, np.ndarray]:
        prefix = group + "/"
        return {key[len(prefix) :]: value for key, value in self.tree.items() if key.startswith(prefix)}

    def batch(self, ds: str, trials=slice(None)) -> Batch:
        data = self.tree[f"inputs/{ds}/data"][trials]
        data = np.pad(data, ((0, 0), (0, 0), (0, self.spec.max_channels - data.shape[2])))
        ext_input = self.tree.get(f"inputs/{ds}/ext_input")
        ext_input = None if ext_input is None else ext_input[trials]
        return Batch(time_major(data), time_major(ext_input), tf.constant(self.names.index(ds)))

    def noise(self, ds: str, which: str = "post") -> Noise:
        g0 = self.tree.get(f"inputs/{ds}/noise/{which}_g0")
        return Noise(
            None if g0 is None else tf.constant(g0), time_major(self.tree.get(f"inputs/{ds}/noise/{which}_co"))
        )

    def masks(self, ds: str) -> Masks:
        recorded = self.results(f"inputs/{ds}/dropout_masks")
        if not recorded:
            return Masks()
        scaled = {key: value / np.float32(self.hp.keep_prob) for key, value in recorded.items()}
        encoded = 2 * self.hp.ci_enc_dim
        return Masks(
            data=time_major(scaled["data"]),
            ext_input=time_major(scaled["ext_input"]),
            ic_code=tf.constant(scaled["ic_enc"].astype(np.float32)),
            con_code=time_major(scaled["con_in"][..., :encoded]),
            feedback=time_major(scaled["con_in"][..., encoded:]),
            gen_out=time_major(scaled["gen_out"]),
        )


def without_dropout(case: GoldenCase) -> ModelSpec:
    return dataclasses.replace(case.spec, hyperparameters=dataclasses.replace(case.hp, keep_prob=1.0))
