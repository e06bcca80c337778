"""metrics.csv: what is in it, that its figures are right, and that a resumed run writes the same."""

from __future__ import annotations

import math
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from small_models import trainer_of
from small_runs import write_spikes

from lfads_tf2.metrics.rates import bits_per_spike, r2_truth
from lfads_tf2.training.epoch_metrics import NullLikelihood
from lfads_tf2.training.fit_log import read
from lfads_tf2.training.metrics_log import MetricsLog, read_metrics, read_rows
from lfads_tf2.training.schedules import TrainingState

RANDOM = np.random.default_rng(8)


def test_null_likelihood_gives_bits_per_spike():
    from scipy.stats import poisson

    spikes = RANDOM.poisson(1.3, (300, 7, 4)).astype(np.uint8)
    spikes[:, :, 2] = 0
    rates = RANDOM.random(spikes.shape) + 0.7
    null = NullLikelihood([spikes[:100], spikes[100:]])
    # Two sessions: each has means of its own.
    expected = sum(poisson.logpmf(p, np.maximum(p.mean((0, 1)), 1e-300)).sum() for p in (spikes[:100], spikes[100:]))
    assert null.log_likelihood == pytest.approx(expected, rel=1e-9) and null.spikes == spikes.sum()
    one = NullLikelihood([spikes])
    assert one.bits_per_spike(poisson.logpmf(spikes, rates).sum()) == pytest.approx(bits_per_spike(rates, spikes))
    missing = spikes.astype(np.float32)
    missing[RANDOM.random(missing.shape) < 0.3] = np.nan
    with np.errstate(invalid="ignore"):
        likelihood = np.nansum(poisson.logpmf(missing, rates))
    assert NullLikelihood([missing]).bits_per_spike(likelihood) == pytest.approx(bits_per_spike(rates, missing))
    assert math.isnan(NullLikelihood([np.zeros((2, 2, 2), np.uint8)]).bits_per_spike(0.0))


def test_rows_are_kept_and_smoothed(tmp_path):
    path = tmp_path / "metrics.csv"
    log = MetricsLog(path, TrainingState())
    for epoch, value in enumerate((10.0, 20.0, 40.0)):
        log.append({"epoch": epoch, "valid/recon": value, "r2, all": math.nan if epoch else 0.1})
    columns = read_metrics(path)
    np.testing.assert_allclose(columns["valid/recon_smth"], [10, 13, 21.1])
    assert columns["r2, all"][0] == 0.1 and np.isnan(columns["r2, all"][1:]).all()
    whole = path.read_text()
    with path.open("a") as f:
        f.write("3,50")
    # Epoch 2 is written again after a kill, with one column more.
    again = MetricsLog(path, TrainingState(2))
    again.append({"epoch": 2, "valid/recon": 40.0, "new": 7})
    rows = read_rows(path)
    assert [row["epoch"] for row in rows] == [0, 1, 2] and rows[2]["valid/recon_smth"] == pytest.approx(21.1)
    assert math.isnan(rows[0]["new"]) and rows[2]["new"] == 7
    MetricsLog(path, TrainingState())
    assert path.read_text() == "" and whole.startswith("epoch,valid/recon,")


