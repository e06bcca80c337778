"""Figures of a search: loss curves, trajectories of the hyperparameters, and where they ended."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lfads_tf2.autolfads.generations import score_of
from lfads_tf2.autolfads.records import best_epoch, lineage
from lfads_tf2.autolfads.searched import Searched
from lfads_tf2.figures.drawing import BLUE, GREY, ORANGE, VERMILLION, new_figure, save
from lfads_tf2.training.scalars import HELD_OUT

OTHERS = {"color": GREY, "alpha": 0.45, "linewidth": 0.8}
FRONT = {"color": BLUE, "linewidth": 2.0, "zorder": 5}
BEST = {"color": VERMILLION, "markersize": 14}
REPLACED_MARKERS = 400  # more would hide the curves


def write_figures(
    folder: Path, log: dict[str, np.ndarray], history: list[dict], best: dict, searched, metric: str, unit: str
):
    """Writes all figures as PNG into ``folder`` and returns their paths.

    Args:
        folder: made if it is not there.
        log: columns of the fit log.
        history: one entry a generation.
        best: worker, generation, score and values of the best model.
        searched: the hyperparameters, in the order of the panels.
        metric: the score's column.
        unit: of costs.
    """
    folder.mkdir(exist_ok=True)
    # A model that trained on alone came from one of these.
    last = best.get("from_generation", best["generation"])
    until = [entry for entry in history if entry["generation"] <= last]
    line = lineage(until, best["worker"]) if until else [best["worker"]]
    if best["generation"] >= len(history):
        # What lies between was trained by others.
        line += [-1] * (len(history) - len(line)) + [best["worker"]] * (best["generation"] - len(history) + 1)
    figures = {
        "loss_curves.png": loss_figure(log, history, line, best, metric, unit),
        "hyperparameters.png": trajectory_figure(log, line, searched),
    }
    if history:
        figures["final_distribution.png"] = final_figure(history, best, searched, metric)
    for name, figure in figures.items():
        save(figure, folder / name)
    return [folder / name for name in figures]


def on_line(log: dict[str, np.ndarray], line: list[int]) -> np.ndarray:
    """Rows of the fit log that led to the best model, in order of epochs."""
    wanted = np.array(line)[np.minimum(log["generation"].astype(int), len(line) - 1)]
    rows = np.flatnonzero((log["worker_id"] == wanted) & (log["generation"] < len(line)))
    return rows[np.argsort(log["epoch"][rows], kind="stable")]


def loss_figure(log, history: list[dict], line: list[int], best: dict, metric: str, unit: str) -> Figure:
    """Score and training reconstruction of all workers; the best model's line and end are marked."""
    columns = [name for name in (metric, "train/recon") if name in log]
    figure = new_figure(7 * len(columns), 5, "Loss of all workers")
    panels = np.atleast_1d(figure.subplots(1, len(columns)))
    rows = on_line(log, line)
    for axes, column in zip(panels, columns, strict=True):
        for worker in np.unique(log["worker_id"]):
            own = log["worker_id"] == worker
            _curve(axes, log, own, column, label="workers" if worker == 0 else None, **OTHERS)
        _curve(axes, log, rows, column, label="what became the best model", **FRONT)
        if rows.size:
            last = rows[-1]
            label = f"best: worker {best['worker']}, {log[column][last]:.4g}"
            axes.plot(
                log["epoch"][last], log[column][last], "*", color=VERMILLION, markersize=14, label=label, zorder=6
            )
        if column == metric:
            _mark_replaced(axes, history, metric)
        axes.set(xlabel="epoch", ylabel="bits/spike" if column == HELD_OUT else unit, title=column)
        _limit(axes, log["epoch"], log[column])
        axes.legend(fontsize="small")
    return figure


def _curve(axes, log: dict[str, np.ndarray], rows: np.ndarray, column: str, **style) -> None:
    """A column of some rows against epoch. Some figures are known at the end of a generation only."""
    values = log[column][rows]
    seen = np.isfinite(values)
    axes.plot(log["epoch"][rows][seen], values[seen], **style)


def _mark_replaced(axes, history: list[dict], metric: str) -> None:
    """A small cross wherever a worker gave its model up for another's."""
    points = [(entry["epoch"] - 1, event["score"]) for entry in history for event in entry["replaced"]]
    points = [(epoch, score_of(score, metric)) for epoch, score in points if score is not None and np.isfinite(score)]
    points = points[:REPLACED_MARKERS]
    if points:
        axes.plot(
            *zip(*points, strict=True), "x", color=ORANGE, markersize=4, label="took over another's model", zorder=4
        )


def _limit(axes, epochs: np.ndarray, values: np.ndarray) -> None:
    """Leaves the first epochs and single outliers out of the scale; they would make the rest look flat."""
    shown = values[np.isfinite(values) & (epochs >= 0.1 * epochs.max())]
    if shown.size > 10:
        low, high = np.min(shown), np.quantile(shown, 0.99)
        axes.set_ylim(low - 0.05 * (high - low) - 1e-9, high + 0.15 * (high - low) + 1e-9)


def _grid(searched, title: str):
    columns = min(3, len(searched))
    rows = -(-len(searched) // columns)
    figure = new_figure(5 * columns, 3.4 * rows, title)
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in panels[len(searched) :]:
        axes.set_axis_off()
    return figure, panels


def _range(axes, one: Searched, along) -> None:
    for bound in (one.minimum, one.maximum):
        along(bound, color="black", linestyle=":", linewidth=0.9)


def trajectory_figure(log, line: list[int], searched) -> Figure:
    """Each hyperparameter against epoch: all workers, and in front the values that the best model trained with."""
    figure, panels = _grid(searched, "Hyperparameters of all workers")
    rows = on_line(log, line)
    for axes, one in zip(panels, searched, strict=False):
        values = log[f"hp/{one.name}"]
        for worker in np.unique(log["worker_id"]):
            own = log["worker_id"] == worker
            axes.step(log["epoch"][own], values[own], where="post", label="workers" if worker == 0 else None, **OTHERS)
        axes.step(log["epoch"][rows], values[rows], where="post", label="what became the best model", **FRONT)
        if one.distribution == "loguniform":
            axes.set_yscale("log")
        _range(axes, one, axes.axhline)
        axes.set(xlabel="epoch", title=one.name)
    panels[0].legend(fontsize="small")
    return figure


def final_figure(history: list[dict], best: dict, searched, metric: str) -> Figure:
    """Score against each hyperparameter after the last generation; dotted lines are the limits of the range."""
    figure, panels = _grid(searched, "Where the workers ended")
    scores = np.array([np.nan if score is None else score for score in history[-1]["scores"]], float)
    scores = score_of(scores, metric)
    for axes, one in zip(panels, searched, strict=False):
        values = np.array([member[one.name] for member in history[-1]["hyperparameters"]])
        axes.plot(values, scores, "o", color=GREY, alpha=0.8, label="workers at the end")
        label = f"best model (epoch {best_epoch(history, best)})"
        axes.plot(best["values"][one.name], score_of(best["score"], metric), "*", label=label, **BEST)
        if one.distribution == "loguniform":
            axes.set_xscale("log")
        _range(axes, one, axes.axvline)
        axes.set(xlabel=one.name, ylabel=metric)
    panels[0].legend(fontsize="small")
    return figure
