"""What a run folder records of its model: the only reader and writer of ``hyperparameters-<step>.txt``."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfads_tf2.errors import SettingsError
from lfads_tf2.files import checksum, write_text
from lfads_tf2.hyperparameters import SUBCOMMANDS, declared, value_problem
from lfads_tf2.settings import checkpoint_files
from lfads_tf2.settings.mapping import coerce

if TYPE_CHECKING:
    from lfads_tf2.types import ModelSpec

log = logging.getLogger("lfads_tf2")

# Where a run folder is unless --lfads_save_dir says otherwise, in the data folder.
USUAL = "lfads_output"
# The same of a search, and where in its folder the run folder of the best model is.
OF_A_SEARCH, BEST_MODEL = "autolfads_output", "best_model"
# Where a run may lie in the folder that is given: of a run manager, of the program beside the data, and of a search.
INSIDE = ("lfadsOutput", USUAL, BEST_MODEL, f"{USUAL}/{BEST_MODEL}")
# What an estimator adds to a run folder.
SAVED_MODEL = "saved_model.json"


@dataclasses.dataclass(frozen=True)
class RecordedSession:
    """What the model knows of one session."""

    channels: int  # that are reconstructed
    encoded: int  # channels that the encoders read
    aligned: bool | None = None  # whether read-in and read-out started from an alignment; None: the file does not say


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What a run folder records of its model."""

    hyperparameters: dict[str, Any]  # by plain name
    sessions: dict[str, RecordedSession]  # by name, in the model's order; empty when the file does not say
    num_bins: int | None  # bins that the decoder ran through in training
    data: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)  # fingerprints of the training data
    path: Path | None = None  # the file that was read

    @classmethod
    def of(cls, spec: ModelSpec, data: dict[str, dict[str, Any]] | None = None) -> RunRecord:
        """The record of a model; ``data``: what it trains on, as ``data.fingerprint.fingerprints`` gives it."""
        sessions = {
            shape.name: RecordedSession(shape.num_channels, shape.encoded_channels, shape.has_alignment)
            for shape in spec.sessions
        }
        return cls(dataclasses.asdict(spec.hyperparameters), sessions, spec.num_bins, data or {})

    def write(self, folder: Path, step: int) -> Path:
        """Writes ``hyperparameters-<step>.txt``: booleans as the words that the original wrote.

        Channels that the encoders read are written where they are fewer than are reconstructed.
        """
        sessions = self.sessions.items()
        encoded = {name: session.encoded for name, session in sessions if session.encoded != session.channels}
        content = {n: str(v).lower() if isinstance(v, bool) else v for n, v in self.hyperparameters.items()} | {
            "dataset_names": list(self.sessions),
            "dataset_dims": {name: session.channels for name, session in sessions},
            "dataset_alignment": {name: s.aligned for name, s in sessions if s.aligned is not None},
            "num_steps": self.num_bins,  # the original's name for it
            "ndatasets": len(self.sessions),
        }
        optional = {"dataset_encoded_dims": encoded, "dataset_fingerprints": self.data}
        path = folder / f"hyperparameters-{step}.txt"
        content |= {key: value for key, value in optional.items() if value}
        write_text(path, json.dumps(content | {"checksum": checksum(content)}, indent=1))
        return path


def read(folder: Path) -> RunRecord | None:
    """The newest ``hyperparameters-<step>.txt`` of a folder, ours or the original's; None when there is none.

    Raises:
        SettingsError: it is not readable.
    """
    files = {}
    for path in folder.glob("hyperparameters-*.txt") if folder.is_dir() else ():
        match = re.fullmatch(r"hyperparameters-(\d+)\.txt", path.name)
        if match:
            files[int(match[1])] = path
    if not files:
        return None
    path = files[max(files)]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = content.pop("checksum", None)
        values = {name: coerce(name, value) for name, value in content.items() if name in declared()}
        sessions = {str(name): _session(content, name) for name in content.get("dataset_names", ())}
        bins = content.get("num_steps")
        bins = None if bins is None else int(bins)
        data = {str(name): dict(facts) for name, facts in content.get("dataset_fingerprints", {}).items()}
    except (OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SettingsError(
            [
                f"--lfads_save_dir: {path} is not a readable hyperparameters file: {error}; bring it back, or remove "
                "it where an earlier one lies beside it and no setting was changed since"
            ]
        ) from None
    wrong = [f"{path}: {problem}" for problem in (value_problem(n, v) for n, v in values.items()) if problem]
    # The original's "no limit" is larger than any count that is ever reached; it needs no translation.
    if wrong:
        raise SettingsError(wrong)
    if known not in (None, checksum(content)):
        log.warning("%s was changed after it was written; what it says now is used.", path)
    return RunRecord(values, sessions, bins, data, path)


def places_in(folder: Path, holds: Callable[[Path], Any]) -> list[Path]:
    """A folder and those in it where a run may lie, of which something holds; a search's only if of no other."""
    searched = folder / OF_A_SEARCH / BEST_MODEL
    found = [place for place in (folder, *(folder / name for name in INSIDE)) if holds(place)]
    return found or ([searched] if holds(searched) else [])


def models_in(folder: Path) -> list[Path]:
    """Run folders with a trained model, this one or in it."""
    return places_in(folder, checkpoint_files.for_resume)


def command(folder: Path, data_dir: str = "", kind: str = "") -> str:
    """What to type to do something in a run folder.

    Args:
        folder: the run folder.
        data_dir: of the data; empty: as the run recorded it.
        kind: of the five; any other: inference.
    """
    if not data_dir:
        record = read(folder)
        data_dir = "DATA" if record is None else record.hyperparameters.get("data_dir") or "DATA"
    words = ["lfads", SUBCOMMANDS.get(kind, "infer"), data_dir]
    return shlex.join(words if folder == Path(data_dir) / USUAL else [*words, f"--lfads_save_dir={folder}"])


def _session(content: dict[str, Any], name: Any) -> RecordedSession:
    channels = int(content["dataset_dims"][name])
    encoded = int(content.get("dataset_encoded_dims", {}).get(name, channels))
    aligned = content.get("dataset_alignment", {}).get(name)
    return RecordedSession(channels, encoded, None if aligned is None else bool(aligned))
