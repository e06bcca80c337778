"""A trained model one bin at a time, in NumPy alone: no TensorFlow is imported to load or to step it."""

from lfads_tf2.online.exported import ExportedModel, export
from lfads_tf2.online.streams import OnlineLFADS

__all__ = ["ExportedModel", "OnlineLFADS", "export"]
