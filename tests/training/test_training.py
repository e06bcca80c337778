"""The training loop on a small model: what moves, what is saved, and what happens when numbers go bad."""

from __future__ import annotations

import dataclasses
import logging

import h5py
import numpy as np
import pytest
import tensorflow as tf
from small_models import trainer_of
from small_runs import write_spikes

from lfads_tf2.settings import checkpoint_files
from lfads_tf2.training.fit_log import read
from lfads_tf2.training.optimizer import trained_variables
from lfads_tf2.training.trainer import TrainingFailed


@pytest.fixture
def folder(tmp_path):
    write_spikes(tmp_path / "data" / "one.h5")
    (tmp_path / "run").mkdir()
    return tmp_path


def test_trains_logs_and_keeps_the_newest_checkpoints(folder):
    trainer = trainer_of(folder, max_epochs=31, max_ckpt_to_keep=2, max_ckpt_to_keep_lve=3)
    trainer.train()
    log = read(folder / "run" / "fitlog.csv")
    assert list(log["epoch"]) == list(range(31))
    assert list(log["step"]) == [3 * (n + 1) for n in range(31)]
    assert log["total_train"][-1] < log["total_train"][0] - 1
    # Every tenth epoch from the first, and the end; two are kept.
    rolling = checkpoint_files.saved_checkpoints(folder / "run" / "checkpoint")
    assert [path.name for path in rolling] == ["lfads_vae.ckpt-63", "lfads_vae.ckpt-93"]
    lowest = checkpoint_files.saved_checkpoints(folder / "run" / "checkpoint_lve")
    full = (log["kl_weight"] >= 1) & (log["epoch"] > 0)
    best = np.flatnonzero(full)[np.argmin(log["total_valid"][full])]
    assert checkpoint_files.step_of(lowest[-1]) == log["step"][best]
    assert len(lowest) <= 3
    kept = {path.name.split(".data")[0].split(".index")[0] for path in (folder / "run").glob("lfads_vae*")}
    assert kept == {path.name for path in rolling + lowest}
    assert trainer.epochs.traces == {"train": 1, "validate": 1}


def test_stops_below_the_stopping_rate(folder, caplog):
    caplog.set_level(logging.INFO, "lfads_tf2")
    trainer = trainer_of(folder, learning_rate_n_to_compare=1, learning_rate_decay_factor=0.5, learning_rate_stop=4e-3)
    trainer.train()
    assert trainer.state.learning_rate == 0.0025
    assert "Stopping optimization" in caplog.text


def test_equal_seeds_are_equal_and_others_differ(folder):
    logs = []
    for run, seed in (("a", 1), ("b", 1), ("c", 2)):
        trainer_of(folder, run, seed, max_epochs=4).train()
        logs.append((folder / run / "fitlog.csv").read_text())
    assert logs[0] == logs[1] != logs[2]


def test_resumed_training_repeats_the_uninterrupted_log(folder):
    trainer_of(folder, "whole", max_epochs=17).train()
    trainer_of(folder, "parts", max_epochs=5).train()
    # Beyond its last checkpoint an interrupted run has log lines and nothing else.
    with (folder / "parts" / "fitlog.csv").open("a") as f:
        f.write("epoch,5, step,18, total,1.00,1.00,       rec")
    resumed = trainer_of(folder, "parts", max_epochs=17)
    assert resumed.state.epoch == 5
    resumed.train()
    assert (folder / "parts" / "fitlog.csv").read_text() == (folder / "whole" / "fitlog.csv").read_text()


def test_reset_of_the_learning_rate(folder):
    trainer = trainer_of(folder, max_epochs=2)
    trainer.state.learning_rate = 0.004
    trainer.train()
    assert trainer_of(folder).state.learning_rate == 0.004
    assert trainer_of(folder, do_reset_learning_rate=True).state.learning_rate == 0.01


