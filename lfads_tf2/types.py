"""What passes between the rooms of the package. Shapes: B trials, T bins, D channels, I external inputs, F factors,
U inferred inputs, Z initial-condition code, G generator units, E / C / K units of the initial-condition encoders, the
controller-input encoders and the controller. The model works time-major; files are trial-major."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from lfads_tf2.hyperparameters import HyperParameters


class Trials(NamedTuple):
    """One half (train or valid) of a session, trial-major NumPy arrays."""

    data: np.ndarray  # N x T x D; the smallest unsigned integer type that holds the counts, or float32 values
    ext_input: np.ndarray | None = None  # N x T x I float32
    truth: np.ndarray | None = None  # N x T x D float32, true rates in spikes/bin (true means if Gaussian)
    indices: np.ndarray | None = None  # N, position of each trial in the recording, counted from 0
    conditions: np.ndarray | None = None  # N, condition of each trial (numbers or text)


class Session(NamedTuple):
    """One recording session as read and checked."""

    name: str  # part of file and variable names
    path: str
    train: Trials
    valid: Trials | None
    alignment_matrix: np.ndarray | None = None  # D x F float32
    alignment_bias: np.ndarray | None = None  # D float32
    bin_width_ms: float | None = None  # from the file, where it says


@dataclasses.dataclass(frozen=True)
class SessionShape:
    """What the model must know of a session."""

    name: str
    num_channels: int
    has_alignment: bool = False


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Hyperparameters together with what the data decide. Made once by ``data.resolve``; nobody adds to it later."""

    hyperparameters: HyperParameters
    num_steps: int  # T
    sessions: tuple[SessionShape, ...]

    @property
    def max_channels(self) -> int:
        """Channels of the widest session; narrower ones are padded to it."""
        return max(session.num_channels for session in self.sessions)
