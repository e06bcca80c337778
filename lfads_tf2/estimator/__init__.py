"""LFADS from arrays in memory, in the manner of scikit-learn."""

from lfads_tf2.estimator.fitting import Estimator, NotFitted

__all__ = ["Estimator", "NotFitted"]