@pytest.mark.parametrize(
    ("settings", "moving"),
    [
        ({"do_train_io_only": True}, ("glm/", "x_2_infac")),
        ({"do_train_io_only": True, "do_train_readin": False}, ("glm/",)),
        ({"do_train_encoder_only": True}, ("ic_enc", "z/ic_enc_2_post_g0")),
        ({"do_train_readin": False}, None),
    ],
)
def test_what_training_moves(folder, settings, moving):
    from lfads_tf2.model.names import original_names

    write_spikes(folder / "data" / "two.h5", channels=5, seed=1)
    trainer = trainer_of(folder, max_epochs=2, **settings)
    before = {name: weight.numpy() for name, weight in original_names(trainer.model).items()}
    trainer.train()
    moved = {n for n, weight in original_names(trainer.model).items() if np.any(weight.numpy() != before[n])}
    if moving is None:
        assert moved and not any("x_2_infac" in name for name in moved)
    else:
        expected = {name for name in before if name.removeprefix("LFADS/").startswith(moving)}
        assert moved == expected


def test_padding_of_narrow_sessions_stays_zero(folder):
    write_spikes(folder / "data" / "two.h5", channels=5, seed=1)
    trainer = trainer_of(folder, max_epochs=2)
    trainer.train()
    kernel = np.array(trainer.model.read_in.kernel)
    assert np.all(kernel[1, 5:] == 0) and np.any(kernel[1, :5] != 0)
    assert np.all(np.array(trainer.model.observation.mean_map.kernel)[1, :, 5:] == 0)


def poison(trainer, monkeypatch, bad_calls):
    """Makes the gradient of one variable NaN in the given training steps."""
    original, count = trainer.epochs._gradients, tf.Variable(0)
    index = next(n for n, v in enumerate(trainer.optimizer.trained) if v.shape == (6, 12))

    def poisoned(*arguments):
        cost, gradients = original(*arguments)
        bad = tf.reduce_any(tf.equal(count, tf.constant(bad_calls)))
        count.assign_add(1)
        gradients[index] = tf.where(bad, float("nan"), gradients[index])
        return cost, gradients

    monkeypatch.setattr(trainer.epochs, "_gradients", poisoned)


def test_a_single_bad_step_is_not_applied(folder, monkeypatch, caplog):
    trainer = trainer_of(folder, max_epochs=2)
    poison(trainer, monkeypatch, [1, 3])
    trainer.train()
    assert "1 of 3 steps" in caplog.text and "LFADS/gen/GenGRU/Gates/h_2_ru/W:0" in caplog.text
    assert all(np.all(np.isfinite(v.numpy())) for v in trained_variables(trainer.model))
    assert np.all(np.isfinite(read(folder / "run" / "fitlog.csv")["total_train"]))
    assert trainer.state.rollbacks == 0


def test_many_bad_steps_fall_back_with_a_lower_rate(folder, monkeypatch, caplog):
    write_spikes(folder / "data" / "one.h5", train=64)
    trainer = trainer_of(folder, max_epochs=3)
    poison(trainer, monkeypatch, list(range(10, 15)))
    trainer.train()
    assert trainer.state.rollbacks == 1 and trainer.state.learning_rate == 0.005
    assert "Back to the last good weights" in caplog.text and "GenGRU/Gates/h_2_ru/W" in caplog.text
    assert list(read(folder / "run" / "fitlog.csv")["epoch"]) == [0, 1, 2]


def test_endless_bad_steps_end_with_an_error_and_good_weights(folder, monkeypatch):
    trainer = trainer_of(folder, learning_rate_stop=2e-3)
    poison(trainer, monkeypatch, list(range(6, 1000)))
    with pytest.raises(TrainingFailed, match=r"first bad: LFADS/gen/GenGRU/Gates/h_2_ru/W:0.*cell_clip_value"):
        trainer.train()
    prefix = checkpoint_files.newest(folder / "run", "checkpoint")
    reader = tf.train.load_checkpoint(str(prefix))
    for name, shape in reader.get_variable_to_shape_map().items():
        if reader.get_variable_to_dtype_map()[name] == tf.float32 and shape:
            assert np.all(np.isfinite(reader.get_tensor(name))), name


def test_training_without_validation(folder):
    write_spikes(folder / "data" / "one.h5", valid_data=None, valid_truth=None)
    trainer_of(folder, max_epochs=3).train()
    assert "total_valid" not in read(folder / "run" / "fitlog.csv")
    assert not (folder / "run" / "checkpoint_lve").exists()


def test_a_session_without_validation_among_others(folder):
    write_spikes(folder / "data" / "two.h5", channels=5, valid_data=None, valid_truth=None)
    trainer_of(folder, max_epochs=2).train()
    assert np.all(np.isfinite(read(folder / "run" / "fitlog.csv")["total_valid"]))


