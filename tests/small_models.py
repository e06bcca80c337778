"""A small model to train in the tests' own process."""

from __future__ import annotations

from lfads_tf2.data import read_sessions, resolve
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.training.trainer import Trainer

SETTINGS = {
    "co_dim": 1, "factors_dim": 3, "gen_dim": 6, "ic_dim": 4, "ic_enc_dim": 5, "ci_enc_dim": 4, "con_dim": 4,
    "batch_size": 8, "kl_increase_steps": 6, "l2_increase_steps": 6,
}  # fmt: skip


def trainer_of(folder, run="run", seed=3, **settings) -> Trainer:
    """A trainer in ``folder/run`` of a model of SETTINGS, on the files in ``folder/data``."""
    hp = HyperParameters(data_dir=str(folder / "data"), **(SETTINGS | settings))
    sessions = read_sessions(hp)
    (folder / run).mkdir(exist_ok=True)
    return Trainer(LFADS(resolve(hp, sessions), seed), sessions, folder / run, seed, show_progress=False)
