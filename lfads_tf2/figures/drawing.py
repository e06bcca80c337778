"""What the figures share: units, colours of conditions, averages and principal components, files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from lfads_tf2.figures.labels import short
from lfads_tf2.files import atomic_path
from lfads_tf2.metrics.baselines import smoothed

# Okabe and Ito's palette, which colour-blind readers tell apart.
BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#777777",
)  # fmt: skip
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, "#000000", GREY)  # eight: as many as reach targets
SMOOTHING_MS = 30.0
MOST_POINTS = 200_000  # of a density plot; more change nothing that can be seen


class Scale(NamedTuple):
    """Units of time and rate, and where time begins."""

    bin_width_ms: float | None = None
    gaussian: bool = False
    event: str = ""  # what time is counted from; empty: the first bin
    start_ms: float = 0.0  # middle of the first bin, where there is an event

    def times(self, bins: int) -> np.ndarray:
        return self.start_ms + np.arange(bins) * (self.bin_width_ms or 1.0)

    def rates(self, per_bin: np.ndarray) -> np.ndarray:
        """``per_bin`` (any shape) in the unit that ``rate_label`` names."""
        per_bin = np.asarray(per_bin, dtype=np.float64)
        return per_bin if self.gaussian or not self.bin_width_ms else per_bin * (1000.0 / self.bin_width_ms)

    @property
    def time_label(self) -> str:
        unit = "ms" if self.bin_width_ms else "bins"
        return f"time from {short(self.event)} ({unit})" if self.event else f"time ({unit})"

    @property
    def rate_word(self) -> str:
        return "mean" if self.gaussian else "rate"

    @property
    def rate_label(self) -> str:
        return "value" if self.gaussian else "rate (spikes/s)" if self.bin_width_ms else "rate (spikes/bin)"

    def image_extent(self, bins: int, rows: int) -> tuple[float, float, float, float]:
        width = self.bin_width_ms or 1.0
        return self.start_ms - width / 2, self.start_ms + (bins - 0.5) * width, rows - 0.5, -0.5

    def label_time(self, grid: np.ndarray, bins: int) -> None:
        """Says below a grid of panels over time what their axis is, and marks the event in each where it is inside."""
        begin, end, *_ = self.image_extent(bins, 1)
        rim = [withStroke(linewidth=2, foreground="white")]  # so that the line is seen on images too
        for axes in grid[-1]:
            axes.set_xlabel(self.time_label)
        for axes in grid.flat:
            if self.event and begin < 0 < end and axes.axison:
                # Over images, under curves.
                axes.axvline(0, color="black", linewidth=0.8, path_effects=rim, zorder=0.5)


class Conditions(NamedTuple):
    """Conditions of trials, each with its colour."""

    labels: list[str]
    codes: np.ndarray  # N, index into labels
    colours: list

    @classmethod
    def of(cls, values: np.ndarray) -> Conditions:
        """``values``: N numbers or texts."""
        values = np.asarray(values)
        if values.dtype.kind in "OS":
            values = np.array([v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values])
        found, codes = np.unique(values, return_inverse=True)
        few = len(found) <= len(PALETTE)
        colours = list(PALETTE) if few else list(colormaps["viridis"](np.linspace(0, 0.95, len(found))))
        return cls([str(label) for label in found], codes.reshape(-1), colours)

    def legend(self, axes: Axes) -> None:
        """A legend where the conditions are few, else a colour bar."""
        if len(self.labels) <= len(PALETTE):
            for label, colour in zip(self.labels, self.colours, strict=False):
                axes.plot([], [], color=colour, label=f"condition {label}")
            axes.legend(fontsize="small", loc="best", framealpha=0.6)
            return
        last = len(self.labels) - 1
        colours = ScalarMappable(Normalize(0, last / 0.95), "viridis")
        bar = axes.figure.colorbar(colours, ax=axes, ticks=[0, last // 2, last], boundaries=np.arange(last + 2) - 0.5)
        bar.ax.set_yticklabels([self.labels[i] for i in (0, last // 2, last)])
        bar.set_label("condition")


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Write a figure as PNG, atomically. Raises FileNotFoundError when the folder does not exist."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def pixels(figure: Figure) -> np.ndarray:
    """The drawn figure, height x width x 3 bytes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def new_figure(width: float, height: float, title: str) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=13)
    return figure


def spread_out(count: int, most: int) -> np.ndarray:
    """At most ``most`` indices, evenly spread, so that trials sorted by condition are not all of one."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def most_modulated(values: np.ndarray, most: int) -> np.ndarray:
    """Indices of the last axis with the largest variance, in order."""
    return np.sort(np.argsort(-values.reshape(-1, values.shape[-1]).var(axis=0), kind="stable")[:most])


def marker(points: int) -> dict:
    """A line of one point shows only as a marker."""
    return {"marker": "o", "markersize": 4} if points < 3 else {}


def principal_components(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores (rows x count) and explained variance fractions (count) of rows x columns; zeros beyond the columns."""
    centred = np.asarray(values, dtype=np.float64) - np.mean(values, axis=0)
    variances, vectors = np.linalg.eigh(centred.T @ centred)
    total = variances.sum()
    scores, explained = np.zeros((len(centred), count)), np.zeros(count)
    kept = min(count, centred.shape[1])
    scores[:, :kept] = centred @ vectors[:, ::-1][:, :kept]
    explained[:kept] = variances[::-1][:kept] / total if total > 0 else 0.0
    return scores, explained


def condition_means(values: np.ndarray, conditions: Conditions) -> np.ndarray:
    """Trial averages, conditions x the other axes of ``values`` (trials first), NaN where no trial was observed."""
    seen, means = ~np.isnan(values), []
    for code in range(len(conditions.labels)):
        own = conditions.codes == code
        number = seen[own].sum(axis=0)
        total = np.sum(values[own], axis=0, where=seen[own], dtype=np.float64)
        means.append(np.where(number > 0, total / np.maximum(number, 1), np.nan))
    return np.stack(means)


def smooth(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Gaussian smoothing along axis 1 (bins), s.d. 30 ms or one bin, renormalised at edges and around gaps (NaN)."""
    sd, seen = SMOOTHING_MS / scale.bin_width_ms if scale.bin_width_ms else 1.0, ~np.isnan(values)
    if seen.all():
        return smoothed(values, sd)
    share = smoothed(seen.astype(np.float64), sd)
    return np.where(seen, smoothed(np.where(seen, values, 0.0), sd) / np.maximum(share, np.finfo(float).tiny), np.nan)


def label_rows(axes: Axes, names: Sequence[str]) -> None:
    """Says beside an image what some of its rows are."""
    axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.yaxis.set_major_formatter(lambda row, _: names[round(row)] if 0 <= row <= len(names) - 1 else "")


def density(axes: Axes, x: np.ndarray, y: np.ndarray, scale: Scale) -> None:
    """Density of points, given in counts a bin, with the line of equality; pairs with NaN are left out."""
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = x[known], y[known]
    step = max(1, x.size // MOST_POINTS)
    x, y = scale.rates(x[::step]), scale.rates(y[::step])
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    high = max(high, low + 1e-9)
    image = axes.hexbin(x, y, gridsize=60, bins="log", mincnt=1, extent=(low, high, low, high), cmap="viridis")
    axes.figure.colorbar(image, ax=axes, label="entries", shrink=0.5)
    axes.plot([low, high], [low, high], color=VERMILLION, linestyle="--", linewidth=1.2, label="equality")
    axes.set_aspect("equal")
    axes.legend(loc="lower right", fontsize="small")