def test_validation_counts_every_trial_once(folder):
    """Without noise in the posterior, validation by uneven batches equals one pass over all trials."""
    trainer = trainer_of(folder, batch_size=4, co_dim=0, ic_dim=0, kl_ic_weight=0.0)
    whole = trainer_of(folder, "other", batch_size=6, co_dim=0, ic_dim=0, kl_ic_weight=0.0)
    trainer.optimizer.step.assign(1), whole.optimizer.step.assign(1)
    np.testing.assert_allclose(trainer._validate().recon, whole._validate().recon, rtol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"co_dim": 0},
        {"ic_dim": 0},
        {"ic_dim": 0, "co_dim": 0},
        {"output_dist": "gaussian"},
        {"do_causal_controller": True, "controller_input_lag": 0},
        {"do_feed_factors_to_controller": False},
        {"feedback_factors_or_rates": "rates"},
        {"temporal_spike_jitter_width": 2},
        {"factors_dim": 7},
        {"ext_input_dim": 2},
        {"ext_input_dim": 2, "inject_ext_input_to_gen": True},
        {"ext_input_dim": 2, "inject_ext_input_to_gen": True, "co_dim": 0},
        {"keep_prob": 1.0, "num_steps_for_gen_ic": 4, "co_mean_corr_scale": 0.1, "co_dim": 3},
        {"kl_increase_steps": 0, "l2_increase_steps": 0},
        {"controller_input_lag": 8},
    ],
    ids=str,
)
def test_every_variant_trains(folder, settings):
    random = np.random.default_rng(0)
    inputs = {f"{half}_ext_input": random.normal(size=(n, 9, 2)) for half, n in (("train", 20), ("valid", 6))}
    write_spikes(folder / "data" / "one.h5", **inputs)
    trainer_of(folder, max_epochs=2, **settings).train()
    log = read(folder / "run" / "fitlog.csv")
    assert np.all(np.isfinite(log["total_train"])) and np.all(np.isfinite(log["total_valid"]))


def test_original_checkpoint_is_not_resumed(folder):
    from golden_case import FOLDER

    for path in (FOLDER / "tf1_checkpoint" / "run").glob("*ckpt*"):
        (folder / "run" / path.name).write_bytes(path.read_bytes())
    (folder / "run" / "checkpoint").write_text('model_checkpoint_path: "lfads_vae.ckpt-168"\n')
    with pytest.raises(TrainingFailed, match="--model_params_file"):
        trainer_of(folder)


def test_h5py_is_not_left_open(folder):
    trainer_of(folder)
    with h5py.File(folder / "data" / "one.h5", "r+") as f:
        assert "train_data" in f


def test_settings_are_not_changed_by_training(folder):
    trainer = trainer_of(folder, max_epochs=1)
    before = dataclasses.asdict(trainer.hp)
    trainer.train()
    assert dataclasses.asdict(trainer.hp) == before


def test_dials_turn_without_a_new_compilation(folder):
    """A model with variable hyperparameters takes the steps of one that has the values built in, and turns freely."""
    from lfads_tf2.training.epochs import Epochs
    from lfads_tf2.types import Dials

    first = {"keep_prob": 0.8, "l2_gen_scale": 3.0, "kl_ic_weight": 0.5}
    second = {"keep_prob": 0.6, "l2_gen_scale": 9.0, "kl_ic_weight": 0.25}
    trainers = [trainer_of(folder, run, **settings) for run, settings in (("a", first), ("b", second), ("c", first))]
    fixed = [trainer.epochs for trainer in trainers[:2]]
    dials = Dials(*(tf.Variable(value) for value in Dials.of(trainers[2].hp)))
    turned = trainers[2].epochs
    turned = Epochs(turned.model, turned.optimizer, turned.train_trials, turned.valid_trials, 3, dials=dials)
    order = (tf.constant([0]), tf.constant([list(range(8))]))
    np.testing.assert_allclose(*(np.hstack(one.train(*order).costs) for one in (turned, fixed[0])), rtol=1e-6)
    for variable, value in zip(dials, Dials.of(trainers[1].hp), strict=True):
        variable.assign(value)
    for source, target in zip(trainers[2].optimizer.slots, trainers[1].optimizer.slots, strict=True):
        target.assign(source)
    np.testing.assert_allclose(*(np.hstack(one.train(*order).costs) for one in (turned, fixed[1])), rtol=1e-6)
    assert turned.traces["train"] == 1
