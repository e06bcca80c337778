"""Ctrl-C during a search."""

from __future__ import annotations

import signal
import threading

from lfads_tf2.autolfads.population import Done, Population, Watcher


class Interruption(Watcher):
    """Ends a search by KeyboardInterrupt at once, or else when the next worker is done.

    Python drops an exception that a signal raises within a destructor or a library's callback; the search would go on.
    """

    def __init__(self):
        self.asked, self._previous = False, None
        # Only the main thread is told of signals.
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._ask)

    def _ask(self, *_) -> None:
        self.asked = True
        raise KeyboardInterrupt

    def worker_done(self, population: Population, done: Done, left: int) -> None:
        if self.asked:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Gives Ctrl-C back."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
