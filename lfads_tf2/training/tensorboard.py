"""TensorBoard's files of a run."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from lfads_tf2.tracing import traced
from lfads_tf2.training.scalars import RARE


class TensorBoard:
    """Scalars of each epoch in ``lfads_log/``, under the names of metrics.csv."""

    def __init__(self, folder: Path, model):
        self.model = model
        self._written: dict[str, float] = {}
        self.writer = tf.summary.create_file_writer(str(folder))
        self._names: list[str] = []

    def write(self, row: dict[str, float]) -> None:
        """After an epoch: its row of metrics.csv, and what the prior of each inferred input learned."""
        scalars = {name: value for name, value in row.items() if name not in ("epoch", "step")}
        if self.model.has_controller and self.model.co_prior is not None:
            for name, values in self.model.co_prior.learned().items():
                scalars |= {f"{name}/{index}": value for index, value in enumerate(values)}
        # What is there now and then only, and settings, which hardly ever change, stay out of the compiled call.
        rare = {name: scalars.pop(name) for name in [*scalars] if name in RARE or name.startswith("hp/")}
        if list(scalars) != self._names:
            self._names, self._write = list(scalars), traced(self._write_all, self.model.spec.hyperparameters)
        self._write(tf.constant([float(value) for value in scalars.values()]), tf.constant(row["step"], tf.int64))
        with self.writer.as_default(step=row["step"]):
            for name, value in rare.items():
                if value != self._written.get(name):
                    tf.summary.scalar(name, value)
        self._written = rare

    def _write_all(self, values, step) -> None:
        """Compiled, since a dozen summaries one by one take longer than a step of a small model."""
        with self.writer.as_default():
            for index, name in enumerate(self._names):
                tf.summary.scalar(name, values[index], step=step)

    def close(self) -> None:
        """Flushes what is pending."""
        self.writer.close()
