"""The shortest way from arrays to rates: ``fit``, ``transform`` and ``score``, in the manner of scikit-learn."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from lfads_tf2.data import check_against
from lfads_tf2.data.facts import facts_of
from lfads_tf2.data.fingerprint import fingerprints
from lfads_tf2.errors import LFADSError
from lfads_tf2.estimator.arrays import Arrays, check_inputs, refuse_target_as_y
from lfads_tf2.estimator.parameters import OWN_PARAMETERS, Parameters
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.inference import Inference, crop_channels
from lfads_tf2.metrics import rates as metrics
from lfads_tf2.metrics.held_out import channel_means
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.model.names import original_names
from lfads_tf2.program import devices, resuming, saved_models
from lfads_tf2.program import model_files as model_io
from lfads_tf2.program.model_building import model_spec, new_model
from lfads_tf2.program.run_lock import run_lock
from lfads_tf2.session_results.merging import merge_windows
from lfads_tf2.settings import auto, checkpoint_files, plugins, run_folder
from lfads_tf2.settings.combination import refuse_other_architecture
from lfads_tf2.settings.run_folder import RunRecord
from lfads_tf2.training.trainer import Trainer
from lfads_tf2.types import ModelSpec, Session, Trials


class NotFitted(LFADSError, RuntimeError, ValueError):
    """Something was asked of an estimator that only a fitted one knows."""


class Estimator(Parameters):
    """LFADS on one recording session, in the manner of scikit-learn: it can be cloned, put into a ``Pipeline``,
    searched by ``GridSearchCV``, pickled and copied.

    Arrays of spikes are trials x bins x channels; with ``window``, also bins x channels of a continuous recording,
    which is cut into overlapping windows, and whose rates come back merged, bins x channels.

    Args:
        save_dir: folder for checkpoints and logs; None: a temporary one. Training goes on from what is there.
        num_samples: posterior samples that ``transform`` averages for each trial.
        seed: of every random draw.
        preset: ``auto`` lets ``fit`` choose from the data what ``settings`` leave open (``lfads_tf2.settings.auto``).
        window: bins of each window of a continuous recording; None: only trials are taken.
        overlap: bins that neighbouring windows share.
        verbose: draw a progress bar.
        callbacks: each is called after every epoch with a dictionary of numbers, the row of ``metrics.csv``.
        settings: any hyperparameters, by name (see docs/hyperparameters.md).

    Raises:
        SettingsError: a value is out of range, or values contradict each other.
        TypeError: a setting has an unknown name.
    """

    _model: LFADS | None = None
    _step = 0
    _temporary: tempfile.TemporaryDirectory | None = None

    @property
    def model(self) -> LFADS | None:
        """What was fitted; None before."""
        return self._model

    @property
    def step(self) -> int:
        """Training step of its weights."""
        return self._step

    def __sklearn_is_fitted__(self) -> bool:
        return self.model is not None

    def __getstate__(self) -> dict[str, object]:
        state = {name: getattr(self, name) for name in (*OWN_PARAMETERS, "settings")}
        if self.model is not None:
            state |= {"fitted": (self.model.spec, _weights(self.model), self.step)}
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        fitted = state.pop("fitted", None)
        self.__init__(**state.pop("settings"), **state)
        if fitted is not None:
            spec, weights, step = fitted
            self._with(self._built(spec, weights), step)

    def _with(self, model: LFADS, step: int) -> Estimator:
        # Inference by bins and seed; kept, so that later calls need no tracing.
        self._model, self._step, self._inferences = model, step, {}
        self.n_features_in_ = model.spec.sessions[0].encoded_channels  # as scikit-learn calls it
        return self

    # Files

    def save(self, folder: str | Path) -> Path:
        """Writes what was fitted into a folder, from which ``load`` and ``lfads`` commands can take it.

        Raises:
            RuntimeError: nothing has been fitted yet.
            RunError: the folder holds another model.
        """
        model, folder = self._fitted(), Path(folder)
        record = run_folder.read(folder)
        if record is not None:
            refuse_other_architecture(dataclasses.asdict(model.spec.hyperparameters), record)
        saved_models.save(folder, model, self.step, self._facts())
        return folder

    @classmethod
    def load(cls, folder: str | Path, **changed) -> Estimator:
        """A fitted estimator from a folder that ``save`` wrote, or that was the ``save_dir`` of a ``fit``.

        Args:
            changed: arguments to be other than when it was saved, such as ``num_samples``. Classes that the folder
                names are loaded only if they are given here, imported already, or allowed (``allow_own_parts=True``).

        Raises:
            RunError: the folder holds no whole saved estimator.
            SettingsError: it names code that nobody here has asked for.
        """
        found = saved_models.read(Path(folder))
        estimator = cls(**(found.facts | changed))
        for hp in () if changed.get("allow_own_parts") else (found.spec.hyperparameters, estimator.hyperparameters):
            plugins.check_imported(hp, [flag for flag in plugins.FLAGS if flag not in changed])
        model = estimator._built(found.spec)
        found.set_weights(model)
        return estimator._with(model, found.step)

    # Fitting and inferring

    def fit(
        self, spikes, y=None, *, target=None, valid=None, valid_target=None, ext_input=None, valid_ext_input=None
    ) -> Estimator:
        """Trains on spike counts, and keeps the weights of the lowest validation cost.

        Args:
            spikes: trials x bins x channels whole numbers (with other observation models, values); with ``window``
                also bins x channels. With the augmentation ``selective_backprop`` NaN are entries that were not
                observed, and a list of trials of unequal length is filled up with them. Or a ``recordings.Cut``, with
                its halves and held-out units.
            y: ignored; pipelines pass what comes after this step.
            target: what is reconstructed where it has more channels or bins than ``spikes``, which come first in it;
                None: the spikes themselves.
            valid, valid_target, valid_ext_input: validation trials of the same kind; None: every fifth of the trials,
                or of 25 pieces of a continuous recording.
            ext_input: measured inputs of every bin, trials x bins x ``ext_input_dim`` (with ``window`` also bins x
                inputs), where that setting is above 0. With bins of the spikes alone they are 0 in further bins of the
                target. ``preset="auto"`` sets ``ext_input_dim`` by them.

        Raises:
            ValueError: the arrays do not fit each other, the observation model or ``ext_input_dim``.
            SettingsError, RunError: ``save_dir`` holds a model of other sizes, or of other data.
        """
        refuse_target_as_y(spikes, y, target)
        if valid is None:
            train, valid_trials = self._arrays.halves(spikes, target, ext_input)
        else:
            train, _ = self._arrays.trials(spikes, target, ext_input)
            valid_trials, _ = self._arrays.trials(valid, valid_target, valid_ext_input)
        session = Session("session", "the arrays", train, valid_trials)
        if self.preset == auto.NAME:
            chosen = auto.settled(facts_of([session]), self.settings)
            self.hyperparameters = HyperParameters(seed=self.seed, **chosen)
        for half in (train, valid_trials) if valid_trials else (train,):
            check_inputs(self.hyperparameters, half.ext_input)
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
            model = new_model(spec, [session], self.seed, device.native)
            trainer = Trainer(
                model, [session], folder, self.seed, self.verbose, device.xla, callbacks=self.callbacks
            )  # fmt: skip
            RunRecord.of(spec, data).write(folder, trainer.step)
            trainer.train()
            step = model_io.load_checkpoint(model, checkpoint_files.for_inference(folder, "")).step
            saved_models.save(folder, model, step, self._facts())
        return self._with(model, step)

    def infer(self, spikes, target=None, *, ext_input=None) -> dict[str, np.ndarray]:
        """Everything that is inferred for trials: rates (``output_dist_params``), ``factors``, ``gen_states``,
        ``controller_outputs``, ``post_g0_mean`` and so on, trial-major, under the names of the result files.

        Of a continuous recording, what has bins is merged, bins first; the rest has a row for each window.

        Args:
            spikes, target, ext_input: as ``fit`` takes them; the target only counts for the costs. Trials may have
                other bins than in ``fit`` where there is no target.

        Raises:
            RuntimeError: nothing has been fitted yet.
            ValueError: the trials are not of the model's channels, or lack its external inputs.
        """
        model = self._fitted()
        trials, offsets = self._fitted_trials(spikes, target, ext_input)
        inference = self._inference(trials)
        spec = inference.model.spec
        if spec.separate_target and trials.recon is None:
            # Its entries are not there to be scored.
            shape = (len(trials.data), spec.first_bin + spec.num_bins, spec.sessions[0].num_channels)
            trials = trials._replace(recon=np.zeros(shape, np.float32))
        results = inference.posterior_average(0, trials, self.num_samples)
        channels, reported = spec.sessions[0].num_channels, model.observation.num_reported
        results["output_dist_params"] = crop_channels(results["output_dist_params"], channels, reported)
        if offsets is None:
            return results
        length = offsets[-1] + max(self.window, spec.first_bin + spec.num_bins)
        return {
            name: merge_windows(values, offsets + spec.first_bin, length)
            if values.ndim == 3 else values
            for name, values in results.items()
        }  # fmt: skip

    def transform(self, spikes, *, ext_input=None) -> np.ndarray | list[np.ndarray]:
        """Rates of trials, trials x bins x channels of the target, in expected spikes a bin. See ``infer``.

        Of a continuous recording, bins x channels. Of a list of trials, a list.
        """
        rates = self.infer(spikes, ext_input=ext_input)["output_dist_params"][
            ..., : self._fitted().spec.sessions[0].num_channels
        ]
        if isinstance(spikes, list | tuple) and rates.ndim == 3:
            first = self._fitted().spec.first_bin
            return [found[: max(0, len(trial) - first)] for found, trial in zip(rates, spikes, strict=True)]
        return rates

    def fit_transform(self, spikes, y=None, *, target=None, ext_input=None) -> np.ndarray:
        """``fit``, then ``transform`` of the same trials."""
        return self.fit(spikes, y, target=target, ext_input=ext_input).transform(spikes, ext_input=ext_input)

    def sample(self, number: int, *, ext_input=None) -> dict[str, np.ndarray]:
        """Trials drawn from the prior, of the bins of ``fit``, under the names of ``infer``; inferred inputs are called
        ``prior_zs_ar_con``. The same seed draws the same.

        Args:
            number: of trials.
            ext_input: trials x bins x inputs, taken in turn, where they act on the generator
                (``inject_ext_input_to_gen``).

        Raises:
            RuntimeError: nothing has been fitted yet.
            ValueError: the generator has external inputs and none are given, or they do not fit it.
        """
        model, spec = self._fitted(), self._fitted().spec
        if number < 1:
            raise ValueError(f"number must be at least 1, got {number}")
        inputs, bins = self._arrays.checked_inputs(ext_input), spec.first_bin + spec.num_bins
        if model.injects_ext_input:
            check_inputs(spec.hyperparameters, inputs)
            if inputs.ndim != 3 or inputs.shape[1] != bins:
                raise ValueError(f"ext_input must be trials x {bins} bins x inputs, got {inputs.shape}")
            inputs = inputs[np.arange(number) % len(inputs), spec.first_bin :]
        elif inputs is not None:
            raise ValueError("the generator has no external inputs (inject_ext_input_to_gen); leave ext_input out")
        results = Inference(model, self.seed, self.step).prior_sample(0, number, inputs)
        channels, reported = spec.sessions[0].num_channels, model.observation.num_reported
        return results | {"output_dist_params": crop_channels(results["output_dist_params"], channels, reported)}

    def score(self, spikes, y=None, *, target=None, ext_input=None) -> float:
        """Bits a spike of spikes that the encoders do not read, so that a model that copies them scores low.

        With a target beside the spikes these are its further channels and bins; else each spike count is masked once
        (``lfads_tf2.held_out``), window by window in a continuous recording.

        Args:
            spikes, y, target, ext_input: as ``fit`` takes them.

        Raises:
            ValueError: the model is not one of spike counts.
        """
        refuse_target_as_y(spikes, y, target)
        self._fitted()
        trials, offsets = self._fitted_trials(spikes, target, ext_input)
        spec = self.model.spec
        if spec.hyperparameters.output_dist != "poisson":
            raise ValueError(f"bits a spike need counts; output_dist={spec.hyperparameters.output_dist} has none")
        first = spec.first_bin
        if trials.target.shape == trials.data.shape:
            means = channel_means(trials.observed)
            rates = self._inference(trials).held_out_rates(0, trials, means)
            return metrics.bits_per_spike(rates, np.array(trials.target, np.float64)[:, first:])
        rates = self.infer(spikes, ext_input=ext_input)["output_dist_params"]
        if offsets is None:
            truth, seen = (
                np.array(trials.target, np.float64)[:, first:],
                (trials.data.shape[1] - first, *trials.data.shape[2:]),
            )
        else:
            rates, truth = rates[None], np.array(spikes if target is None else target, np.float64)[None]
            truth[np.isnan(rates).all(axis=2)] = np.nan
            rates, seen = np.nan_to_num(rates), (truth.shape[1], trials.data.shape[2])
        if truth.shape[1:] != seen:
            truth[:, : seen[0], : seen[1]] = np.nan
        return metrics.bits_per_spike(rates, truth)

    def _fitted(self) -> LFADS:
        if self.model is None:
            raise NotFitted("this estimator has not been fitted; call fit(spikes) first")
        return self.model

    def _built(self, spec: ModelSpec, weights: dict[str, np.ndarray] | None = None) -> LFADS:
        device = devices.configure(self.hyperparameters)
        with tf.device(device.name):
            model = saved_models.built(spec, device.native)
        for name, weight in original_names(model).items() if weights else ():
            weight.assign(weights[name])
        return model

    def _inference(self, trials: Trials) -> Inference:
        """What infers trials of so many bins."""
        spec, bins, wanted = self.model.spec, trials.data.shape[1], self.model.spec.data_bins
        key = (bins, self.seed)
        if key not in self._inferences:
            model = self.model
            if bins != wanted:
                sizes = dataclasses.replace(spec, num_bins=bins - spec.first_bin, encoded_bins=None)
                model = self._built(sizes, _weights(model))
            self._inferences[key] = Inference(model, self.seed, self.step)
        return self._inferences[key]

    def _facts(self) -> dict[str, object]:
        """What ``load`` makes the estimator again from."""
        return {n: getattr(self, n) for n in OWN_PARAMETERS if n not in ("callbacks", "save_dir")} | self.settings

    def _trials(self, spikes, target) -> Trials:
        return self._arrays.trials(spikes, target)[0]

    def _fitted_trials(self, spikes, target, ext_input) -> tuple[Trials, np.ndarray | None]:
        """Trials for the fitted model, and the first bin of each window."""
        spec = self.model.spec
        # A target with gaps alone has the spikes' bins, whatever these are.
        further = spec.encoded_bins is not None or spec.sessions[0].num_encoded is not None
        bins = spec.first_bin + spec.num_bins if further else None
        trials, offsets = self._arrays.trials(spikes, target, ext_input, bins)
        check_inputs(spec.hyperparameters, trials.ext_input)
        (bins, channels), wanted = trials.data.shape[1:], self.n_features_in_
        if channels != wanted or (bins != spec.data_bins and further) or bins <= spec.first_bin:
            # The first words are scikit-learn's.
            features = f"X has {channels} features, but Estimator is expecting {wanted} features as input: "
            raise ValueError(
                f"{features if channels != wanted else ''}spikes must be trials x {spec.data_bins} x {wanted}, as in "
                f"fit, got {trials.data.shape}"
            )
        return trials, offsets

    @property
    def _arrays(self) -> Arrays:
        return Arrays(self.hyperparameters, self.window, self.overlap)


def _weights(model: LFADS) -> dict[str, np.ndarray]:
    return {name: weight.numpy() for name, weight in original_names(model).items()}
