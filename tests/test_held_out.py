"""Masked inference: no entry is predicted with a look at it, each is predicted once, and by brute force the same."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from lfads_tf2 import held_out, noise
from lfads_tf2.data import resolve
from lfads_tf2.data.entries import zeros_for_missing
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.inference import Inference
from lfads_tf2.metrics.held_out import channel_means
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.types import Session, Trials

BINS, CHANNELS = 9, 5


def untrained(target=None, **settings):
    """A model with weights large enough that every entry matters, and a session."""
    random = np.random.default_rng(0)
    counts = random.poisson(1.0, (6, BINS, CHANNELS)).astype(np.uint8)
    hp = HyperParameters(
        seed=3, co_dim=1, factors_dim=3, gen_dim=6, ic_dim=4, ic_enc_dim=5, ci_enc_dim=4, con_dim=4,
        cell_weight_scale=2.0, **settings,
    )  # fmt: skip
    recon = None if target is None else random.poisson(1.0, (6, *target)).astype(np.float32)
    if recon is not None:
        recon[:, :BINS, :CHANNELS] = counts
    trials = Trials(counts, recon=recon)
    session = Session("a", "a", trials, trials)
    return LFADS(resolve(hp, [session]), seed=3), session


def folds(trials: int, first_bin: int = 0) -> np.ndarray:
    """trials x bins x channels: which mask each entry belongs to; -1 none."""
    found = noise.fixed_folds(held_out.SEED, 0, tf.range(trials), (BINS, trials, CHANNELS), held_out.MASKS)
    found = np.array(found).transpose(1, 0, 2)
    found[:, :first_bin] = -1
    return found


def test_what_was_not_observed_is_told_from_zero():
    counts = np.random.default_rng(0).poisson(2.0, (9, BINS, CHANNELS)).astype(np.float32)
    gaps = np.where(np.arange(BINS)[:, None] % 2, counts, np.nan).astype(np.float32)
    read = zeros_for_missing(Trials(gaps))
    np.testing.assert_array_equal(read.observed, gaps)
    assert not np.isnan(read.data).any()
    wider = read._replace(recon=np.pad(read.recon, ((0, 0), (0, 2), (0, 1))))
    np.testing.assert_array_equal(wider.observed, gaps)
    whole = Trials(counts)
    assert whole.observed is whole.data


def test_masks_share_all_entries_evenly():
    found = np.array(noise.fixed_folds(0, 0, tf.range(200), (50, 200, 20), 10))
    assert found.min() == 0 and found.max() == 9
    np.testing.assert_allclose(np.bincount(found.ravel()) / found.size, 0.1, atol=0.002)
    again = np.array(noise.fixed_folds(0, 0, tf.constant([7, 3]), (50, 2, 20), 10))
    np.testing.assert_array_equal(again, found[:, [7, 3]])


@pytest.mark.parametrize("first_bin", [0, 2])
def test_by_brute_force(first_bin):
    model, session = untrained(ic_enc_seq_len=first_bin)
    run, means = Inference(model, 0, 1), channel_means(session.train.data)
    got = run.held_out_rates(0, session.train, means)
    expected = np.full((6, BINS - first_bin, CHANNELS), np.nan)
    for number in range(held_out.MASKS):
        chosen = folds(6, first_bin) == number
        data = np.where(chosen, means, session.train.data).astype(np.float32)
        rates = run.posterior_push_mean(0, Trials(data))["output_dist_params"]
        expected[chosen[:, first_bin:]] = rates[chosen[:, first_bin:]]
    np.testing.assert_allclose(got, expected, rtol=2e-5)


def test_no_entry_sees_itself_but_all_others():
    model, session = untrained()
    run, means = Inference(model, 0, 1), channel_means(session.train.data)
    before = run.held_out_rates(0, session.train, means)
    data = session.train.data.copy()
    data[2, 4, 3] += 40
    after = run.held_out_rates(0, Trials(data), means)
    assert after[2, 4, 3] == before[2, 4, 3]
    others = folds(6)[2] != folds(6)[2, 4, 3]
    assert np.all(after[2][others] != before[2][others])
    np.testing.assert_array_equal(after[[0, 1, 3, 4, 5]], before[[0, 1, 3, 4, 5]])


def test_entries_that_are_never_read_are_averaged():
    model, session = untrained(target=(BINS + 3, CHANNELS + 2))
    run, means = Inference(model, 0, 1), channel_means(session.train.data)
    got = run.held_out_rates(0, session.train, means)
    assert got.shape == (6, BINS + 3, CHANNELS + 2)
    every = [
        run.posterior_push_mean(
            0, session.train._replace(data=np.where(folds(6) == number, means, session.train.data).astype(np.float32))
        )["output_dist_params"]
        for number in range(held_out.MASKS)
    ]
    never = np.ones(got.shape, bool)
    never[:, :BINS, :CHANNELS] = False
    np.testing.assert_allclose(got[never], np.mean(every, axis=0)[never], rtol=2e-5)


def test_blocks_change_nothing(monkeypatch):
    model, session = untrained()
    run, means = Inference(model, 0, 1), channel_means(session.train.data)
    whole = run.held_out_rates(0, session.train, means)
    monkeypatch.setattr("lfads_tf2.inference.rows_within_budget", lambda spec: 4)
    np.testing.assert_allclose(run.held_out_rates(0, session.train, means), whole, rtol=1e-5)
