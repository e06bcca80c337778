"""How well each session reconstructs the common components, as a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lfads_tf2.figures.drawing import PALETTE, marker, new_figure, spread_out
from lfads_tf2.run_manager.preparation.alignment import Alignment

MOST_SHOWN = 5


def alignment_figure(
    alignment: Alignment, names: Sequence[str], conditions: Sequence[object], bin_ms: float | None = None
) -> Figure:
    """Conditions x factors: the global components in black, each session's reconstruction in colour.

    The top row says how much of each component each session reconstructs.

    Args:
        alignment: of :func:`lfads_tf2.run_manager.preparation.alignment.align`.
        names: of the sessions.
        conditions: their labels, in order.
        bin_ms: bin width; without it time is in bins.
    """
    used = np.flatnonzero(np.nanstd(alignment.global_pcs, axis=(0, 1)) > 0)[:MOST_SHOWN]
    whole = np.flatnonzero(np.isfinite(alignment.global_pcs[:, :, 0]).all(axis=1))
    rows = whole[spread_out(len(whole), MOST_SHOWN)] if len(whole) else whole
    figure = new_figure(2.6 * max(len(used), 1) + 1.5, 1.5 * len(rows) + 3.0, "Alignment of the sessions")
    grid = figure.subplots(len(rows) + 1, max(len(used), 1), squeeze=False)
    scores = alignment.r2()
    time = np.arange(alignment.global_pcs.shape[1]) * (bin_ms or 1.0)
    for column, factor in enumerate(used):
        top = grid[0, column]
        top.bar(np.arange(len(names)), np.clip(scores[:, factor], 0, 1), color=[_colour(i) for i in range(len(names))])
        top.set(ylim=(0, 1), xticks=[], title=f"component {factor + 1}")
        for axes, condition in zip(grid[1:, column], rows, strict=True):
            look = marker(len(time))
            axes.plot(time, alignment.global_pcs[condition, :, factor], color="black", linewidth=2, **look)
            for index, own in enumerate(alignment.reconstructions):
                axes.plot(time, own[condition, :, factor], color=_colour(index), linewidth=1, **look)
            axes.sharex(grid[1, 0])
            if column == 0:
                axes.set_ylabel(f"condition\n{conditions[condition]}")
        if len(rows):
            grid[-1, column].set_xlabel("time (ms)" if bin_ms else "time (bins)")
    grid[0, 0].set_ylabel("R² of the\nreconstruction")
    lines = [grid[0, 0].plot([], [], color="black", linewidth=2, label="all sessions together")[0]]
    lines += [grid[0, 0].plot([], [], color=_colour(i), label=name)[0] for i, name in enumerate(names)]
    figure.legend(handles=lines[:12], loc="outside lower center", ncols=4)
    return figure


def _colour(index: int) -> str:
    colours = [colour for colour in PALETTE if colour != "#000000"]
    return colours[index % len(colours)]
