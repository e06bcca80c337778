"""The fit figure: two logs joined by step, and the schedules drawn over the costs' epochs."""

from __future__ import annotations

import numpy as np
import pytest

from lfads_tf2.figures.drawing import pixels
from lfads_tf2.figures.fit import fit_columns, fit_figure

EPOCHS = 40
LOG = {
    "epoch": np.arange(EPOCHS), "step": 3 * np.arange(1, EPOCHS + 1), "total_train": np.linspace(9, 5, EPOCHS),
    "recon_train": np.linspace(8, 4, EPOCHS), "kl_train": np.ones(EPOCHS), "l2": np.ones(EPOCHS),
    "kl_weight": np.round(np.linspace(0, 1, EPOCHS), 2), "l2_weight": np.ones(EPOCHS),
}  # fmt: skip
METRICS = {
    "epoch": np.arange(EPOCHS), "step": LOG["step"], "train/total": LOG["total_train"],
    "valid/recon": np.linspace(9, 6, EPOCHS), "kl_weight": np.linspace(0, 1, EPOCHS),
    "learning_rate": 0.01 * 0.9 ** np.arange(EPOCHS),
}  # fmt: skip


def panels(log, **how):
    """What is drawn under each title: x and y of its curves by label."""
    figure = fit_figure(log, **how)
    pixels(figure)
    return {
        axes.get_title(): (axes, {line.get_label(): line.get_xydata().T for line in axes.lines})
        for axes in figure.axes
        if axes.get_title()
    }


def test_the_schedules_are_drawn_over_the_epochs_of_the_costs():
    drawn = panels(fit_columns(LOG, METRICS), chosen_step=30)
    rate, curves = drawn["learning rate"]
    assert rate.get_yscale() == "log"
    np.testing.assert_array_equal(curves["learning rate"], [LOG["epoch"], METRICS["learning_rate"]])
    weights, curves = drawn["weights of the KL and L2 costs"]
    np.testing.assert_array_equal(curves["KL weight"][1], METRICS["kl_weight"])
    np.testing.assert_array_equal(curves["L2 weight"][1], LOG["l2_weight"])
    assert weights.get_ylim()[0] < 0 and 1 < weights.get_ylim()[1] < 1.2
    assert rate.get_xlim() == weights.get_xlim() == drawn["total cost (nats a trial)"][0].get_xlim()


def test_rows_belong_together_by_step():
    """metrics.csv lost its first rows, has one that the fit log lacks, and ends later."""
    log = {name: np.delete(values, 20)[:-5] for name, values in LOG.items()}
    late = {name: values[10:] for name, values in METRICS.items()}
    joined = fit_columns(log, late)
    expected = np.where(log["epoch"] < 10, np.nan, 0.01 * 0.9 ** log["epoch"])
    np.testing.assert_allclose(joined["learning_rate"], expected)
    exact = np.where(log["epoch"] < 10, log["kl_weight"], log["epoch"] / (EPOCHS - 1))
    np.testing.assert_allclose(joined["kl_weight"], exact)
    assert {name: len(values) for name, values in joined.items()} == dict.fromkeys(joined, EPOCHS - 6)
    assert "learning_rate" not in log and len(panels(joined)) == 6


def test_a_log_that_is_missing_is_no_obstacle():
    assert fit_columns(None, None) is None and fit_columns({}, {"step": np.zeros(0)}) is None
    assert "learning rate" not in panels(fit_columns(LOG, None))
    old = {name: values for name, values in LOG.items() if "weight" not in name}
    assert {"learning rate", "weights of the KL and L2 costs"}.isdisjoint(panels(fit_columns(old, {})))
    elsewhere = METRICS | {"step": METRICS["step"] + 1}
    assert fit_columns(LOG, elsewhere).keys() == LOG.keys(), "a rate of no epoch makes no panel"
    alone = panels(fit_columns(None, METRICS))
    np.testing.assert_array_equal(alone["total cost (nats a trial)"][1]["train"][1], LOG["total_train"])
    np.testing.assert_array_equal(alone["reconstruction cost (nats a trial)"][1]["valid"][1], METRICS["valid/recon"])
    assert {"learning rate", "weights of the KL and L2 costs"} <= alone.keys()


@pytest.mark.parametrize("rate", [0.01, 0.0, np.nan])
def test_one_epoch_and_rates_that_no_logarithm_has(rate):
    one = {name: values[:1] for name, values in LOG.items()} | {"learning_rate": np.array([rate])}
    assert len(panels(one, chosen_step=3)) == 6
    constant = LOG | {"learning_rate": np.full(EPOCHS, rate)}
    low, high = panels(constant)["learning rate"][0].get_ylim()
    assert low < high and (rate != 0.01 or high / low >= 9.9)
