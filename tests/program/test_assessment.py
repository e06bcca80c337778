"""What a result file says of its own rates."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from lfads_tf2.data.entries import zeros_for_missing
from lfads_tf2.metrics.rates import bits_per_spike
from lfads_tf2.metrics.verdict import Fit
from lfads_tf2.program.assessment import against_masked_spikes
from lfads_tf2.types import Session, Trials


def test_what_is_called_read_is_what_the_encoders_read():
    """Of six bins and five channels the encoders read four and three; rates of the others are far off."""
    random = np.random.default_rng(0)
    truth = random.gamma(2.0, 0.5, (30, 6, 5))
    spikes = random.poisson(truth).astype(np.uint8)
    inferred = truth.copy()
    inferred[:, 4:], inferred[:, :, 3:] = 40.0, 40.0
    trials = Trials(spikes[:, :4, :3], recon=spikes)
    model = SimpleNamespace(first_bin=1)
    given = []
    run = SimpleNamespace(model=model, held_out_rates=lambda _, trials, means: given.append(means) or truth[:, 1:])
    session = Session("a", "a", trials, trials)
    fit = Fit(kl=8.0, kl_weight=1.0, falling=0.0)
    attributes, _ = against_masked_spikes(run, 0, session, trials, inferred[:, 1:], fit)
    assert attributes["bps_read"] == pytest.approx(bits_per_spike(truth[:, 1:4, :3], spikes[:, 1:4, :3]))
    np.testing.assert_allclose(given, [spikes[:, :4, :3].mean(axis=(0, 1))])
    # Entries that were not observed are left out of the means, for which the encoders read 0.
    gaps = spikes.astype(np.float32)
    gaps[:, ::2] = np.nan
    trials = zeros_for_missing(Trials(gaps[:, :4, :3], recon=gaps))
    against_masked_spikes(run, 0, Session("a", "a", trials, trials), trials, inferred[:, 1:], fit)
    np.testing.assert_allclose(given[1], np.nanmean(gaps[:, :4, :3], axis=(0, 1)), rtol=1e-6)
