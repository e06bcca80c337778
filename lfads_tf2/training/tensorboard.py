"""TensorBoard's files of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from lfads_tf2.training.scalars import TRUTH_R2


class TensorBoard:
    """Scalars of each epoch in ``lfads_log/``, under the names of metrics.csv."""

    def __init__(self, folder: Path, model):
        self.model = model
        self._written: dict[str, float] = {}
        self.writer = tf.summary.create_file_writer(str(folder))
        self._names: list[str] = []

    def write(self, row: dict[str, float]) -> None:
        """After an epoch: its row of metrics.csv, and time constant and variance of the AR(1) prior of each input."""
        scalars = {name: value for name, value in row.items() if name not in ("epoch", "step")}
        if self.model.has_controller and hasattr(self.model.co_prior, "log_tau"):
            prior = self.model.co_prior
            for index, (log_tau, log_variance) in enumerate(
                zip(np.ravel(prior.log_tau), np.ravel(prior.log_noise_variance), strict=True)
            ):
                scalars[f"ar1_tau/{index}"] = np.exp(log_tau)
                scalars[f"ar1_noise_variance/{index}"] = np.exp(log_variance)
        # What is there now and then only, and settings, which hardly ever change, stay out of the compiled call.
        rare = {name: scalars.pop(name) for name in [*scalars] if name == TRUTH_R2 or name.startswith("hp/")}
        if list(scalars) != self._names:
            self._names, self._write = list(scalars), tf.function(self._write_all)
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
