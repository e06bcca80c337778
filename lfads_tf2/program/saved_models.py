"""A trained model in a folder, with all that is needed to infer with it again, without its data."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

from lfads_tf2.errors import RunError
from lfads_tf2.files import write_text
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.program import model_files
from lfads_tf2.program.model_building import single_precision
from lfads_tf2.program.results import params_path, write_params
from lfads_tf2.settings import run_folder
from lfads_tf2.settings.run_folder import RunRecord
from lfads_tf2.types import ModelSpec, SessionShape

FORMAT_VERSION = 1


class SavedModel(NamedTuple):
    """What a folder says of its model."""

    folder: Path
    spec: ModelSpec
    step: int  # of training
    facts: dict[str, Any]  # of whoever saved it

    def set_weights(self, model: LFADS) -> None:
        """Sets a model's weights. Raises RunError when they are damaged or do not fit it."""
        try:
            model_files.load_original(model, params_path(self.folder, ""))
        except model_files.ModelFileError as error:
            raise RunError(f"{self.folder} holds no whole model: {error}") from error


def save(folder: Path, model: LFADS, step: int, facts: dict[str, Any]) -> None:
    """Writes a model's weights (as ``model_params``), settings and sizes.

    Args:
        folder: made where it is not there.
        model, step: trained so far.
        facts: what else is to be known; JSON must be able to hold it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if run_folder.read(folder) is None:
        RunRecord.of(model.spec).write(folder, step)
    write_params(params_path(folder, ""), model_files.parameters(model, model_files.Loaded(step)))
    content = {"format_version": FORMAT_VERSION, "spec": dataclasses.asdict(model.spec), "step": step, "facts": facts}
    write_text(folder / run_folder.SAVED_MODEL, json.dumps(content, indent=1))


def read(folder: Path) -> SavedModel:
    """What ``save`` wrote, but for the weights.

    Raises:
        RunError: the folder holds no saved model, a damaged one, or one of a later version.
    """
    path = folder / run_folder.SAVED_MODEL
    if not path.is_file():
        raise RunError(
            f"{folder} holds no saved model ({run_folder.SAVED_MODEL} is not there); give a folder that save() or "
            "fit() wrote to"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format_version"]
        if version != FORMAT_VERSION:
            raise RunError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}; update")
        spec = dict(content["spec"])
        spec["hyperparameters"] = HyperParameters(**spec["hyperparameters"])
        spec["sessions"] = tuple(SessionShape(**shape) for shape in spec["sessions"])
        return SavedModel(folder, ModelSpec(**spec), int(content["step"]), dict(content["facts"]))
    except (OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({error}); fit and save again") from error


def built(spec: ModelSpec, native: bool) -> LFADS:
    """A model of these sizes, to set weights of and infer with."""
    with single_precision():
        return LFADS(spec, native=native, for_training=False)
