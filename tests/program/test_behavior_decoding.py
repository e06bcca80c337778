"""Behaviour in a session's file meets the rates of its trials, or a line says why it does not."""

from __future__ import annotations

import logging
import re

import h5py
import numpy as np
import pytest

from lfads_tf2.data.entries import zeros_for_missing
from lfads_tf2.metrics.decoding import Half, decode
from lfads_tf2.program.behavior_decoding import decoded_behavior
from lfads_tf2.types import Session, Trials

BINS, CHANNELS = 10, 4
TRIALS = {"train": 24, "valid": 8}


@pytest.fixture
def recorded(tmp_path):
    """Session, results and behaviour, which is linear in the rates."""
    random, results, arrays, halves = np.random.default_rng(0), {}, {}, {}
    for half, count in TRIALS.items():
        rates = np.exp(random.normal(size=(count, BINS, CHANNELS)))
        halves[half] = Trials(random.poisson(rates).astype(np.uint8))
        results[half] = {"output_dist_params": rates.astype(np.float32)}
        arrays[half] = rates @ np.arange(8).reshape(4, 2)
    return Session("s", str(tmp_path / "s.h5"), halves["train"], halves["valid"]), results, arrays


def kept(session, arrays):
    with h5py.File(session.path, "w") as file:
        for half, values in arrays.items():
            file[f"{half}_behavior"] = values
    return session


def test_rates_and_behaviour_of_the_same_trials(recorded, caplog):
    session, results, arrays = recorded
    caplog.set_level(logging.INFO, "lfads_tf2")
    found = decoded_behavior(kept(session, arrays), results)
    assert (found.from_rates.r2 > 0.999).all() and f"s: {found}" in caplog.text
    cut = {half: {"output_dist_params": one["output_dist_params"][:7]} for half, one in results.items()}
    assert decoded_behavior(session, cut).known == (7, 7)


def test_what_was_not_observed_is_not_decoded_as_silence(recorded):
    session, results, arrays = recorded
    gaps = {half: getattr(session, half).data.astype(np.float32) for half in TRIALS}
    for counts in gaps.values():
        counts[:, ::3] = np.nan
    halves = {half: zeros_for_missing(Trials(counts)) for half, counts in gaps.items()}
    found = decoded_behavior(kept(session._replace(**halves), arrays), results)
    direct = decode(*(Half(results[half]["output_dist_params"], gaps[half], arrays[half]) for half in TRIALS))
    silent = [Half(results[half]["output_dist_params"], halves[half].data, arrays[half]) for half in TRIALS]
    np.testing.assert_array_equal(found.from_smoothed.r2, direct.from_smoothed.r2)
    assert not np.allclose(found.from_smoothed.r2, decode(*silent).from_smoothed.r2)


def test_parameters_that_are_no_means_bins_before_the_first_and_bins_to_come(recorded):
    session, results, arrays = recorded
    direct = [
        Half(results[h]["output_dist_params"][:, 3:], getattr(session, h).data, arrays[h][:, 3:]) for h in results
    ]  # fmt: skip
    # Variances behind the means; the first three bins are for the initial condition alone, two are forecast.
    more = {
        half: {
            "output_dist_params": np.concatenate(
                [np.pad(one["output_dist_params"][:, 3:], ((0, 0), (0, 2), (0, 0))), np.ones((TRIALS[half], 9, 4))],
                2,
            )
        }
        for half, one in results.items()
    }
    found = decoded_behavior(kept(session, arrays), more, first_bin=3)
    expected = decode(*direct, first_bin=3)
    np.testing.assert_array_equal(found.from_rates.r2, expected.from_rates.r2)
    np.testing.assert_array_equal(found.from_smoothed.r2, expected.from_smoothed.r2)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s, r, a: (s, r, {"train": a["train"]}), "it takes training and validation trials"),
        (lambda s, r, a: (s._replace(valid=None), r, a), "it takes training and validation trials"),
        (lambda s, r, a: (s, {"valid": r["valid"]}, a), "it takes training and validation trials"),
        (lambda s, r, a: (s, r, a | {"valid": a["valid"][:5]}), "valid_behavior must have 8 trials and 10 bins.*got 5"),
        (lambda s, r, a: (s, r, {h: np.repeat(v, 2, 1) for h, v in a.items()}), "train_behavior must.*got 24 and 20"),
        (lambda s, r, a: (s, r, {h: np.ones_like(v) for h, v in a.items()}), "never changes"),
        (lambda s, r, a: (s, r, a | {"valid": a["valid"][..., :1]}), "needs the same dimensions"),
        (lambda s, r, a: (s, r, {}), None),
        (lambda s, r, a: (s, r, {h: v[:, 0] for h, v in a.items()}), None),
    ],
)
def test_what_cannot_be_decoded_is_said(recorded, change, why, caplog):
    caplog.set_level(logging.INFO, "lfads_tf2")
    session, results, arrays = change(*recorded)
    assert decoded_behavior(kept(session, arrays), results) is None
    assert not caplog.records if why is None else len(caplog.records) == 1
    if why is not None:
        assert re.search(why, caplog.text) and "s: its behaviour is not decoded: " in caplog.text


def test_a_file_that_went_or_is_not_named(recorded, caplog):
    session, results, _ = recorded
    caplog.set_level(logging.INFO, "lfads_tf2")
    assert decoded_behavior(session, results) is None and "is not decoded" in caplog.text
    assert decoded_behavior(session._replace(path=""), results) is None and len(caplog.records) == 1
