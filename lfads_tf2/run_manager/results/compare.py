"""Runs side by side: their fits, and how well they match the truth where it is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lfads_tf2.figures.drawing import PALETTE, new_figure
from lfads_tf2.metrics import rates as metrics
from lfads_tf2.run_manager.loading import LoadError
from lfads_tf2.run_manager.results.results_of_run import ResultsOfRun

NAN = float("nan")


class RunRow(NamedTuple):
    """One run; costs in nats a trial at the epoch with the lowest validation cost (the last where there is none)."""

    name: str
    params: str
    epochs: int
    total_train: float = NAN
    total_valid: float = NAN
    recon_valid: float = NAN
    kl_valid: float = NAN
    r2_valid: float = NAN  # of inferred against true rates, trials held out of training, mean over datasets
    bits_per_spike_valid: float = NAN


class Comparison(NamedTuple):
    """Rows of all runs, and the fit logs behind them."""

    rows: list[RunRow]
    logs: list[dict[str, np.ndarray]]

    def table(self) -> str:
        """As text, one line a run; a dash stands for what is not known."""
        cells = [list(RunRow._fields)]
        for row in self.rows:
            cells.append([
                value if isinstance(value, str) else "-" if value != value
                else f"{value:.4f}" if isinstance(value, float) else str(value)
                for value in row
            ])  # fmt: skip
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)

    def figure(self) -> Figure:
        """Validation cost over epochs, and R² against truth (validation cost where the truth is not known)."""
        figure = new_figure(11, 4.5, "Runs compared")
        left, right = figure.subplots(1, 2)
        labels = [f"{row.name} {row.params}" for row in self.rows]
        colours = [PALETTE[i % len(PALETTE)] for i in range(len(labels))]
        for columns, label, colour in zip(self.logs, labels, colours, strict=True):
            key = "total_valid" if "total_valid" in columns else "total_train"
            if key in columns:
                left.plot(columns["epoch"], columns[key], color=colour, label=label)
        left.set(xlabel="epoch", ylabel="validation cost (nats/trial)")
        if any(np.isfinite(row.r2_valid) for row in self.rows):
            values, name = [row.r2_valid for row in self.rows], "R² against truth, held-out trials"
        else:
            values, name = [row.total_valid for row in self.rows], "lowest validation cost (nats/trial)"
        right.barh(np.arange(len(labels)), np.nan_to_num(values), color=colours)
        right.set(yticks=np.arange(len(labels)), xlabel=name)
        right.set_yticklabels(labels, fontsize=7)
        right.invert_yaxis()
        return figure


def compare_runs(runs: Sequence[ResultsOfRun]) -> Comparison:
    """Reads what the runs have left; runs without results are listed too, without numbers."""
    rows, logs = [], []
    for run in runs:
        params = getattr(run, "params", None)
        row = RunRow(run.name, "" if params is None else f"param_{params.param_hash}", 0)
        columns: dict[str, np.ndarray] = {}
        try:
            fit = run.load_fit_log()
            columns = fit.columns
            row = _with_costs(row, fit)
            row = row._replace(**_agreement(run))
        except LoadError:
            pass  # not trained or not read out yet
        rows.append(row)
        logs.append(columns)
    return Comparison(rows, logs)


def _with_costs(row: RunRow, fit) -> RunRow:
    columns = fit.columns
    epochs = len(columns.get("epoch", ()))
    if not epochs:
        return row
    best = fit.lowest_validation
    best = epochs - 1 if best is None else best
    names = ("total_train", "total_valid", "recon_valid", "kl_valid")
    values = {name: float(columns[name][best]) for name in names if name in columns}
    return row._replace(epochs=epochs, **values)


def _agreement(run: ResultsOfRun) -> dict[str, float]:
    truth, bits = [], []
    for means in run.load_posterior_means().values():
        held_out = means.is_valid & np.isfinite(means.rates).all(axis=(1, 2))
        if not held_out.any():
            continue
        per_bin = means.rates[held_out] * ((means.bin_ms or 1000.0) / 1000.0)
        if means.truth is not None:
            truth.append(metrics.r2_truth(means.rates[held_out], means.truth[held_out]))
        if means.counts is not None and means.counts.dtype.kind in "iu" and per_bin.shape[2] == means.counts.shape[2]:
            bits.append(metrics.bits_per_spike(per_bin, means.counts[held_out]))
    return {
        "r2_valid": float(np.mean(truth)) if truth else NAN,
        "bits_per_spike_valid": float(np.mean(bits)) if bits else NAN,
    }
