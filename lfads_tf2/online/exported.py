"""One file with everything that a stream needs: weights under the original's names, settings and sessions."""

from __future__ import annotations

import dataclasses
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from lfads_tf2.errors import LFADSError
from lfads_tf2.files import atomic_path

FORMAT_VERSION = 1
# What the arithmetic of a stream depends on; sizes are those of the weights.
SETTINGS = (
    "output_dist", "gamma_loc", "_clip_value", "cell_clip_value", "ext_input_dim", "inject_ext_input_to_gen",
    "num_steps_for_gen_ic", "ic_enc_seq_len", "controller_input_lag", "do_causal_controller",
    "do_feed_factors_to_controller", "feedback_factors_or_rates",
)  # fmt: skip
OBSERVATIONS = ("poisson", "gaussian", "gamma", "zero_inflated_gamma")


class OnlineError(LFADSError, ValueError):
    """A model that cannot be stepped, or bins that do not fit it; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class ExportedModel:
    """A trained model as arrays.

    ``weights``: by the key of a model_params file, such as ``LFADS_gen_gen_2_fac_W:0``. ``settings``: the values of
    SETTINGS. ``sessions``: channels that are reconstructed, by session name in the model's order. ``encoded``:
    channels that the encoders read. ``num_bins``: of the trials that the model was trained on, those of the initial
    condition included.
    """

    weights: dict[str, np.ndarray]
    settings: dict[str, Any]
    sessions: dict[str, int]
    encoded: dict[str, int]
    num_bins: int

    def weight(self, name: str) -> np.ndarray:
        """A weight by its name without ``LFADS/`` and ``:0``, float32."""
        return self.weights[_key(name)]

    def has(self, name: str) -> bool:
        """Whether the model has this weight."""
        return _key(name) in self.weights

    def save(self, path: str | Path) -> Path:
        """Writes the file, atomically."""
        facts = {"format_version": FORMAT_VERSION, "settings": self.settings, "sessions": self.sessions}
        facts |= {"encoded": self.encoded, "num_bins": self.num_bins}
        path = Path(path).expanduser()
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, facts=np.array(json.dumps(facts)), **self.weights)
        return path

    @classmethod
    def load(cls, path: str | Path) -> ExportedModel:
        """Reads a file that ``save`` wrote; nothing in it is unpickled.

        Raises:
            OnlineError: not there, not such a file, damaged, or of a later version.
        """
        path = Path(path).expanduser()
        try:
            with np.load(path, allow_pickle=False) as file:
                facts = json.loads(str(file["facts"]))
                weights = {key: file[key] for key in file.files if key != "facts"}
            version = facts["format_version"]
            if version != FORMAT_VERSION:
                raise OnlineError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}; update")
            settings = {name: facts["settings"][name] for name in SETTINGS}
            return cls(weights, settings, dict(facts["sessions"]), dict(facts["encoded"]), int(facts["num_bins"]))
        except FileNotFoundError:
            raise OnlineError(f"there is no file {path}; export a model with lfads online RUN --to {path}") from None
        except (
            OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError, EOFError,
            zipfile.BadZipFile,
        ) as error:  # fmt: skip
            if isinstance(error, OnlineError):
                raise
            raise OnlineError(f"{path} is not a whole exported model ({error}); export it again") from error


def _key(name: str) -> str:
    return f"LFADS_{name.replace('/', '_')}:0"


def export(run_folder: str | Path, to: str | Path) -> Path:
    """Exports the model of a run folder to one file, from its ``model_params`` and hyperparameters.

    Args:
        run_folder: a run folder in which ``lfads export-params`` has written ``model_params``.
        to: the file to write, such as ``model.npz``.

    Raises:
        OnlineError: there is no such model, the weights are older than the lowest-validation checkpoint, or its
            observation model or read-out is a class of the user's own.
    """
    from lfads_tf2.program.results import params_path, read_params
    from lfads_tf2.settings import run_folder as records

    folder = Path(run_folder).expanduser()
    record, path = records.read(folder), params_path(folder, "")
    if record is None or not path.exists():
        what = "hyperparameters-*.txt" if record is None else path.name
        raise OnlineError(f"{folder} has no {what}; train there and run lfads export-params, then export again")
    weights = read_params(path)
    _check_current(folder, int(weights.pop("LFADS_global_step:0", -1)))
    weights.pop("LFADS_learning_rate:0", None)
    settings = {name: record.hyperparameters[name] for name in SETTINGS}
    if settings["output_dist"] not in OBSERVATIONS:
        raise OnlineError(
            f"--output_dist={settings['output_dist']} is a class of your own; streams know {', '.join(OBSERVATIONS)}"
        )
    bins = int(record.num_bins or 0) + int(settings["ic_enc_seq_len"])
    weights = {key: np.asarray(value, np.float32) for key, value in weights.items()}
    sessions = {name: session.channels for name, session in record.sessions.items()}
    encoded = {name: session.encoded for name, session in record.sessions.items()}
    return ExportedModel(weights, settings, sessions, encoded, bins).save(to)


def _check_current(folder: Path, step: int) -> None:
    """Refuses parameters that an earlier checkpoint left, where a later training went on in the folder."""
    found = [re.fullmatch(r".*_lve-(\d+)\.index", path.name) for path in folder.glob("*_lve-*.index")]
    newest = max((int(match[1]) for match in found if match), default=step)
    if 0 <= step < newest:
        raise OnlineError(
            f"{folder}/model_params is of step {step}, the lowest-validation checkpoint of step {newest}; run "
            "lfads export-params again, then export"
        )
