"""The course of training: costs, and the schedules that they follow, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lfads_tf2.figures.drawing import BLUE, ORANGE, marker, new_figure

# Columns of metrics.csv that the fit log has under another name.
IN_FIT_LOG = {f"{half}/{cost}": f"{cost}_{half}" for cost in ("total", "recon", "kl") for half in ("train", "valid")}
SCHEDULES = ("kl_weight", "l2_weight", "learning_rate")
WEIGHTS = "weights of the KL and L2 costs"


def fit_columns(
    log: Mapping[str, np.ndarray] | None, metrics: Mapping[str, np.ndarray] | None
) -> dict[str, np.ndarray] | None:
    """The columns that ``fit_figure`` draws, one entry an epoch, from both logs of a run or from the one that is there.

    Args:
        log: columns of the fit log; None or without rows: the costs are those of ``metrics``.
        metrics: columns of metrics.csv, perhaps of other epochs; None: no learning rate.

    Returns:
        The fit log's columns, with the schedules at the same steps, NaN where ``metrics`` has no such step. None:
        neither log has rows.
    """
    log, metrics = dict(log or {}), dict(metrics or {})
    if not len(metrics.get("step", ())):
        return log if len(log.get("step", ())) else None
    if not len(log.get("step", ())):
        return {IN_FIT_LOG.get(name, name): values for name, values in metrics.items()}
    row_of = {step: row for row, step in enumerate(metrics["step"])}
    rows = np.array([row_of.get(step, -1) for step in log["step"]])
    for name in SCHEDULES:
        if name in metrics:
            found = np.where(rows >= 0, np.asarray(metrics[name], float)[rows], np.nan)
            # The fit log has two digits.
            found = np.where(np.isfinite(found), found, log.get(name, np.nan))
            if np.isfinite(found).any():
                log[name] = found
    return log


def fit_figure(log: dict[str, np.ndarray], chosen_step: int | None = None, unit: str = "nats a trial") -> Figure:
    """Costs, weights and learning rate against epoch; a dashed line marks the chosen checkpoint.

    log: columns of equal length, as ``fit_columns`` joins them: epoch, step, total_train, total_valid, ..., kl_weight,
    l2_weight, learning_rate. All but step may be absent. unit: of total and reconstruction cost.
    """
    epochs = np.asarray(log["epoch"] if "epoch" in log else log["step"])
    marked = epochs[np.argmin(np.abs(np.asarray(log["step"]) - chosen_step))] if chosen_step is not None else None
    panels = [
        (f"total cost ({unit})", {"total_train": "train", "total_valid": "valid"}),
        (f"reconstruction cost ({unit})", {"recon_train": "train", "recon_valid": "valid"}),
        ("KL cost (nats a trial)", {"kl_train": "train", "kl_valid": "valid"}),
        ("L2 cost", {"l2": "L2"}),
        (WEIGHTS, {"kl_weight": "KL weight", "l2_weight": "L2 weight"}),
        ("learning rate", {"learning_rate": "learning rate"}),
    ]
    panels = [panel for panel in panels if any(column in log for column in panel[1])]
    # The second line is dashed: both cost weights often rise together, one upon the other.
    solid, other = {"color": BLUE, "linewidth": 1.6}, {"color": ORANGE, "linewidth": 1.6, "linestyle": (0, (4, 1.5))}
    figure = new_figure(14, 7.5, "Fit")
    grid = figure.subplots(2, 3, sharex=True)
    for axes, (title, columns) in zip(grid.flat, panels, strict=False):
        present = {label: np.asarray(log[column], float) for column, label in columns.items() if column in log}
        for look, (label, values) in zip((solid, other), present.items(), strict=False):
            axes.plot(epochs, values, label=label, **look, **marker(len(epochs)))
        if marked is not None:
            axes.axvline(marked, color="black", linestyle="--", linewidth=1, label=f"chosen, step {chosen_step}")
        later = np.concatenate([values[len(epochs) // 10 :] for values in present.values()])
        later = later[np.isfinite(later)]
        if len(epochs) >= 50 and title.endswith("trial)") and later.size:
            # The first epochs' costs are so large that the rest would look flat.
            low, high = later.min(), later.max()
            axes.set_ylim(low - 0.05 * (high - low) - 1e-9, high + 0.1 * (high - low) + 1e-9)
        if title == "learning rate":
            _log_scale(axes, present["learning rate"])
        elif title == WEIGHTS:
            axes.set_ylim(-0.05, 1.05 * max(1.0, *(np.nanmax(values, initial=0) for values in present.values())))
        axes.set_title(title, fontsize=11)
        axes.tick_params(labelbottom=True)
        axes.legend(fontsize="small")
        axes.set_xlabel("epoch" if "epoch" in log else "step")
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    return figure


def _log_scale(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic axis of at least one decade with plain labels, so that a rate that never falls has one too."""
    positive = values[values > 0]
    if len(positive):
        axes.set_yscale("log")
        spare = max(1.2, float(np.sqrt(10 * positive.min() / positive.max())))
        axes.set_ylim(positive.min() / spare, positive.max() * spare)
