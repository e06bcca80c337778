"""LFADS and AutoLFADS on TensorFlow 2: single-trial firing rates from spike counts."""

import importlib
import os
import sys

# The layers are for TensorFlow; Keras settles what it computes with when it is first imported.
if "keras" not in sys.modules:
    os.environ["KERAS_BACKEND"] = "tensorflow"

__version__ = "0.2.0"

# Public names and where they live; each is imported when it is first asked for, so that importing the package is fast.
_HOMES = {
    "Estimator": "estimator",
    "HyperParameters": "hyperparameters",
    "Inference": "inference",
    "LFADS": "model.lfads",
    "ModelSpec": "types",
    "Recording": "recordings",
    "Session": "types",
    "Trainer": "training.trainer",
    "Trials": "types",
    "bits_per_spike": "metrics.rates",
    "load_results": "session_results",
    "r2_truth": "metrics.rates",
    "read_sessions": "data",
    "resolve": "data",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its names are {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
