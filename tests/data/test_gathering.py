"""Batches by every way to make them: the same numbers, and one weight for entries that were not observed."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from lfads_tf2.data.gathering import BatchMaker
from lfads_tf2.data.resident import ResidentTrials
from lfads_tf2.data.streamed import StreamedTrials
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.types import ModelSpec, SessionShape, Trials

RANDOM = np.random.default_rng(6)
ROWS = np.array([3, 0, 4, 1], np.int32)


def made(kind: str, halves, spec, session: int):
    """The batch of ROWS of one session."""
    if kind == "inference":
        maker = BatchMaker(spec)
        return maker.batch(tf.constant(session), ROWS, *maker.gathered(halves[session], ROWS))
    trials = {"resident": ResidentTrials, "streamed": StreamedTrials}[kind](halves, spec)
    return trials.reader(tf.constant([session]), tf.constant(ROWS[None]))(0)


@pytest.mark.parametrize("kind", ["resident", "streamed", "inference"])
@pytest.mark.parametrize("session", [0, 1])
def test_every_way_gives_the_trials_time_major_and_padded(kind, session):
    """Two sessions, a target with more channels and bins than the data, external inputs."""
    widths, halves = ((4, 6), (3, 5)), []
    for encoded, channels in widths:
        target = RANDOM.poisson(1.0, (5, 8, channels)).astype(np.float32)
        target[RANDOM.random(target.shape) < 0.2] = np.nan
        data = np.nan_to_num(target[:, :7, :encoded]).astype(np.uint8)
        halves.append(Trials(data, ext_input=RANDOM.normal(size=(5, 8, 2)).astype(np.float32), recon=target))
    shares = [0.8, 0.7]
    shapes = tuple(
        SessionShape(f"s{n}", channels, num_encoded=encoded, observed_share=shares[n])
        for n, (encoded, channels) in enumerate(widths)
    )
    hp = HyperParameters(ext_input_dim=2)
    spec = ModelSpec(hp, 8, shapes, encoded_bins=7, separate_target=True, partly_observed=True)
    batch, half = made(kind, halves, spec, session), halves[session]
    encoded, channels = widths[session]
    assert batch.data.shape == (7, 4, 4) and batch.target.shape == batch.counted.shape == (8, 4, 6)
    np.testing.assert_array_equal(batch.data[..., :encoded], half.data[ROWS].swapaxes(0, 1))
    np.testing.assert_array_equal(batch.ext_input, half.ext_input[ROWS].swapaxes(0, 1))
    wanted = half.recon[ROWS].swapaxes(0, 1)
    np.testing.assert_array_equal(batch.target[..., :channels], np.nan_to_num(wanted))
    weights = (~np.isnan(wanted)).astype(np.float32) / np.float32(shares[session])
    np.testing.assert_array_equal(batch.counted[..., :channels], weights)
    for padding in (batch.data[..., encoded:], batch.target[..., channels:]):
        assert not np.any(padding)
    assert int(batch.session) == session
    np.testing.assert_array_equal(batch.trials, ROWS)


@pytest.mark.parametrize("kind", ["resident", "streamed", "inference"])
def test_what_a_model_has_not_is_left_out(kind):
    half = Trials(RANDOM.poisson(1.0, (5, 6, 3)).astype(np.uint8))
    batch = made(kind, [half], ModelSpec(HyperParameters(), 6, (SessionShape("s", 3),)), 0)
    assert batch.ext_input is None and batch.target is None and batch.counted is None
    np.testing.assert_array_equal(batch.data, half.data[ROWS].swapaxes(0, 1))
