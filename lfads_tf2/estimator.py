"""The shortest way from arrays to rates: ``fit``, ``transform`` and ``score``, in the manner of scikit-learn."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from lfads_tf2.data import check_against
from lfads_tf2.data.entries import check_for, zeros_for_missing
from lfads_tf2.data.fingerprint import fingerprints
from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import HyperParameters, problems
from lfads_tf2.inference import Inference, session_results
from lfads_tf2.metrics import rates as metrics
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.program import devices, resuming
from lfads_tf2.program import model_files as model_io
from lfads_tf2.program.model_building import model_spec, new_model
from lfads_tf2.program.run_lock import run_lock
from lfads_tf2.settings import run_folder
from lfads_tf2.settings.combination import refuse_other_architecture
from lfads_tf2.settings.run_folder import RunRecord
from lfads_tf2.training import checkpoints
from lfads_tf2.training.trainer import Trainer
from lfads_tf2.types import Session, Trials

# Every so many trials one is for validation, unless some are given.
TRIALS_A_VALIDATION_TRIAL = 5


class Estimator:
    """LFADS on one recording session.

    Args:
        save_dir: folder for checkpoints and logs; None: a temporary one. Training goes on from what is there.
        num_samples: posterior samples that ``transform`` averages for each trial.
        seed: of every random draw.
        settings: any hyperparameters, by name (see docs/hyperparameters.md).

    Raises:
        SettingsError: a value is out of range, or values contradict each other.
        TypeError: a setting has an unknown name.
    """

    def __init__(self, save_dir: str | Path | None = None, num_samples: int = 50, seed: int = 0, **settings):
        self.hyperparameters = HyperParameters(seed=seed, **settings)
        found = problems(self.hyperparameters)
        if found:
            raise SettingsError(found)
        if num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {num_samples}")
        self.save_dir, self.num_samples, self.seed = save_dir, num_samples, seed
        self._temporary: tempfile.TemporaryDirectory | None = None
        self._session: Session | None = None
        self.model: LFADS | None = None
        self.step = 0

    def fit(self, spikes, target=None, valid=None, valid_target=None) -> Estimator:
        """Trains on spike counts, and keeps the weights of the lowest validation cost.

        Args:
            spikes: trials x bins x channels whole numbers (with other observation models, values).
            target: what is reconstructed where it has more channels or bins than ``spikes``, which come first in it;
                None: the spikes themselves.
            valid, valid_target: validation trials of the same kind; None: every fifth of the trials.

        Raises:
            ValueError: the arrays do not fit each other or the observation model.
            SettingsError, RunError: ``save_dir`` holds a model of other sizes, or of other data.
        """
        train = self._trials(spikes, target)
        if valid is None:
            held_out = np.arange(len(train.data)) % TRIALS_A_VALIDATION_TRIAL == TRIALS_A_VALIDATION_TRIAL - 1
            train, valid_trials = _chosen(train, ~held_out), _chosen(train, held_out) if held_out.any() else None
        else:
            valid_trials = self._trials(valid, valid_target)
        session = Session("session", "the arrays", train, valid_trials)
        found = check_against(self.hyperparameters, [session])
        if found:
            raise ValueError("\n".join(found))
        if self.save_dir is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="lfads_")
        folder = Path(self.save_dir or self._temporary.name)
        folder.mkdir(parents=True, exist_ok=True)
        hp, data = self.hyperparameters, fingerprints([session])
        record = None if hp.resume == "never" else run_folder.read(folder)
        if record is not None:
            refuse_other_architecture(dataclasses.asdict(hp), record)
        spec, device = model_spec(hp, [session], record), devices.configure(hp)
        with run_lock(folder, "Estimator.fit"), tf.device(device.name):
            resuming.prepare(folder, spec.hyperparameters, record, data)
            self.model = new_model(spec, [session], self.seed, device.native)
            trainer = Trainer(self.model, [session], folder, self.seed, show_progress=False, jit_compile=device.xla)
            RunRecord.of(spec, data).write(folder, trainer.step)
            trainer.train()
            self.step = model_io.load_checkpoint(self.model, checkpoints.for_inference(folder, "")).step
        self._session = session
        return self

    def infer(self, spikes, target=None) -> dict[str, np.ndarray]:
        """Everything that is inferred for trials: rates (``output_dist_params``), ``factors``, ``gen_states``,
        ``controller_outputs``, ``post_g0_mean`` and so on, trial-major, under the names of the result files.

        Args:
            spikes, target: trials as ``fit`` takes them; the target only counts for the costs.

        Raises:
            RuntimeError: nothing has been fitted yet.
            ValueError: the trials are not of the model's bins and channels.
        """
        if self.model is None:
            raise RuntimeError("this estimator has not been fitted; call fit(spikes) first")
        spec, trials = self.model.spec, self._trials(spikes, target)
        wanted = (spec.data_steps, spec.sessions[0].encoded_channels)
        if trials.data.shape[1:] != wanted:
            raise ValueError(f"spikes must be trials x {wanted[0]} x {wanted[1]}, as in fit, got {trials.data.shape}")
        if spec.separate_target and trials.recon is None:
            # Its entries are not there to be scored.
            shape = (len(trials.data), spec.first_bin + spec.num_steps, spec.sessions[0].num_channels)
            trials = trials._replace(recon=np.zeros(shape, np.float32))
        results = Inference(self.model, self.seed, self.step).posterior_average(0, trials, self.num_samples)
        return session_results(self.model, self._session, results)

    def transform(self, spikes) -> np.ndarray:
        """Rates of trials, trials x bins x channels of the target, in expected spikes a bin. See ``infer``."""
        return self.infer(spikes)["output_dist_params"][..., : self._session.train.target.shape[2]]

    def fit_transform(self, spikes, target=None) -> np.ndarray:
        """``fit``, then ``transform`` of the same trials."""
        return self.fit(spikes, target).transform(spikes)

    def score(self, spikes, target=None) -> float:
        """Bits a spike of the target's entries that the encoders do not see, or, where they see all, of all entries.

        Args:
            spikes, target: trials as ``fit`` takes them.
        """
        rates, first = self.transform(spikes), self.hyperparameters.ic_enc_seq_len
        truth = np.array(spikes if target is None else target, np.float64)[:, first:]
        bins, channels = np.shape(spikes)[1] - first, np.shape(spikes)[2]
        if truth.shape[1:] != (bins, channels):
            truth[:, :bins, :channels] = np.nan
        return metrics.bits_per_spike(rates, truth)

    def _trials(self, spikes, target) -> Trials:
        arrays = [self._checked(name, array) for name, array in (("spikes", spikes), ("target", target))]
        data, recon = arrays
        if recon is not None:
            if len(recon) != len(data) or any(r < d for r, d in zip(recon.shape[1:], data.shape[1:], strict=True)):
                raise ValueError(
                    f"target must have the trials of spikes and at least their bins and channels, got {recon.shape} "
                    f"for spikes {data.shape}"
                )
            recon = None if recon.shape == data.shape and np.array_equal(recon, data, True) else recon
        return zeros_for_missing(Trials(data, recon=recon))

    def _checked(self, name: str, array) -> np.ndarray | None:
        """The array in its storage type, by the check that files pass too."""
        if array is None:
            return None
        try:
            array = np.asarray(array)
            # Tables hand whole numbers out as objects.
            array = array.astype(np.float64) if array.dtype.kind == "O" else array
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name} must be one array of numbers, trials x bins x channels; cut or pad trials of unequal length "
                f"to the same bins ({error})"
            ) from error
        if array.ndim != 3 or not array.size or array.dtype.kind not in "biuf":
            raise ValueError(
                f"{name} must be numbers, trials x bins x channels, with at least one entry, got {array.dtype} of "
                f"shape {array.shape}"
            )
        values, found = check_for(self.hyperparameters)(array)
        if found:
            raise ValueError("\n".join(f"{name}: {problem}" for problem in found))
        return values


def _chosen(trials: Trials, rows: np.ndarray) -> Trials:
    return Trials(trials.data[rows], recon=None if trials.recon is None else trials.recon[rows])
