"""Bringing a model's weights in from files, and the errors when they do not fit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import tensorflow as tf

from lfads_tf2.errors import LFADSError
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.model.names import file_key, original_names
from lfads_tf2.program.results import COUNTERS, OPTIMISER_SLOTS, read_params
from lfads_tf2.settings.checkpoint_files import step_of
from lfads_tf2.training.checkpoints import DAMAGED, is_original, readable, why
from lfads_tf2.training.schedules import TrainingState

log = logging.getLogger("lfads_tf2")


class ModelFileError(LFADSError, ValueError):
    """A file of weights that cannot be read or does not fit the model."""


class Loaded(NamedTuple):
    """What a file of weights records beside them."""

    step: int  # training step; 0 if it does not say
    learning_rate: float | None = None


def load_original(model: LFADS, path: Path) -> Loaded:
    """Sets all weights from a model_params HDF5 file or a TensorFlow 1 checkpoint.

    Args:
        model: with the hyperparameters and sessions that the weights were trained with.
        path: an HDF5 file, or a checkpoint's prefix (``.../lfads_vae-1234``).

    Returns:
        The training step and learning rate that the file records.

    Raises:
        ModelFileError: unreadable, or variables are missing, unexpected or of another shape; all are listed.
    """
    values = _read(path)
    weights = {file_key(name): weight for name, weight in original_names(model).items()}
    found = {key: value for key, value in values.items() if not key.endswith((*OPTIMISER_SLOTS, *COUNTERS))}
    problems = [f"missing: {key} {weights[key].shape}" for key in sorted(weights.keys() - found.keys())]
    problems += [f"unexpected: {key} {found[key].shape}" for key in sorted(found.keys() - weights.keys())]
    for key in sorted(weights.keys() & found.keys()):
        if tuple(found[key].shape) != tuple(weights[key].shape):
            problems.append(f"wrong shape: {key} is {found[key].shape} there, {weights[key].shape} in this model")
        elif not np.all(np.isfinite(found[key])):
            problems.append(f"not finite: {key} holds NaN or infinity")
    if problems:
        shown = problems[:25] + ([f"... and {len(problems) - 25} more"] if len(problems) > 25 else [])
        raise ModelFileError(
            f"--model_params_file: {path} does not fit this model; give the hyperparameters it was trained with and "
            "data whose session names and channels match:\n  " + "\n  ".join(shown)
        )
    for key, weight in weights.items():
        weight.assign(found[key])
    return Loaded(int(values.get("LFADS_global_step:0", 0)), values.get("LFADS_learning_rate:0"))


def _read(path: Path) -> dict[str, np.ndarray]:
    """Arrays by key of a model_params file (``/`` as ``_``)."""
    if path.is_file() and h5py.is_hdf5(path):
        try:
            return read_params(path)
        except OSError as error:
            raise ModelFileError(
                f"--model_params_file: {path} is truncated or damaged; copy it again ({error})"
            ) from error
    if path.with_name(path.name + ".index").exists():
        if not is_original(path):
            raise ModelFileError(
                f"--model_params_file: {path} is a checkpoint of this program; give its folder as --lfads_save_dir, or "
                "export it with --kind=write_model_params and give that file"
            )
        try:
            with readable(path) as name:
                reader = tf.train.load_checkpoint(name)
                names = reader.get_variable_to_shape_map()
                return {file_key(name) + ":0": np.asarray(reader.get_tensor(name)) for name in names}
        except DAMAGED as error:
            raise ModelFileError(f"--model_params_file: the checkpoint {path} is damaged ({why(error)})") from error
    raise ModelFileError(
        f"--model_params_file must be a model_params HDF5 file or the prefix of a TensorFlow 1 checkpoint (a path to "
        f"which .index can be added), got {path}, which is {'neither' if path.exists() else 'not there'}"
    )


def load_checkpoint(model: LFADS, prefix: Path) -> Loaded:
    """Sets all weights from a checkpoint, ours or the original's."""
    state = tf.Variable("", dtype=tf.string)
    saved = tf.train.Checkpoint(model=model, training_state=state)
    try:
        original = is_original(prefix)
        if not original:
            with readable(prefix) as path:
                saved.read(path).assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError) as error:
        raise ModelFileError(
            f"--lfads_save_dir: the checkpoint {prefix} does not fit this model: {why(error)}"
        ) from error
    except DAMAGED as error:
        raise ModelFileError(
            f"--lfads_save_dir: the checkpoint {prefix} is damaged ({why(error)}); name another one with "
            "--checkpoint_pb_load_name, or remove its name from the state file"
        ) from error
    if original:
        return load_original(model, prefix)
    trained = TrainingState.from_json(state.numpy().decode())
    if trained.failed:
        log.warning("The training of this model ended with an error: %s", trained.failed)
    return Loaded(step_of(prefix), trained.learning_rate)


def parameters(model: LFADS, loaded: Loaded) -> dict[str, np.ndarray]:
    """Every weight under the original's name, with its global step and learning rate."""
    named = {name: weight.numpy() for name, weight in original_names(model).items()}
    named["LFADS/global_step:0"] = np.array(loaded.step, np.int64)
    if loaded.learning_rate is not None:
        named["LFADS/learning_rate:0"] = np.array(loaded.learning_rate, np.float32)
    return named
