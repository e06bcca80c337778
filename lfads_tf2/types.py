"""What passes between the rooms of the package. Shapes: B trials, T bins, D channels, I external inputs, F factors,
U inferred inputs, Z initial-condition code, G generator units, E / C / K units of the initial-condition encoders, the
controller-input encoders and the controller. The model works time-major; files are trial-major."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lfads_tf2.hyperparameters import HyperParameters

if TYPE_CHECKING:
    import tensorflow as tf


class Trials(NamedTuple):
    """One half (train or valid) of a session, trial-major NumPy arrays."""

    data: np.ndarray  # N x T x D, what the encoders read; the smallest unsigned integer type, or float32 values
    ext_input: np.ndarray | None = None  # N x T x I float32, for the bins of the target
    truth: np.ndarray | None = None  # N x T x D float32, true rates of the target in spikes/bin (Gaussian: means)
    indices: np.ndarray | None = None  # N, position of each trial in the recording, counted from 0
    conditions: np.ndarray | None = None  # N, condition of each trial (numbers or text)
    recon: np.ndarray | None = None  # N x T' x D', what is reconstructed, T' >= T, D' >= D; None: the data themselves

    @property
    def target(self) -> np.ndarray:
        """What is reconstructed; float32 with NaN where an entry was not observed."""
        return self.data if self.recon is None else self.recon

    @property
    def observed(self) -> np.ndarray:
        """The encoders' data with NaN where an entry was not observed, for which they read 0."""
        if self.recon is None or self.recon.dtype.kind != "f":
            return self.data
        missing = np.isnan(self.recon[:, : self.data.shape[1], : self.data.shape[2]])
        return np.where(missing, np.float32(np.nan), self.data) if missing.any() else self.data

    def from_bin(self, first: int) -> Trials:
        """The same trials with target, truth and external inputs from bin ``first`` on, as the decoder runs."""
        later = {"recon": self.target, "truth": self.truth, "ext_input": self.ext_input}
        return self._replace(**{name: None if value is None else value[:, first:] for name, value in later.items()})


class Session(NamedTuple):
    """One recording session as read and checked."""

    name: str  # part of file and variable names
    path: str
    train: Trials
    valid: Trials | None
    alignment_matrix: np.ndarray | None = None  # D x F float32
    alignment_bias: np.ndarray | None = None  # D float32
    bin_width_ms: float | None = None  # from the file, where it says
    readout_matrix: np.ndarray | None = None  # F x D float32, where the read-out starts; else the matrix transposed
    readout_bias: np.ndarray | None = None  # D float32, likewise; else the alignment bias


@dataclasses.dataclass(frozen=True)
class SessionShape:
    """What the model must know of a session."""

    name: str
    num_channels: int  # that are reconstructed
    has_alignment: bool = False
    num_encoded: int | None = None  # channels that the encoders read, the first ones; None: all
    observed_share: float = 1.0  # of the training target's entries

    @property
    def encoded_channels(self) -> int:
        """Channels that the encoders read."""
        return self.num_channels if self.num_encoded is None else self.num_encoded


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Hyperparameters together with what the data decide. Made once by ``data.resolve``; nobody adds to it later."""

    hyperparameters: HyperParameters
    num_bins: int  # T, bins that the decoder runs through
    sessions: tuple[SessionShape, ...]
    encoded_bins: int | None = None  # bins that the encoders read, those of the initial condition included; None: T
    separate_target: bool = False  # the data hold a target beside what the encoders read
    partly_observed: bool = False  # some entries of the target are NaN

    def as_dict(self) -> dict:
        """Numbers, text, lists and dicts alone, of which ``from_dict`` makes an equal one."""
        return dataclasses.asdict(self) | {"sessions": [dataclasses.asdict(session) for session in self.sessions]}

    @classmethod
    def from_dict(cls, values: dict) -> ModelSpec:
        """The inverse of ``as_dict``."""
        sessions = tuple(SessionShape(**session) for session in values["sessions"])
        return cls(**values | {"hyperparameters": HyperParameters(**values["hyperparameters"]), "sessions": sessions})

    @property
    def first_bin(self) -> int:
        """Bins before the decoder's first, which serve the initial condition only (ic_enc_seq_len)."""
        return self.hyperparameters.ic_enc_seq_len

    @property
    def data_bins(self) -> int:
        """Bins of the encoders' data."""
        return self.num_bins + self.first_bin if self.encoded_bins is None else self.encoded_bins

    @property
    def max_encoded(self) -> int:
        """Channels that the encoders read in the widest session."""
        return max(session.encoded_channels for session in self.sessions)

    @property
    def max_channels(self) -> int:
        """Channels of the widest session; narrower ones are padded to it."""
        return max(session.num_channels for session in self.sessions)


class Dials(NamedTuple):
    """Hyperparameters that may change in training. Numbers, or scalar tensors: then a change compiles nothing."""

    keep_prob: float
    l2_gen_scale: float
    l2_con_scale: float
    kl_ic_weight: float
    kl_co_weight: float
    co_mean_corr_scale: float
    l2_ic_enc_scale: float = 0.0
    l2_ci_enc_scale: float = 0.0
    cd_rate: float = 0.0
    loss_scale: float = 1.0
    weight_decay: float = 0.0

    @classmethod
    def of(cls, hp: HyperParameters) -> Dials:
        """The settings of ``hp``, as numbers."""
        return cls(*(getattr(hp, name) for name in cls._fields))


class Batch(NamedTuple):
    """Trials of one session, time-major."""

    data: tf.Tensor  # T x B x D float32, padded to the widest session: what the encoders read
    ext_input: tf.Tensor | None  # T x B x I
    session: tf.Tensor  # scalar int32, index of the session
    target: tf.Tensor | None = None  # T' x B x D' float32, what is reconstructed, from the first bin on; None: the data
    counted: tf.Tensor | None = None  # T' x B x D', weight of each entry in the cost; None: all count
    flow: tf.Tensor | None = None  # T' x B x D', share of each entry's cost that sends a gradient; None: all do
    apart: tf.Tensor | None = None  # T' x B x D', weight of each entry that is held out and scored apart; None: none
    trials: tf.Tensor | None = None  # B int32, each trial's number within its session and half


class Masks(NamedTuple):
    """Dropout masks, scaled by 1/keep_prob; None everywhere without dropout."""

    data: tf.Tensor | None = None  # T x B x D
    ext_input: tf.Tensor | None = None  # T x B x I
    ic_code: tf.Tensor | None = None  # B x 2E
    con_code: tf.Tensor | None = None  # T x B x (2C, or C if causal), encoded part of the controller's input
    feedback: tf.Tensor | None = None  # T x B x F (D for rates)
    gen_out: tf.Tensor | None = None  # T x B x G


class Noise(NamedTuple):
    """Standard normal draws behind the posterior samples; zeros give the means."""

    g0: tf.Tensor | None  # B x Z
    co: tf.Tensor | None  # T x B x U
