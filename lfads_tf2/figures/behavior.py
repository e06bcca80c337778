"""Behaviour that was decoded from inferred rates, beside that from the smoothed recording: a table and a figure."""

from __future__ import annotations

import html

import numpy as np
from matplotlib.figure import Figure

from lfads_tf2.figures.drawing import BLUE, ORANGE, Scale, marker, new_figure, spread_out
from lfads_tf2.figures.labels import BY_POSITION, Names
from lfads_tf2.metrics.decoding import FOLDS, LAGS, Decoding

MOST_DIMENSIONS, MOST_TRIALS = 4, 4


def behavior_figure(decoding: Decoding, scale: Scale, names: Names = BY_POSITION) -> Figure:
    """Behaviour as recorded and as decoded both ways, the first four dimensions in four validation trials."""
    chosen = spread_out(len(decoding.trials), MOST_TRIALS)
    known = np.flatnonzero(~np.isnan(decoding.from_rates.r2))
    shown, bins = known[:MOST_DIMENSIONS], decoding.behavior.shape[1]
    times, look = scale.times(bins), marker(bins)
    more = f": the first {len(shown)} of {len(known)} dimensions" if len(known) > len(shown) else ""
    figure = new_figure(3.4 * len(chosen) + 1.4, 1.9 * len(shown) + 1.3, f"Behaviour, recorded and decoded{more}")
    grid = figure.subplots(len(shown), len(chosen), squeeze=False, sharex=True, sharey="row")
    curves = (
        ("recorded", decoding.behavior, {"color": "black", "linewidth": 3, "alpha": 0.35}),
        ("from the smoothed recording", decoding.from_smoothed.values, {"color": ORANGE, "linewidth": 1.5}),
        ("from inferred rates", decoding.from_rates.values, {"color": BLUE, "linewidth": 1.8}),
    )
    for row, dimension in enumerate(shown):
        for column, trial in enumerate(chosen):
            for label, values, style in curves:
                grid[row, column].plot(times, values[trial, :, dimension], label=label, **style, **look)
        grid[row, 0].set_ylabel(decoding.names[dimension], fontsize=10)
    for axes, trial in zip(grid[0], chosen, strict=True):
        axes.set_title(names.trial(decoding.trials[trial]), fontsize=10)
    scale.label_time(grid, bins)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def behavior_table(decoding: Decoding, scale: Scale) -> str:
    """HTML: R² of each dimension both ways, and how it was worked out."""
    rows = [
        "<tr><th>R² of behaviour</th><th>from inferred rates</th><th>from the smoothed recording</th>"
        "<th>smoothing (standard deviation)</th></tr>"
    ]
    columns = (decoding.names, decoding.from_rates.r2, decoding.from_smoothed.r2, decoding.from_smoothed.widths)
    for name, rates, simple, width in zip(*columns, strict=True):
        length = f"{width * scale.bin_width_ms:g} ms" if scale.bin_width_ms else f"{width:g} bins"
        cells = (_number(rates), _number(simple), "–" if np.isnan(simple) else length)
        rows.append(f"<tr><th>{html.escape(name)}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    trials = [
        f"{used} {half} trials" if used == known else f"{used} of {known} {half} trials, which are enough,"
        for half, used, known in zip(("training", "validation"), decoding.used, decoding.known, strict=True)
    ]
    return (
        "<table>" + "\n".join(rows) + f"</table>\n<p>Ridge regression from all channels in a bin and the {LAGS - 1} "
        f"bins before it, fitted on {trials[0]} and scored on {trials[1]}. Penalty and width of the smoothing: "
        f"the best in {FOLDS}-fold cross-validation over the training trials, for each dimension.</p>"
    )


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"
