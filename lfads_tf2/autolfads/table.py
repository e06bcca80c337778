"""What the user sees while a search runs."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TextIO

import numpy as np

from lfads_tf2.autolfads.generations import score_of
from lfads_tf2.autolfads.population import Done, Population, Watcher

MOST_COPIES_NAMED = 6


def duration(seconds: float | None) -> str:
    """``2 h 05 min`` and the like."""
    if seconds is None:
        return "?"
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def generation_line(entry: dict, options, seconds_left: float | None) -> str:
    """One generation in one line: best and spread of the scores, who copied whom, time left."""
    scores = np.array(entry["scores"], float)
    finite = scores[np.isfinite(scores)]
    best, median, worst = (score_of(f(finite), options.metric) for f in (np.min, np.median, np.max))
    copies = [f"{event['copied_from']}→{event['worker']}" for event in entry["replaced"]]
    bad = sum(event["reason"] == "not finite" for event in entry["replaced"])
    shown = ", ".join(copies[:MOST_COPIES_NAMED]) + (", …" if len(copies) > MOST_COPIES_NAMED else "")
    copied = f"  copied {len(copies)}: {shown}" if copies else "  copied none"
    return (
        f"generation {entry['generation']:3d}  epoch {entry['epoch']:4d}/{options.max_epochs}  best {best:.6g} "
        f"(worker {entry['best_worker']})  median {median:.6g}  worst {worst:.6g}{copied}"
        f"{f'  diverged {bad}' if bad else ''}  at most {duration(seconds_left)} left"
    )


def table(entry: dict, metric: str) -> list[str]:
    """All workers after a generation: score, what it copied, and the hyperparameters that it trained with."""
    names = list(entry["hyperparameters"][0])
    sources = {event["worker"]: event["copied_from"] for event in entry["replaced"]}
    order = sorted(
        range(len(entry["scores"])), key=lambda w: (not math.isfinite(entry["scores"][w]), entry["scores"][w])
    )
    lines = ["worker     score  copies  " + "  ".join(f"{name:>18}" for name in names)]
    for worker in order:
        values = "  ".join(f"{entry['hyperparameters'][worker][name]:>18.4g}" for name in names)
        source = sources.get(worker)
        score = score_of(entry["scores"][worker], metric)
        lines.append(f"{worker:>6} {score:>9.6g}  {'' if source is None else source:>6}  {values}")
    return lines


class LiveTable(Watcher):
    """A line a generation; on a terminal also the table of all workers, drawn over the last one.

    Args:
        stream: where to; None: standard error.
    """

    def __init__(self, stream: TextIO | None = None):
        self.stream = stream or sys.stderr
        self.live, self.drawn = self.stream.isatty(), 0

    def started(self, population: Population) -> None:
        """Says where the search starts."""
        workers, epoch = population.options.num_workers, population.epoch
        self._say(f"{workers} workers, epoch {epoch} of at most {population.options.max_epochs}.")

    def worker_done(self, population: Population, done: Done, left: int) -> None:
        """On a terminal, how many workers have not finished."""
        if self.live:
            self.stream.write(f"\r{left:3d} workers to go ")
            self.stream.flush()

    def generation_done(self, population: Population, entry: dict, rows: list[dict]) -> None:
        """One line, and the table."""
        if self.live and self.drawn:
            self.stream.write(f"\r\x1b[{self.drawn}A\x1b[J")
        elif self.live:
            self.stream.write("\r\x1b[K")
        self._say(generation_line(entry, population.options, population.seconds_left()))
        if self.live:
            lines = table(entry, population.options.metric)
            self._say("\n".join(lines))
            self.drawn = len(lines)

    def _say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


class Boards(Watcher):
    """TensorBoard scalars of every worker.

    Args:
        folder: one folder a worker is made in it.
    """

    def __init__(self, folder: Path):
        self.folder, self.writers = folder, {}

    def generation_done(self, population: Population, entry: dict, rows: list[dict]) -> None:
        """Writes the generation's rows."""
        import tensorflow as tf

        for row in rows:
            worker = row["worker_id"]
            if worker not in self.writers:
                self.writers[worker] = tf.summary.create_file_writer(str(self.folder / f"worker_{worker:03d}"))
            with self.writers[worker].as_default(step=int(row["epoch"])):
                for name, value in row.items():
                    if name not in ("worker_id", "epoch") and math.isfinite(value):
                        tf.summary.scalar(name, value)
        for writer in self.writers.values():
            writer.flush()


class Several(Watcher):
    """Passes everything on to several watchers."""

    def __init__(self, *watchers: Watcher):
        self.watchers = watchers

    def started(self, population: Population) -> None:
        for watcher in self.watchers:
            watcher.started(population)

    def worker_done(self, population: Population, done: Done, left: int) -> None:
        for watcher in self.watchers:
            watcher.worker_done(population, done, left)

    def generation_done(self, population: Population, entry: dict, rows: list[dict]) -> None:
        for watcher in self.watchers:
            watcher.generation_done(population, entry, rows)
