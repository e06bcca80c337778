"""Every figure, from plain NumPy arrays to a matplotlib Figure. No global state: safe in threads and without a display.

Arrays are trial-major. Rates come in expected spikes a bin (Gaussian: in the data's unit) and are drawn in spikes/s
when the bin width is known. All functions cope with a single trial, bin, channel or condition.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lfads_tf2.figures.drawing import (
    BLUE,
    GREY,
    PALETTE,
    VERMILLION,
    Conditions,
    Scale,
    condition_means,
    density,
    label_rows,
    marker,
    most_modulated,
    new_figure,
    save,
    smooth,
    spread_out,
)
from lfads_tf2.figures.fit import fit_figure
from lfads_tf2.figures.labels import BY_POSITION, Names
from lfads_tf2.figures.latents import factors_figure, initial_conditions_figure, inputs_figure
from lfads_tf2.metrics.rates import mean_channel_correlation, r2_truth

__all__ = [
    "Scale", "factors_figure", "fit_figure", "initial_conditions_figure", "inputs_figure", "psth_figure", "save",
    "traces_figure", "trials_figure", "truth_figure",
]  # fmt: skip


def trials_figure(
    counts: np.ndarray, rates: np.ndarray, scale: Scale, truth: np.ndarray | None = None, names: Names = BY_POSITION
) -> Figure:
    """Images of three trials: what was recorded, inferred rates, true rates. All trials x bins x channels."""
    chosen = spread_out(len(counts), 3)
    bins, channels = counts.shape[1:]
    rate_images = [(f"inferred {scale.rate_word}s", rates)] + (
        [(f"true {scale.rate_word}s", truth)] if truth is not None else []
    )
    shown = np.concatenate([scale.rates(values[chosen]).ravel() for _, values in rate_images])
    low = np.percentile(shown, 0.5) if scale.gaussian else 0.0
    rate_range = {"vmin": low, "vmax": max(np.percentile(shown, 99.5), low + 1e-9), "cmap": "viridis"}
    count_range = {"vmin": 0, "vmax": max(1.0, float(np.nanpercentile(counts[chosen], 99.9))), "cmap": "Greys"}
    columns = [("recorded values" if scale.gaussian else "recorded spikes", counts), *rate_images]
    figure = new_figure(4.2 * len(columns) + 1, 2.4 * len(chosen) + 0.9, "Single trials: recorded and inferred")
    grid = figure.subplots(len(chosen), len(columns), squeeze=False, sharex=True, sharey=True)
    for row, trial in enumerate(chosen):
        for column, (name, values) in enumerate(columns):
            axes, is_count = grid[row, column], column == 0 and not scale.gaussian
            image = axes.imshow(
                values[trial].T if is_count else scale.rates(values[trial].T),
                aspect="auto", interpolation="nearest", extent=scale.image_extent(bins, channels),
                **(count_range if is_count else rate_range),
            )  # fmt: skip
            axes.set_title(f"{names.trial(trial)}: {name}" if column == 0 else name, fontsize=10)
            if column == 0 and is_count:
                figure.colorbar(image, ax=axes, label="spikes/bin", ticks=MaxNLocator(4, integer=True))
        figure.colorbar(image, ax=grid[row, -1], label=scale.rate_label)
        grid[row, 0].set_ylabel("channel" if names.units is None else "unit")
    label_rows(grid[0, 0], names.beside_channels(channels))
    scale.label_time(grid, bins)
    return figure


def traces_figure(
    counts: np.ndarray, rates: np.ndarray, scale: Scale, truth: np.ndarray | None = None, names: Names = BY_POSITION
) -> Figure:
    """Three trials of the four channels whose inferred rates change most. All trials x bins x channels."""
    chosen = spread_out(len(counts), 3)
    channels = most_modulated(rates[chosen], 4)
    times, look = scale.times(counts.shape[1]), marker(counts.shape[1])
    figure = new_figure(4.2 * len(chosen) + 1, 1.7 * len(channels) + 1.2, "Single channels of single trials")
    grid = figure.subplots(len(channels), len(chosen), squeeze=False, sharex=True, sharey="row")
    for row, channel in enumerate(channels):
        curves = [scale.rates(rates[chosen, :, channel])]
        curves += [scale.rates(truth[chosen, :, channel])] if truth is not None else []
        top = max(np.max(curves), 1e-9)
        for column, trial in enumerate(chosen):
            axes, observed = grid[row, column], counts[trial, :, channel]
            if scale.gaussian:
                axes.plot(times, observed, ".", color=GREY, markersize=3, label="recorded value")
            else:
                # Under the curves, longer where a bin holds several spikes; on the curves' own axis they would
                # dwarf them (one spike in 10 ms is 100 spikes/s).
                most = np.nanmax(counts[chosen, :, channel], initial=1)
                height = 0.22 * top * np.nan_to_num(observed) / most
                axes.vlines(times, -0.28 * top, -0.28 * top + height, color="black", linewidth=1.2, label="spikes")
                axes.set_ylim(-0.32 * top, 1.08 * top)
            if truth is not None:
                axes.plot(
                    times,
                    curves[1][column],
                    color=VERMILLION,
                    linewidth=3,
                    alpha=0.5,
                    label=f"true {scale.rate_word}",
                    **look,
                )
            axes.plot(times, curves[0][column], color=BLUE, label=f"inferred {scale.rate_word}", **look)
            if row == 0:
                axes.set_title(names.trial(trial), fontsize=10)
        if not scale.gaussian:
            grid[row, 0].set_yticks([tick for tick in grid[row, 0].get_yticks() if 0 <= tick <= top])
        grid[row, 0].set_ylabel(f"{names.channel(channel)}\n{scale.rate_label}", fontsize=9)
    scale.label_time(grid, counts.shape[1])
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def psth_figure(
    counts: np.ndarray, rates: np.ndarray, conditions: np.ndarray, scale: Scale, names: Names = BY_POSITION
) -> Figure:
    """Trial averages by condition: smoothed spikes against inferred rates, six channels, and all as a density.

    counts, rates: trials x bins x channels; conditions: trials.
    """
    by = Conditions.of(conditions)
    recorded = scale.rates(smooth(condition_means(counts, by), scale))
    inferred = scale.rates(condition_means(rates, by))
    shown = spread_out(len(by.labels), 4)
    times, look = scale.times(counts.shape[1]), marker(counts.shape[1])
    figure = new_figure(15, 6.4, "Trial averages by condition: smoothed recording (thin), inferred (thick)")
    left, right = figure.subfigures(1, 2, width_ratios=[2.3, 1])
    grid = left.subplots(2, 3, sharex=True)
    channels = most_modulated(inferred, grid.size)
    for axes, channel in zip(grid.flat, channels, strict=False):
        for colour, condition in zip(PALETTE, shown, strict=False):
            axes.plot(times, recorded[condition, :, channel], color=colour, linewidth=0.9, **look)
            label = f"condition {by.labels[condition]}"
            curve = inferred[condition, :, channel]
            axes.plot(times, curve, color=colour, linewidth=2.4, alpha=0.75, label=label, **look)
        axes.set_title(names.channel(channel), fontsize=10)
        if not scale.gaussian:
            axes.set_ylim(bottom=0)
    for axes in grid.flat[len(channels) :]:
        axes.set_axis_off()
    scale.label_time(grid, counts.shape[1])
    for axes in grid[:, 0]:
        axes.set_ylabel(scale.rate_label)
    left.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    axes = right.subplots()
    density(axes, recorded, inferred, Scale(gaussian=True))  # in their unit already
    axes.set(xlabel=f"smoothed recording, {scale.rate_label}", ylabel=f"inferred, {scale.rate_label}")
    match = mean_channel_correlation(inferred, recorded)
    words = "" if np.isnan(match) else f"\nmean correlation of a channel {match:.3f}"
    axes.set_title(f"all {len(by.labels)} conditions, channels and bins{words}")
    return figure


def truth_figure(rates: np.ndarray, truth: np.ndarray, scale: Scale) -> Figure:
    """Inferred against true rates, all entries, with R²; and R² of each channel. trials x bins x channels."""
    r2 = r2_truth(rates, truth)
    words = "no R², since the truth never changes" if np.isnan(r2) else f"R² = {r2:.3f}"
    figure = new_figure(12, 6, f"Inferred and true {scale.rate_word}s: {words}")
    left, right = figure.subplots(1, 2)
    density(left, truth, rates, scale)
    left.set(
        xlabel=f"true {scale.rate_label}", ylabel=f"inferred {scale.rate_label}", title="all trials, bins, channels"
    )
    scores = [r2_truth(rates[..., c : c + 1], truth[..., c : c + 1]) for c in range(rates.shape[2])]
    right.bar(np.arange(len(scores)), scores, color=BLUE)
    # A channel that is far worse than constant rates must not hide the others.
    right.set_ylim(max(-0.5, min(0.0, np.nanmin([*scores, 0.0]))), 1)
    right.axhline(0, color="black", linewidth=0.8)
    right.set(xlabel="channel", ylabel="R²", title="each channel (1 is perfect, 0 is as good as a constant rate)")
    return figure
