"""One line on the screen that tells how far something is: drawn over itself on a terminal, now and then elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import time

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

SECONDS_BETWEEN_DRAWINGS = 0.2
# Where standard error is not a terminal, a line now and then is enough.
SECONDS_BETWEEN_LINES = 30.0
USUAL_WIDTH = 80
GAP = "  "


def duration(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def fitted(parts: list[tuple[int, str]], width: int) -> str:
    """The parts of a line that fit into ``width`` columns, in their order.

    Args:
        parts: importance (the least goes first) and text of each; an empty text is no part.
        width: the most important part stays even where this is too little.
    """
    parts = [part for part in parts if part[1]]
    while len(parts) > 1 and len(GAP.join(text for _, text in parts)) > width:
        parts.remove(min(parts, key=lambda part: part[0]))
    return GAP.join(text for _, text in parts)


class StatusLine:
    """The line. A screen that has gone (closed, or a full disk behind it) is done without: nothing here raises.

    Args:
        show: False draws nothing.
    """

    def __init__(self, show: bool = True):
        self._stream, self._bar, self._drawn_at, self._pending = sys.stderr, None, -float("inf"), None
        self._messages = contextlib.ExitStack()
        self.shown = show and self._stream is not None
        if self.shown:
            self._try(self._open)

    def update(self, parts: list[tuple[int, str]]) -> None:
        """Draws the line, unless it was drawn a moment ago; ``parts`` as ``fitted`` takes them."""
        self._pending = parts
        wait = SECONDS_BETWEEN_LINES if self._bar is None else SECONDS_BETWEEN_DRAWINGS
        if self.shown and time.monotonic() - self._drawn_at >= wait:
            self._try(self._draw)

    def close(self) -> None:
        """Draws what has not been drawn yet and goes to a new line."""
        if self.shown and self._pending is not None:
            self._try(self._draw)
        if self._bar is not None:
            self._try(self._bar.close)
        self._try(self._messages.close)
        self.shown = False

    def _open(self) -> None:
        if self._stream.isatty():
            self._bar = tqdm(bar_format="{desc}", file=self._stream)
            # Messages go above the line.
            self._messages.enter_context(logging_redirect_tqdm())

    def _draw(self) -> None:
        self._drawn_at, parts, self._pending = time.monotonic(), self._pending, None
        if self._bar is None:
            print(fitted(parts, 2 * USUAL_WIDTH), file=self._stream, flush=True)
        else:
            # The last column stays free: some terminals go to the next line after it.
            self._bar.set_description_str(fitted(parts, self._width() - 1))

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or USUAL_WIDTH
        except OSError:
            return USUAL_WIDTH

    def _try(self, action) -> None:
        try:
            action()
        except (OSError, ValueError):
            self.shown = False


class CountLine:
    """A line that counts: ``line(done, total)`` after each part of some work.

    Args:
        what: the work, in a word or two, and on what.
        unit: of what is counted, in the plural.
    """

    def __init__(self, what: str, unit: str):
        self._what, self._unit, self._line, self._first = what, unit, StatusLine(), None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        left = ""
        # The first part is no measure: in it the program is compiled.
        if self._first is None:
            self._first = (done, now)
        elif done < total:
            before, then = self._first
            left = f"about {duration((now - then) / (done - before) * (total - done))} left"
        count = f"{done}/{total} {self._unit}"
        self._line.update([(1, self._what), (2, count), (3, f"{100 * done / total:.0f} %"), (4, left)])

    def close(self) -> None:
        """Goes to a new line."""
        self._line.close()
