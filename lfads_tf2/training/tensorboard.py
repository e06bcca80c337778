"""TensorBoard's files of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import summary_pb2

from lfads_tf2.training.scalars import RARE


class TensorBoard:
    """Scalars of each epoch in ``lfads_log/``, under the names of metrics.csv."""

    def __init__(self, folder: Path, model):
        self.model = model
        self._written: dict[str, float] = {}
        self.writer = tf.summary.create_file_writer(str(folder))

    def write(self, row: dict[str, float]) -> None:
        """After an epoch: its row of metrics.csv, and what the prior of each inferred input learned."""
        scalars = {name: value for name, value in row.items() if name not in ("epoch", "step")}
        if self.model.has_controller and self.model.co_prior is not None:
            for name, values in self.model.co_prior.learned().items():
                scalars |= {f"{name}/{index}": value for index, value in enumerate(values)}
        # What is there now and then only, and settings, are written when they change.
        rare = {name: scalars.pop(name) for name in [*scalars] if name in RARE or name.startswith("hp/")}
        scalars |= {name: value for name, value in rare.items() if value != self._written.get(name)}
        self._written = rare
        with self.writer.as_default():
            tf.summary.experimental.write_raw_pb(_summary(scalars), step=row["step"])

    def close(self) -> None:
        """Flushes what is pending."""
        self.writer.close()


def _summary(scalars: dict[str, float]) -> bytes:
    """All scalars in one record: one by one they take longer than a step of a small model."""
    summary = summary_pb2.Summary()
    for name, value in scalars.items():
        entry = summary.value.add(tag=name)
        # As tf.summary.scalar writes it.
        entry.metadata.plugin_data.plugin_name = "scalars"
        entry.tensor.dtype = tf.float32.as_datatype_enum
        entry.tensor.tensor_shape.SetInParent()
        entry.tensor.tensor_content = np.float32(value).tobytes()
    return summary.SerializeToString()
