"""A table of all runs, their states and where they are."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from lfads_tf2.run_manager.queue import commands, stages
from lfads_tf2.run_manager.queue.stages import FAILED, RUNNING, Outcome
from lfads_tf2.training.fit_log import parse_line

SECONDS_BETWEEN = 2.0


class ProgressTable:
    """Prints the table; in place on a terminal, elsewhere a line for each run whose state has changed.

    Args:
        folders: of all runs. show: print at all.
    """

    def __init__(self, folders: list[Path], show: bool = True):
        self.folders, self.show = folders, show
        self._terminal = show and sys.stderr.isatty()
        self._next, self._lines, self._said = 0.0, 0, {}

    def update(self) -> None:
        """Prints what is new, not more often than every other second."""
        if not self.show or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SECONDS_BETWEEN
        rows = [run_row(folder) for folder in self.folders]
        if self._terminal:
            text = format_table(rows)
            back = f"\033[{self._lines}A\033[J" if self._lines else ""
            print(back + text, file=sys.stderr, flush=True)
            self._lines = text.count("\n") + 1
            return
        for folder, row in zip(self.folders, rows, strict=True):
            # Epochs alone are no news in a log file.
            news = (row["state"], row["stage"])
            if self._said.get(folder) != news:
                self._said[folder] = news
                print(f"{row['run']}: {row['state']} {row['stage']}".rstrip(), file=sys.stderr, flush=True)

    def close(self, outcomes: dict[Path, Outcome]) -> None:
        """Prints the table once more, the tally, and what failed."""
        if not self.show:
            return
        self._next = 0.0
        self.update()
        states = [outcome.state for outcome in outcomes.values()]
        print(", ".join(f"{states.count(s)} {s}" for s in sorted(set(states))), file=sys.stderr)
        for folder, outcome in outcomes.items():
            if outcome.state == FAILED:
                print(f"\n{run_row(folder)['run']} failed: {outcome.message}", file=sys.stderr, flush=True)


def run_row(folder: Path) -> dict[str, str]:
    """Run, state, stage and the last line of the fit log in words."""
    status = stages.read_status(folder)
    state = stages.DONE if stages.is_done(folder) else status.get("state", stages.PENDING)
    try:
        hash_name = commands.read_commands(folder)["param_hash"]
    except (commands.CommandsError, KeyError):
        hash_name = "?"
    return {
        "run": f"param_{hash_name}/{folder.name}",
        "state": state,
        "stage": status.get("stage", "") if state == RUNNING else "",
        "progress": _progress(folder),
    }


def _progress(folder: Path) -> str:
    """Epoch and costs, from the end of the fit log."""
    try:
        with (folder / "lfadsOutput" / "fitlog.csv").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 2000))
            lines = file.read().decode(errors="replace").splitlines()
        row = parse_line(lines[-1])
        costs = [f"{name} {row[f'total_{name}']:.2f}" for name in ("train", "valid") if f"total_{name}" in row]
        return f"epoch {row['epoch']:.0f}, " + ", ".join(costs)
    except (OSError, IndexError, KeyError, ValueError):
        return ""


def format_table(rows: list[dict[str, str]]) -> str:
    """The rows as text with a head line."""
    names = ("run", "state", "stage", "progress")
    cells = [names, *(tuple(row[name] for name in names) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)