def test_a_run_and_its_continuation_have_one_log(tmp_path):
    counts = {half: RANDOM.poisson(1.0, (n, 9, 7)) for half, n in (("train", 20), ("valid", 6))}
    truth = {half: RANDOM.random((n, 9, 7)) for half, n in (("train", 20), ("valid", 6))}
    (tmp_path / "data").mkdir()
    for name, channels in (("a", 5), ("b", 4)):
        with h5py.File(tmp_path / "data" / f"{name}.h5", "w") as f:
            for half, array in counts.items():
                f[f"{half}_recon_data"], f[f"{half}_encod_data"] = array, array[:, :6, :channels]
                f[f"{half}_truth"] = truth[half]
    # The score of held-out spikes is taken at a training's last epoch too, wherever that is.
    settings = {"sv_rate": 0.1, "learning_rate_n_to_compare": 1, "held_out_epochs": 0}
    trainer_of(tmp_path, "whole", max_epochs=12, **settings).train()
    trainer_of(tmp_path, "parts", max_epochs=4, **settings).train()
    trainer = trainer_of(tmp_path, "parts", max_epochs=12, **settings)
    trainer.train()
    text = (tmp_path / "parts" / "metrics.csv").read_text()
    assert text == (tmp_path / "whole" / "metrics.csv").read_text()
    columns, log = read_metrics(tmp_path / "parts" / "metrics.csv"), read(tmp_path / "parts" / "fitlog.csv")
    for half in ("train", "valid"):
        for name in ("total", "recon", "kl", "kl_ic", "kl_co", "bps", "co_bps", "fp_bps", "recon_sv"):
            assert np.all(np.isfinite(columns[f"{half}/{name}"])), name
        np.testing.assert_allclose(columns[f"{half}/recon"], log[f"recon_{half}"], atol=6e-3)
        sessions = (columns[f"{half}/recon/a.h5"] + columns[f"{half}/recon/b.h5"]) / 2
        np.testing.assert_allclose(columns[f"{half}/recon"], sessions, rtol=1e-5)
        weighted = columns[f"{half}/kl_ic"] + columns[f"{half}/kl_co"]
        np.testing.assert_allclose(columns[f"{half}/kl"], weighted, rtol=1e-4)
    assert columns["hp/keep_prob"][0] == 0.95 and columns["learning_rate"][0] == 0.01
    assert np.isfinite(columns["valid/r2"][9]) and np.isnan(columns["valid/r2"][8])
    # R² by the other way round.
    from lfads_tf2.inference import Inference

    rates = [
        Inference(trainer.model, 0, 0).posterior_push_mean(n, trials)
        for n, trials in enumerate(trainer_trials(trainer))
    ]
    together = [np.concatenate([r["output_dist_params"] for r in rates]), np.concatenate([truth["valid"]] * 2)]
    assert trainer.truth_r2() == pytest.approx(r2_truth(*together), abs=1e-4)


def trainer_trials(trainer):
    from lfads_tf2.data import read_sessions

    return [session.valid for session in read_sessions(trainer.hp)]


def test_bits_per_spike_of_a_validation_epoch(tmp_path):
    """Without latents' noise the column is the metric of the rates themselves."""
    write_spikes(tmp_path / "data" / "one.h5")
    settings = {"ic_dim": 0, "co_dim": 0, "keep_prob": 1.0}
    trainer = trainer_of(tmp_path, max_epochs=1, **settings)
    trainer.train()
    from lfads_tf2.inference import Inference

    (valid,) = trainer_trials(trainer)
    rates = Inference(trainer.model, 0, 0).posterior_push_mean(0, valid)["output_dist_params"]
    found = read_metrics(tmp_path / "run" / "metrics.csv")["valid/bps"][0]
    assert found == pytest.approx(bits_per_spike(rates, valid.data), abs=1e-5)


def test_tensorboard_and_searches_have_the_same_names(tmp_path):
    from tensorflow.compat.v1 import train

    from lfads_tf2.autolfads.config import METRICS
    from lfads_tf2.training import scalars

    write_spikes(tmp_path / "data" / "one.h5")
    trainer_of(tmp_path, max_epochs=10).train()
    columns = read_metrics(tmp_path / "run" / "metrics.csv")
    (board,) = (tmp_path / "run" / "lfads_log").iterdir()
    tags = {value.tag for event in train.summary_iterator(str(board)) for value in event.summary.value}
    assert tags - {"ar1_tau/0", "ar1_noise_variance/0"} == set(columns) - {"epoch", "step"}
    # Held-out spikes have one name in both; "auto" stands for another one.
    assert {*scalars.SEARCH, scalars.HELD_OUT} <= set(columns)
    assert set(METRICS) <= {*scalars.SEARCH.values(), scalars.HELD_OUT, "auto"}


def test_tensorboard_gets_what_its_own_scalars_are(tmp_path):
    import tensorflow as tf
    from tensorflow.compat.v1 import train

    from lfads_tf2.training.tensorboard import TensorBoard

    def values(folder):
        (path,) = folder.iterdir()
        return [(event.step, value) for event in train.summary_iterator(str(path)) for value in event.summary.value]

    with tf.summary.create_file_writer(str(tmp_path / "own")).as_default():
        for step in (3, 6):
            tf.summary.scalar("valid/total", 1.5 + step, step=step)
    board = TensorBoard(tmp_path / "ours", SimpleNamespace(has_controller=False))
    for step in (3, 6):
        board.write({"epoch": 0, "step": step, "valid/total": 1.5 + step})
    board.close()
    assert values(tmp_path / "ours") == values(tmp_path / "own")
    assert [step for step, _ in values(tmp_path / "ours")] == [3, 6]
