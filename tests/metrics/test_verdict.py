"""The verdict on rates that are made to be good, copying, flat, collapsed or cut short, without any training."""

from __future__ import annotations

import numpy as np
import pytest

from lfads_tf2.metrics import baselines, held_out
from lfads_tf2.metrics.rates import bits_per_spike
from lfads_tf2.metrics.verdict import ADVICE, FEWEST_TRIALS, Fit, fit_of, judge

DONE = Fit(kl=8.0, kl_weight=1.0, falling=0.0, rate_left=0.0)


def recording(seed, trials=40, bins=50, channels=15):
    random = np.random.default_rng(seed)
    phase = random.uniform(0, 2 * np.pi, (trials, 1, 1))
    rates = 0.3 * np.exp(np.sin(2 * np.pi * np.arange(bins)[:, None] / 25 + phase + random.uniform(0, 6, channels)))
    return rates, random.poisson(rates), random


def verdict(read, unread, spikes, fit=DONE, truth=None):
    sums, sharper, means = held_out.Gains(), held_out.Gains(), held_out.channel_means(spikes)
    sums.add(unread, spikes, means)
    sharper.add(baselines.sharpened(unread, means), spikes, means)
    smoothing = baselines.best_smoothing(spikes)
    ceiling = None if truth is None else held_out.score(truth, spikes)
    return judge(bits_per_spike(read, spikes), sums, sharper, {"best smoothing": smoothing.gains}, fit, ceiling)


@pytest.mark.parametrize("seed", range(4))
def test_labelled(seed):
    rates, spikes, random = recording(seed)
    means = np.broadcast_to(held_out.channel_means(spikes), spikes.shape)
    near = rates * np.exp(0.1 * random.normal(size=rates.shape))
    copied = 0.6 * spikes + 0.4 * near
    noisy = rates * np.exp(0.7 * random.normal(size=rates.shape))
    flat, near_flat = (means * (rates / means) ** power for power in (0.15, 0.75))
    assert verdict(near, near, spikes).kind == "good"
    assert verdict(copied, noisy, spikes).kind == "copies single spikes"
    assert verdict(flat, flat, spikes).kind == verdict(near_flat, near_flat, spikes).kind == "too flat"
    # An average over trials predicts spikes too, and is the same in all trials.
    for average in (means, np.broadcast_to(spikes.mean(axis=0), spikes.shape)):
        assert verdict(average, average, spikes, DONE._replace(kl=0.01)).kind == "latents unused"
    for fit in (DONE._replace(kl_weight=0.4), DONE._replace(falling=0.05), DONE._replace(rate_left=0.8)):
        assert verdict(near, near, spikes, fit).kind == "ended too early"
    # A rate that is left does not excuse what larger swings would mend; a cost that falls does.
    assert verdict(near_flat, near_flat, spikes, DONE._replace(rate_left=0.8)).kind == "too flat"
    assert verdict(near_flat, near_flat, spikes, DONE._replace(falling=0.05)).kind == "ended too early"
    early = verdict(copied, noisy, spikes, DONE._replace(kl_weight=0.1))
    assert early.kind == "ended too early" and "copies" in early.note


@pytest.mark.parametrize(("trials", "judged"), [(1, False), (FEWEST_TRIALS - 1, False), (FEWEST_TRIALS, True)])
def test_few_trials(trials, judged):
    rates, spikes, _ = recording(0, trials=trials)
    found = verdict(rates, rates, spikes)
    assert (found.kind != "too few trials to judge") is judged and "nan" not in str(found)


def test_words():
    rates, spikes, _ = recording(0)
    good = str(verdict(rates, rates, spikes, truth=rates))
    assert good.startswith("Verdict: good. ") and "best smoothing" in good and "true rates" in good
    assert "mend" not in good
    early = str(verdict(rates, rates, spikes, DONE._replace(kl_weight=0.1)))
    assert "--max_epochs" in early
    assert all("--" in advice for kind, advice in ADVICE.items() if kind != "good")


def test_fit_from_the_logs():
    epochs = np.arange(100)
    log = {
        "step": epochs, "kl_valid": np.full(100, 3.0), "kl_weight": np.minimum(epochs / 50, 1),
        "recon_valid": 500 * np.exp(-epochs / 10.0),
    }  # fmt: skip
    fit = fit_of(log, {"learning_rate": np.linspace(0.01, 0.001, 100)})
    assert fit == pytest.approx(Fit(np.nan, 1.0, 0.0, 0.1, steps=99), abs=1e-3, nan_ok=True)
    metrics = {"valid/kl_ic": np.full(100, 3.0), "valid/kl_co": np.linspace(2.0, 0.0, 100)}
    assert fit_of(log, metrics).kl == pytest.approx(3.09, abs=0.01)
    assert fit_of(log, {"valid/kl_ic": np.full(100, 0.1)}).kl == pytest.approx(0.1)
    early = log | {"kl_weight": np.minimum(epochs / 500, 1)}
    assert fit_of(early).kl_weight < 1
    # A cost without weight has no ramp to wait for.
    assert fit_of(early | {"kl_valid": np.zeros(100)}).kl_weight == 1
    assert fit_of(log, metrics).kl_co == pytest.approx(0.09, abs=0.01)
    assert np.isnan(fit_of(log, metrics, has_inputs=False).kl_co)
    assert fit_of({name: column[:20] for name, column in log.items()}).falling > 0.02
    assert np.isnan(fit_of(None).kl) and fit_of(None).kl_weight == 1


def test_fewer_steps_than_such_data_are_worth():
    rates, spikes, _ = recording(2)
    for steps, planned, told in ((1000, 3000.0, True), (2000, 3000.0, False), (1000, 0.0, False)):
        good = verdict(rates, rates, spikes, DONE._replace(steps=steps, planned=planned, kl_co=0.02))
        assert good.kind == "good" and ("trained for 1000 steps" in good.note) is told and "--co_dim=0" in good.note


def test_inputs_without_need():
    rates, spikes, _ = recording(1)
    unused = verdict(rates, rates, spikes, DONE._replace(kl_co=0.02))
    assert unused.kind == "good" and "--co_dim=0" in str(unused) and "0.02 nats" in unused.note
    for fit in (DONE, DONE._replace(kl_co=2.0), DONE._replace(kl_co=0.02, kl_weight=0.5)):
        assert "co_dim=0" not in verdict(rates, rates, spikes, fit).note
