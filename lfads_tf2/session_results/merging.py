"""Windows back on one clock: where each lies, and the weighted mean of those that share bins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from lfads_tf2.session_results.errors import ResultsError

# Windows whose starts differ from whole bins by less than this share of a bin lie on one grid.
GRID_TOLERANCE = 1e-3


class MergeError(ResultsError):
    """Windows that cannot be merged; the message says which and why."""


class Stretch(NamedTuple):
    """A part of the recording that windows cover without a gap."""

    start_s: float  # left edge of its first bin on the session's clock
    bins: int
    windows: np.ndarray  # numbers of the windows in it, by their starts
    offsets: np.ndarray  # first bin of each window, counted from the stretch's first
    shift_bins: float  # how far the window farthest from whole bins was moved, below 0.5

    def centres_s(self, bin_ms: float) -> np.ndarray:
        """The middle of each bin in seconds on the session's clock."""
        return self.start_s + (np.arange(self.bins) + 0.5) * (bin_ms / 1000.0)


def stretches(starts_s: np.ndarray, bins: int | np.ndarray, bin_ms: float) -> list[Stretch]:
    """Sorts windows by their starts into stretches: those that overlap, or follow each other bin by bin, share one.

    Overlapping windows whose bins do not coincide are moved to the nearest bin of the stretch.

    Args:
        starts_s: left edge of each window's first bin, seconds on the session's clock.
        bins: of every window, or of each.
        bin_ms: bin width.

    Raises:
        MergeError: a start is not finite, or the bin width not above 0.
    """
    starts_s = np.asarray(starts_s, np.float64)
    if not bin_ms > 0 or not np.isfinite(starts_s).all():
        raise MergeError(f"starts_s must be finite and bin_ms above 0, got bin_ms={bin_ms} and {starts_s}")
    bins = np.broadcast_to(bins, len(starts_s))
    width, found = bin_ms / 1000.0, []
    members: list[tuple[int, int]] = []
    origin = shift = 0.0
    end = 0  # first bin of the stretch that none of its windows holds

    def close() -> None:
        if members:
            windows, offsets = np.array(members).T
            found.append(Stretch(origin, end, windows, offsets, shift))

    for window in np.argsort(starts_s, kind="stable"):
        exact = (starts_s[window] - origin) / width
        offset = round(exact)
        follows = offset == end and abs(exact - offset) < GRID_TOLERANCE
        if not members or not (offset < end or follows):
            close()
            members, origin, shift, exact, offset, end = [], float(starts_s[window]), 0.0, 0.0, 0, 0
        members.append((int(window), offset))
        end = max(end, offset + int(bins[window]))
        shift = max(shift, abs(exact - offset))
    close()
    return found


def merge_windows(
    windows: Iterable[np.ndarray],
    offsets: Sequence[int],
    length: int | None = None,
    own_bins: Sequence[int] | None = None,
) -> np.ndarray:
    """Overlapping windows as one recording: in each bin the weighted mean of the windows that hold it.

    A window's weights rise evenly from its edges to its middle, where a model knows most of what came before and
    after, and are divided by their sum in each bin. So any overlap will do, and a window that stands alone, the last
    one included, comes out as it is.

    Args:
        windows: arrays bins x channels (or bins), all of one length; taken one after the other, so that they need not
            be in memory together.
        offsets: first bin of each window, rising.
        length: bins of the result; None: up to the end of the last window.
        own_bins: of each window, counted from its first; what follows pads a shorter window to the shape of all and is
            left out. None: all.

    Returns:
        length x channels in the windows' type (float64 for whole numbers); NaN in bins that no window holds.

    Raises:
        MergeError: offsets fall, are negative or reach beyond ``length``, windows differ in shape or number, or
            ``own_bins`` do not fit them.
    """
    offsets = np.asarray(offsets, np.int64)
    if offsets.ndim != 1 or not len(offsets) or offsets[0] < 0 or (np.diff(offsets) < 0).any():
        raise MergeError("offsets must be one whole number of at least 0 for each window, and rise")
    found, flushed, count = None, 0, 0
    for count, window in enumerate(map(np.asarray, windows), start=1):
        if found is None and window.size:
            bins, shape = len(window), window.shape
            own_bins = _checked_bins(own_bins, len(offsets), bins)
            end = int((offsets + own_bins).max())
            length = end if length is None else length
            if end > length:
                raise MergeError(f"the last window ends at bin {end}, beyond length={length}")
            found = np.full((length, *shape[1:]), np.nan, np.result_type(window.dtype, np.float32))
            # Sums of the bins from ``flushed`` on; those before have no window to come.
            total, weight = np.zeros(shape), np.zeros((bins, *(1,) * (window.ndim - 1)))
        if found is None or count > len(offsets) or window.shape != shape:
            raise MergeError(f"window {count} has shape {window.shape}; all need one shape, and an offset each")
        offset, own = int(offsets[count - 1]), int(own_bins[count - 1])
        done = min(offset - flushed, bins)
        _put(found, flushed, total[:done], weight[:done])
        total, weight = (np.concatenate([sums[done:], np.zeros((done, *sums.shape[1:]))]) for sums in (total, weight))
        flushed = offset
        rising = np.minimum(np.arange(1.0, own + 1), np.arange(own, 0.0, -1))
        weights = rising.reshape(-1, *weight.shape[1:])
        total[:own] += weights * window[:own]
        weight[:own] += weights
    if count != len(offsets):
        raise MergeError(f"each of the {len(offsets)} offsets needs a window, got {count} windows")
    _put(found, flushed, total, weight)
    return found


def _checked_bins(own_bins: Sequence[int] | None, count: int, bins: int) -> np.ndarray:
    if own_bins is None:
        return np.full(count, bins)
    own_bins = np.asarray(own_bins)
    if (
        own_bins.shape != (count,)
        or own_bins.dtype.kind not in "iu"
        or not (0 <= own_bins.min() <= own_bins.max() <= bins)
    ):
        raise MergeError(f"own_bins must be one whole number from 0 to {bins} for each window, got {own_bins}")
    return own_bins.astype(np.int64)


def _put(found: np.ndarray, start: int, total: np.ndarray, weight: np.ndarray) -> None:
    held = np.flatnonzero(weight)
    found[start + held] = total[held] / weight[held]
