"""Figures of what lies behind the rates: factors, inferred inputs, initial conditions. Part of plots.py's set."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from lfads_tf2.figures.drawing import (
    BLUE,
    GREY,
    PALETTE,
    SKY,
    Conditions,
    Scale,
    condition_means,
    label_rows,
    marker,
    new_figure,
    principal_components,
    spread_out,
)
from lfads_tf2.figures.labels import BY_POSITION, Names


def factors_figure(
    factors: np.ndarray, scale: Scale, conditions: np.ndarray | None = None, names: Names = BY_POSITION
) -> Figure:
    """Factors of three trials over time, and all trials in the factors' top three principal components.

    factors: trials x bins x factors; conditions: trials.
    """
    trials, bins, count = factors.shape
    chosen, times = spread_out(trials, 3), scale.times(bins)
    by = Conditions.of(conditions if conditions is not None else np.zeros(trials, int))
    scores, explained = principal_components(factors.reshape(-1, count), 3)
    scores = scores.reshape(trials, bins, 3)
    means = condition_means(scores, by)
    drawn = spread_out(len(by.labels), 8)
    which = f"{len(drawn)} of {len(by.labels)} conditions" if len(drawn) < len(by.labels) else "condition means"
    figure = new_figure(14, 11, "Factors")
    grid = figure.subplots(3, 3)
    for column, trial in enumerate(chosen):
        lines = grid[0, column].plot(times, factors[trial], linewidth=1.2, **marker(bins))
        for line, colour in zip(lines, colormaps["viridis"](np.linspace(0, 0.95, count)), strict=True):
            line.set_color(colour)
        grid[0, column].set(title=f"{names.trial(trial)}: all {count} factors", ylabel="factor")
    for axes in grid[0, len(chosen) :]:
        axes.set_axis_off()
    for column in range(3):
        axes = grid[1, column]
        for code in drawn:
            axes.plot(times, means[code, :, column], color=by.colours[code], linewidth=1.4, **marker(bins))
        share = f"{100 * explained[column]:.0f} % of the factors' variance"
        axes.set(title=f"PC{column + 1}, {share}", ylabel=f"PC{column + 1}, {which}")
    for row in (grid[:1], grid[1:2]):
        scale.label_time(row, bins)
    for axes, (x, y) in zip(grid[2], ((0, 1), (0, 2), (1, 2)), strict=True):
        for trial in spread_out(trials, 100):
            path = scores[trial]
            axes.plot(path[:, x], path[:, y], color=by.colours[by.codes[trial]], linewidth=0.4, alpha=0.35)
        for code in drawn:
            path, colour = means[code], by.colours[code]
            axes.plot(path[:, x], path[:, y], color=colour, linewidth=1.8)
            axes.plot(path[:1, x], path[:1, y], "o", color=colour, markersize=6, markeredgecolor="black", zorder=5)
        axes.set_title(f"thin: trials, thick: {which}, dot: start", fontsize=10)
        axes.set(xlabel=f"PC{x + 1}", ylabel=f"PC{y + 1}")
    if conditions is not None:
        by.legend(grid[2, 2])
    return figure


def inputs_figure(
    inputs: np.ndarray, scale: Scale, conditions: np.ndarray | None = None, posterior_sd: np.ndarray | None = None,
    names: Names = BY_POSITION,
) -> Figure:  # fmt: skip
    """Inferred inputs: mean and spread over trials, single trials, and all trials as an image.

    inputs, posterior_sd: trials x bins x inputs; conditions: trials.
    """
    trials, bins, count = inputs.shape
    times, shown = scale.times(bins), min(count, 8)
    order = np.arange(trials) if conditions is None else np.argsort(Conditions.of(conditions).codes, kind="stable")
    order = order[spread_out(trials, 200)]
    title = "Inferred inputs" + (f": the first {shown} of {count}" if shown < count else "")
    figure = new_figure(14, 2.5 * shown + 1, title)
    grid = figure.subplots(shown, 3, squeeze=False)
    for number in range(shown):
        values = inputs[:, :, number].astype(np.float64)
        mean, sd = values.mean(axis=0), values.std(axis=0)
        spread, single, image_axes = grid[number]
        spread.fill_between(times, mean - sd, mean + sd, color=SKY, alpha=0.4, label="± s.d. over trials")
        spread.plot(times, mean, color=BLUE, label="mean over trials", **marker(bins))
        spread.set_ylabel(f"input {number}")
        for colour, trial in zip(PALETTE, spread_out(trials, 5), strict=False):
            single.plot(times, values[trial], color=colour, linewidth=1, label=names.trial(trial), **marker(bins))
            if posterior_sd is not None:
                low, high = (values[trial] + sign * posterior_sd[trial, :, number] for sign in (-1, 1))
                single.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0)
        limit = max(np.percentile(np.abs(values), 99), 1e-9)
        image = image_axes.imshow(
            values[order], aspect="auto", interpolation="nearest", extent=scale.image_extent(bins, len(order)),
            cmap="RdBu_r", vmin=-limit, vmax=limit,
        )  # fmt: skip
        label_rows(image_axes, [names.number(trial) for trial in order])
        image_axes.set_ylabel("trials" if conditions is None else "trials, by condition")
        figure.colorbar(image, ax=image_axes, label=f"input {number}")
    grid[0, 0].set_title("mean and spread")
    grid[0, 1].set_title("single trials" + (" ± posterior s.d." if posterior_sd is not None else ""))
    grid[0, 2].set_title("every trial" if len(order) == trials else f"{len(order)} of {trials} trials")
    for axes in grid[0, :2]:
        axes.legend(fontsize="x-small", loc="best", framealpha=0.6)
    scale.label_time(grid, bins)
    return figure


def initial_conditions_figure(halves: dict[str, tuple[np.ndarray, np.ndarray | None]], name: str) -> Figure:
    """Initial conditions of all trials in their first two principal components, coloured by condition.

    Args:
        halves: for ``train`` and ``valid`` (or one of them) trials x dimensions, and the trials' conditions or None.
        name: what the dimensions are, for the title.
    """
    scores, explained = principal_components(np.concatenate([ics for ics, _ in halves.values()]), 2)
    known = all(conditions is not None for _, conditions in halves.values())
    by = Conditions.of(
        np.concatenate([conditions if known else np.zeros(len(ics), int) for ics, conditions in halves.values()])
    )
    colours = np.array([by.colours[code] for code in by.codes])
    figure = new_figure(8, 6.5, f"Initial conditions ({name})")
    axes, start = figure.subplots(), 0
    shapes = {"train": {"marker": "o", "alpha": 0.5, "linewidths": 0}}
    for half, (ics, _) in halves.items():
        rows = slice(start, start := start + len(ics))
        look = shapes.get(half, {"marker": "^", "edgecolors": "black", "linewidths": 0.6})
        axes.scatter(scores[rows, 0], scores[rows, 1], s=26, c=colours[rows], **look)
        label = f"{half} ({len(ics)} trials)"
        axes.scatter([], [], color=GREY, marker=look["marker"], label=label)
    if known:
        by.legend(axes)
    axes.legend(loc="best", fontsize="small", framealpha=0.6)
    x_label, y_label = (f"PC{n + 1} ({100 * share:.0f} % of variance)" for n, share in enumerate(explained))
    axes.set(xlabel=x_label, ylabel=y_label)
    return figure
