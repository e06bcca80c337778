"""The score of held-out spikes in training: equal to that of inference, written, and able to choose."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from small_models import trainer_of
from small_runs import write_spikes

from lfads_tf2.data import DataError, read_sessions
from lfads_tf2.hyperparameters import HyperParameters, problems
from lfads_tf2.inference import Inference
from lfads_tf2.metrics import held_out
from lfads_tf2.settings import checkpoint_files
from lfads_tf2.training.fit_log import read
from lfads_tf2.training.metrics_log import read_metrics
from lfads_tf2.training.schedules import TrainingState, update_learning_rate_by_cosine, watch_validation


@pytest.fixture
def folder(tmp_path):
    write_spikes(tmp_path / "data" / "a.h5", valid=11)
    write_spikes(tmp_path / "data" / "b.h5", valid=5, channels=4, seed=1)
    return tmp_path


def test_is_written_chooses_and_equals_that_of_inference(folder):
    settings = {"max_epochs": 15, "held_out_epochs": 2, "select_by": "held_out_bps", "learning_rate_init": 0.05}
    trainer = trainer_of(folder, **settings)
    trainer.train()
    scores = read_metrics(folder / "run" / "metrics.csv")["valid/held_out_bps"]
    # Every so many epochs and at the end.
    assert list(np.flatnonzero(~np.isnan(scores))) == [*range(1, 15, 2), 14]
    log = read(folder / "run" / "fitlog.csv")
    allowed = np.where((log["kl_weight"] >= 1) & (log["epoch"] > 0), scores, np.nan)
    lowest = checkpoint_files.saved_checkpoints(folder / "run" / "checkpoint_lve")
    assert checkpoint_files.step_of(lowest[-1]) == log["step"][np.nanargmax(allowed)]
    sessions, sums = read_sessions(trainer.hp), held_out.Gains()
    for index, session in enumerate(sessions):
        means = held_out.channel_means(session.train.data)
        rates = Inference(trainer.model, 0, 1).held_out_rates(index, session.valid, means)
        sums.add(rates, session.valid.data, held_out.channel_means(session.valid.data))
    assert scores[-1] == pytest.approx(sums.score().bits, abs=1e-5)
    errors = read_metrics(folder / "run" / "metrics.csv")["valid/held_out_bps_error"]
    assert errors[-1] == pytest.approx(sums.score().error, rel=1e-4)


def test_gaps_do_not_lower_the_means_that_masked_entries_get(tmp_path):
    counts = np.random.default_rng(0).poisson(2.0, (20, 9, 7)).astype(np.float32)
    counts[:, ::2] = np.nan
    write_spikes(tmp_path / "data" / "a.h5", train_data=counts, train_truth=None, valid_truth=None)
    trainer = trainer_of(tmp_path, augmentations="selective_backprop")
    np.testing.assert_allclose(trainer.held_out.rates.means[0], np.nanmean(counts, axis=(0, 1)), rtol=1e-6)


def test_early_stopping_counts_epochs_and_not_scores():
    state = TrainingState()
    for value in (-0.1, -0.05, 0.0):
        watch_validation(state, value, epochs=25)
    assert state.epochs_since_best == 50


def test_what_it_needs(folder):
    assert problems(HyperParameters(select_by="held_out_bps", output_dist="gaussian"))
    assert problems(HyperParameters(select_by="held_out_bps", held_out_epochs=0))
    assert problems(HyperParameters(select_by="held_out_bps")) == []
    for path in (folder / "data").iterdir():
        path.unlink()
    write_spikes(folder / "data" / "a.h5", valid_data=None, valid_truth=None)
    with pytest.raises(DataError, match="select_by=held_out_bps needs validation data"):
        trainer_of(folder, select_by="held_out_bps")
    path = write_spikes(folder / "data" / "a.h5")
    with h5py.File(path, "r+") as f:
        f["valid_data"][...] = 0
    with pytest.raises(DataError, match="validation trials with spikes"):
        trainer_of(folder, select_by="held_out_bps")


def test_cosine_falls_to_nothing():
    hp = HyperParameters(learning_rate_schedule="cosine", max_epochs=8)
    state, rates = TrainingState(learning_rate=hp.learning_rate_init), []
    for state.epoch in range(8):
        rates.append(state.learning_rate)
        update_learning_rate_by_cosine(state, hp)
    np.testing.assert_allclose(rates, 0.01 * (1 + np.cos(np.pi * np.arange(8) / 8)) / 2)
    assert state.learning_rate == 0
    assert problems(HyperParameters(learning_rate_schedule="cosine")) == [
        "--learning_rate_schedule=cosine needs an end: --max_epochs of at least 1, got 0"
    ]
    assert problems(hp) == []


def test_cosine_halves_after_a_rollback():
    hp, state = HyperParameters(learning_rate_schedule="cosine", max_epochs=4), TrainingState(epoch=1, rollbacks=2)
    update_learning_rate_by_cosine(state, hp)
    assert state.learning_rate == pytest.approx(0.01 * 0.5 * 0.25)
