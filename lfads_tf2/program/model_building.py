"""A model from settings, sessions and what the run folder records: its sizes, a fresh one, a trained one."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from lfads_tf2.data import resolve
from lfads_tf2.errors import RunError
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model.affine import align
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.program import model_files
from lfads_tf2.settings import checkpoint_files, plugins
from lfads_tf2.settings.run_folder import RunRecord
from lfads_tf2.types import ModelSpec, Session, SessionShape

log = logging.getLogger("lfads_tf2")


def model_spec(
    hp: HyperParameters, sessions: list[Session], record: RunRecord | None = None, subset_allowed: bool = False
) -> ModelSpec:
    """The model's sizes; those of the run folder where it has a model, against which the data are checked.

    Args:
        hp: all settings.
        sessions: the data.
        record: of the run folder; None: a new model.
        subset_allowed: inference may run on some of the model's sessions, and on trials of another length.

    Raises:
        SettingsError: a class that a setting names cannot be loaded.
        DataError: settings and data contradict each other.
        RunError: the data do not fit the model in the run folder.
    """
    plugins.check(hp)
    spec = resolve(hp, sessions)
    if record is None or not record.sessions:
        return spec
    shapes = {shape.name: shape for shape in spec.sessions}
    known = record.sessions
    if len(known) == len(shapes) == 1 and next(iter(known.values())).channels == spec.sessions[0].num_channels:
        # One session without partners may be called anything.
        known = dict(zip(shapes, known.values(), strict=True))
    wrong = _misfits(shapes, known)
    if not subset_allowed:
        wrong += [f"session {name} of the model is not in the data" for name in known if name not in shapes]
        if record.num_bins not in (None, spec.num_bins):
            wrong.append(f"the data have {spec.num_bins} bins, the model was trained with {record.num_bins}")
    if wrong:
        listed = ", ".join(f"{name} ({session.channels} channels)" for name, session in known.items())
        raise RunError(
            f"--data_dir: the data do not fit the model in {record.path.parent}, which has {listed}:\n  "
            + "\n  ".join(wrong) + "\nGive the data it was trained on, or train in a new --lfads_save_dir."
        )  # fmt: skip
    return dataclasses.replace(spec, sessions=tuple(_shape(name, known[name], shapes.get(name)) for name in known))


def _misfits(shapes: dict[str, SessionShape], known) -> list[str]:
    """In which sessions the data have other channels than the model."""
    wrong = [
        f"session {name}: the encoders read {shape.encoded_channels} channels in the data and {known[name].encoded} "
        "in the model"
        for name, shape in shapes.items()
        if name in known and known[name].encoded != shape.encoded_channels
    ]
    return wrong + [
        f"session {name} has {shape.num_channels} channels, the model "
        + (f"has {known[name].channels}" if name in known else "does not know it")
        for name, shape in shapes.items()
        if name not in known or known[name].channels != shape.num_channels
    ]


def _shape(name: str, recorded, in_data: SessionShape | None) -> SessionShape:
    """One session of the model; where the folder does not say whether it was aligned, the data do."""
    aligned = recorded.aligned
    if aligned is None:
        aligned = in_data is not None and in_data.has_alignment
    encoded = None if recorded.encoded == recorded.channels else recorded.encoded
    share = 1.0 if in_data is None else in_data.observed_share
    return SessionShape(name, recorded.channels, aligned, encoded, share)


@contextlib.contextmanager
def single_precision():
    """Layers that are made inside compute in float32, whatever the user's keras.json says.

    Raises:
        RunError: Keras was imported before this package, and computes with something else than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise RunError(
            f"Keras computes with {keras.backend.backend()} in this process; import lfads_tf2 before keras, or set the "
            "environment variable KERAS_BACKEND=tensorflow"
        )
    before = keras.config.floatx()
    keras.config.set_floatx("float32")
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def new_model(spec: ModelSpec, sessions: list[Session], seed: int, native: bool) -> LFADS:
    """A model to be trained, its read-in and read-out started from the sessions' alignment.

    Args:
        spec: its sizes.
        sessions: the data; where some of the model's are missing, nothing is aligned.
        seed: of the weights.
        native: the loops over time run in the compiled kernels.
    """
    with single_precision():
        model = LFADS(spec, seed=seed, native=native)
    by_name = {session.name: session for session in sessions}
    if all(shape.name in by_name for shape in spec.sessions):
        align(model.read_in, model.observation.mean_map, [by_name[shape.name] for shape in spec.sessions])
    return model


class TrainedModel(NamedTuple):
    """A model with trained weights."""

    model: LFADS
    loaded: model_files.Loaded  # what their file records
    order: dict[str, int]  # the model's index of each session of the data


def trained_model(hp: HyperParameters, sessions: list[Session], record: RunRecord | None, native: bool) -> TrainedModel:
    """The model of a run folder (or of ``model_params_file``), to infer with.

    Arguments as ``model_spec`` and ``new_model``.

    Raises:
        RunError: there is no model, it cannot be read, or the data do not fit it.
    """
    spec = model_spec(hp, sessions, record, subset_allowed=True)
    with single_precision():
        model = LFADS(spec, native=native, for_training=False)
    try:
        if hp.model_params_file:
            path = Path(hp.model_params_file)
            loaded = model_files.load_original(model, path)
        else:
            path = checkpoint_files.for_inference(Path(hp.lfads_save_dir), hp.checkpoint_pb_load_name)
            loaded = model_files.load_checkpoint(model, path)
    except (model_files.ModelFileError, OSError, tf.errors.OpError) as error:
        raise RunError(str(error)) from error
    log.info("Using the weights of %s (step %d).", path, loaded.step)
    names = [shape.name for shape in spec.sessions]
    return TrainedModel(model, loaded, {s.name: names.index(s.name) if s.name in names else 0 for s in sessions})
