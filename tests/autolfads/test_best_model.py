"""The best model of a search is a run folder like any other: all kinds of command work in it, whatever the data."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from small_runs import write_spikes

from lfads_tf2.autolfads.config import config_from
from lfads_tf2.autolfads.run import run_search
from lfads_tf2.data import read_sessions
from lfads_tf2.program.kinds import KINDS
from lfads_tf2.program.results import read_params, read_runs
from lfads_tf2.settings import run_folder
from lfads_tf2.settings.combination import combine
from lfads_tf2.training.fit_log import read

from .test_slot import HPS, MODEL

OPTIONS = {
    "num_workers": 2, "perturbation_interval": 1, "burn_in_period": 0, "ramp_epochs": 1, "max_epochs": 2, "patience": 0,
}  # fmt: skip
RANDOM = np.random.default_rng(6)
TRIALS = {"train": 20, "valid": 6}


def held_out(folder):
    """Seven neurons and nine bins are reconstructed, of which the encoders read five and eight."""
    whole = {half: RANDOM.poisson(1.0, (count, 9, 7)) for half, count in TRIALS.items()}
    content = {f"{half}_encod_data": counts[:, :8, :5] for half, counts in whole.items()}
    content |= {f"{half}_recon_data": counts for half, counts in whole.items()}
    with h5py.File(folder / "one.h5", "w") as f:
        for key, value in content.items():
            f[key] = value


def several(folder):
    """Two sessions of different channels, aligned, with two external inputs a bin."""
    for index, channels in enumerate((7, 4)):
        matrix = RANDOM.normal(size=(channels, 3)).astype(np.float32)
        given = {f"{half}_ext_input": RANDOM.normal(size=(count, 9, 2)) for half, count in TRIALS.items()}
        write_spikes(folder / f"day {index}.h5", channels=channels, alignment_matrix_cxf=matrix, **given)


@pytest.mark.parametrize(
    ("write", "settings"),
    [
        (held_out, {}), (several, {"ext_input_dim": 2}),
        (several, {"ext_input_dim": 2, "inject_ext_input_to_gen": True, "ic_enc_seq_len": 3}),
    ],
    ids=["held-out", "sessions and inputs", "segment and injected inputs"],
)  # fmt: skip
def test_every_kind_works_in_the_best_model(tmp_path, write, settings):
    data, folder = tmp_path / "data", tmp_path / "run" / "best_model"
    data.mkdir()
    write(data)
    content = MODEL | settings | {"data_dir": str(data), "seed": 4, "num_samples_posterior": 4, "report": False}
    content |= {"pbt": OPTIONS | {"hps": HPS}}
    run_search(config_from(content, "here"), tmp_path / "run", mode="serial")
    searched = read_params(folder / "model_params")

    def command(kind, **given):
        hp, record = combine({"kind": kind, "data_dir": str(data), "lfads_save_dir": str(folder)} | given)
        KINDS[kind](hp, read_sessions(hp), record)

    for kind in ("posterior_sample_and_average", "posterior_push_mean"):
        command(kind)
        for path in sorted(data.iterdir()):
            with h5py.File(tmp_path / "run" / f"lfads_output_{path.stem}.h5") as f:
                bins_and_channels = f["valid_output_params"].shape[1:]
                assert f["valid_gen_inputs"].shape[1] == bins_and_channels[0]
            rates = read_runs(folder / f"model_runs_{path.name}_valid_{kind}")[0]["output_dist_params"]
            assert rates.shape == (TRIALS["valid"], *bins_and_channels) and np.isfinite(rates).all()
    command("prior_sample")
    command("write_model_params")
    again = read_params(folder / "model_params")
    assert again.keys() == searched.keys()
    for key in searched.keys() - {"LFADS_learning_rate:0"}:
        np.testing.assert_array_equal(again[key], searched[key], err_msg=key)
    before = run_folder.read(folder)
    command("train", max_epochs=5)
    assert list(read(folder / "fitlog.csv")["epoch"][-1:]) == [4]
    after = run_folder.read(folder)
    assert (after.sessions, after.num_bins) == (before.sessions, before.num_bins)
