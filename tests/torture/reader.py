"""A process that reads one damaged file after another and says how it ended; whoever starts it can end it."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import traceback
from pathlib import Path

import numpy as np

from lfads_tf2.errors import LFADSError


def session(path: Path) -> object:
    """As ``lfads train`` reads a data folder."""
    from lfads_tf2.data import read_sessions
    from lfads_tf2.hyperparameters import HyperParameters

    return [s.train.data for s in read_sessions(HyperParameters(data_dir=str(path.parent)))]


def recording(path: Path) -> object:
    """As ``lfads import`` reads a file or a sorted folder."""
    from lfads_tf2.recordings.cutting import cut
    from lfads_tf2.recordings.reading import read
    from lfads_tf2.recordings.trials import CutOptions

    path = path.parent if path.parent.name == "sorted" else path
    found = read(path, axes="time,units", bin_ms=1.0)
    return cut(found, CutOptions(chop=100.0, bin_ms=10.0)).counts


def settings(path: Path) -> object:
    """As ``--config`` is read, for a training and for a search."""
    from lfads_tf2.autolfads.files import read_config
    from lfads_tf2.settings.yaml_files import read_yaml

    found = []
    for reader in (read_yaml, read_config):
        try:
            found.append(repr(reader(path)))
        except LFADSError:
            found.append("refused")
    return found


def record(path: Path) -> object:
    """As the settings of a run folder are read."""
    from lfads_tf2.settings import run_folder

    return repr(run_folder.read(path.parent))


def exported(path: Path) -> object:
    """As ``lfads online`` reads a model."""
    from lfads_tf2.online import ExportedModel

    return list(ExportedModel.load(path).weights.values())


def results(path: Path) -> object:
    """As result files are read."""
    from lfads_tf2.program.results import read_runs

    return list(read_runs(path)[0].values())


READERS = {reader.__name__: reader for reader in (session, recording, settings, record, exported, results)}


def digest(value: object) -> str:
    """Of arrays and texts, in order."""
    total = hashlib.sha256()
    for part in value if isinstance(value, list) else [value]:
        array = np.asarray(part)
        total.update(f"{array.shape}{array.dtype}".encode() + array.tobytes() if array.dtype.kind != "O" else b"object")
    return total.hexdigest()


def attempt(name: str, path: Path) -> dict[str, str]:
    """How one reading ended."""
    try:
        return {"end": "read", "digest": digest(READERS[name](path))}
    except LFADSError as error:
        lines = str(error).splitlines()
        return {"end": "refused" if len(lines) <= 40 else "too long", "said": str(error)[:300]}
    except Exception:
        return {"end": "traceback", "said": traceback.format_exc()[-1500:]}


def main() -> None:
    """Answers each line of standard input, ``[reader, path]``, with a line of JSON."""
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        name, path = json.loads(line)
        print(json.dumps(attempt(name, Path(path))), flush=True)


if __name__ == "__main__":
    main()
