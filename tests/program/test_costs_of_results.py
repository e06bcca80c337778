"""The costs in a result file are those of the log."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import trainer_of
from small_runs import write_spikes

from lfads_tf2.data import read_sessions
from lfads_tf2.inference import Inference
from lfads_tf2.training.metrics_log import read_metrics

# No distribution is sampled: validation and inference take the same means.
MEANS = {"ic_prior": "none", "co_prior": "none", "keep_prob": 1.0, "max_epochs": 3, "seed": 3}
VARIANTS = {
    "sums, with correlation and L2 of both cells": {"co_dim": 2, "co_mean_corr_scale": 1.0, "l2_con_scale": 10.0},
    "means": {"recon_reduce": "mean"},
    "zero-inflated gamma, which has a penalty": {"output_dist": "zero_inflated_gamma", "l2_gamma_scale": 2.0},
}


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_mean_cost_equals_the_validation_cost(tmp_path, variant, missing):
    random, settings = np.random.default_rng(2), MEANS | VARIANTS[variant]
    for name, channels in (("one", 7), ("two", 5)):
        halves = {}
        for half, number in (("train", 20), ("valid", 6)):
            counts = random.poisson(1.0, (number, 9, channels)).astype(np.float32)
            counts[random.random(counts.shape) < missing] = np.nan
            halves |= {f"{half}_data": counts, f"{half}_truth": None}
        write_spikes(tmp_path / "data" / f"{name}.h5", **halves)
    if missing:
        settings["augmentations"] = "selective_backprop"
    trainer = trainer_of(tmp_path, **settings)
    assert trainer.model.spec.partly_observed == bool(missing)
    trainer.train()
    logged = read_metrics(tmp_path / "run" / "metrics.csv")["valid/total"][-1]
    # The log validates with the ramps of the epoch's last batch, results have those of the next one.
    run = Inference(trainer.model, 3, trainer.step - 1)
    found = [run.posterior_push_mean(n, s.valid)["costs"] for n, s in enumerate(read_sessions(trainer.hp))]
    assert np.mean(np.concatenate(found)) == pytest.approx(logged, rel=1e-5)
    averaged = [run.posterior_average(n, s.valid, 3)["costs"] for n, s in enumerate(read_sessions(trainer.hp))]
    np.testing.assert_allclose(np.concatenate(averaged), np.concatenate(found), rtol=1e-5)


def test_bounds_are_those_of_the_observed_entries(tmp_path):
    """Weighing them up would leave no bound on their likelihood."""
    counts = {half: np.random.default_rng(5).poisson(1.0, (n, 9, 7)) * 1.0 for half, n in (("train", 20), ("valid", 6))}
    for array in counts.values():
        array[np.random.default_rng(6).random(array.shape) < 0.4] = np.nan
    write_spikes(
        tmp_path / "data" / "one.h5", **{f"{h}_data": a for h, a in counts.items()}, train_truth=None, valid_truth=None
    )
    trainer = trainer_of(tmp_path, ic_dim=0, co_dim=0, keep_prob=1.0, max_epochs=1, augmentations="selective_backprop")
    trainer.train()
    (session,) = read_sessions(trainer.hp)
    found = Inference(trainer.model, 3, trainer.step - 1).posterior_push_mean(0, session.valid)
    from scipy.stats import poisson

    expected = -np.nansum(poisson.logpmf(counts["valid"], found["output_dist_params"]), axis=(1, 2))
    np.testing.assert_allclose(found["nll_bound_vaes"], expected, rtol=1e-5)
