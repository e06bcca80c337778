"""What a search keeps in its folder: its state, the models of the last generation, the fit log and the history.

Everything that a generation changes takes effect with one rename, that of ``population.json``: a kill at any moment
leaves the state after one generation or after the next, and the models that had finished in between.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lfads_tf2.errors import LFADSError
from lfads_tf2.files import atomic_path, write_text
from lfads_tf2.training.fit_log import lines_of, say_if_changed, say_left_out

log = logging.getLogger("lfads_tf2")

STATE_FOLDER, STATE_FILE, PLAN = "population", "population.json", "plan.json"
FIT_LOG, HISTORY = "fitlog.csv", "pbt_history.json"
AGAIN = "start again in a new --lfads_save_dir"


def to_json(value: Any, **options) -> str:
    """JSON in which NaN and infinities are null, so that every reader takes it."""

    def clean(part):
        if isinstance(part, dict):
            return {key: clean(item) for key, item in part.items()}
        if isinstance(part, list | tuple):
            return [clean(item) for item in part]
        return None if isinstance(part, float) and not math.isfinite(part) else part

    return json.dumps(clean(value), allow_nan=False, **options)


def with_checksum(content: dict[str, Any]) -> dict[str, Any]:
    """The same content with a checksum of all of it."""
    return content | {"checksum": _checksum(content)}


def checked(path: Path) -> dict[str, Any]:
    """What ``with_checksum`` made and a file holds; earlier versions' files have no checksum and are taken as they are.

    Raises:
        DamagedRecord: it is not readable, or was changed after it was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = content.pop("checksum", None)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedRecord(f"--resume: {path} cannot be read ({error}); {AGAIN}") from None
    if known not in (None, _checksum(content)):
        raise DamagedRecord(f"--resume: {path} was damaged after it was written; {AGAIN}")
    return content


def _checksum(content: dict[str, Any]) -> int:
    return zlib.crc32(to_json(content, sort_keys=True).encode())


def score_from(value: float | None) -> float:
    """A number that ``to_json`` wrote."""
    return math.nan if value is None else float(value)


class DamagedRecord(LFADSError, ValueError):
    """A file of a search that cannot be read; the message says what to do."""


class Records:
    """Files of one search.

    Args:
        folder: the run folder; made if it is not there.
    """

    def __init__(self, folder: Path):
        self.folder, self.states = Path(folder), Path(folder) / STATE_FOLDER
        self.states.mkdir(parents=True, exist_ok=True)

    def exists(self) -> bool:
        """Whether there is a search to go on with."""
        return (self.states / STATE_FILE).exists()

    def read(self) -> dict[str, Any]:
        """The state after the last whole generation.

        Raises:
            DamagedRecord: the file is damaged.
        """
        path = self.states / STATE_FILE
        state = checked(path)
        missing = {"workers", "epoch", "generation", "members", "history", "seed"} - set(state)
        if missing:
            raise DamagedRecord(f"--resume: {path} lacks {', '.join(sorted(missing))}; {AGAIN}")
        return state

    def write_plan(self, size: dict[str, int]) -> None:
        """Keeps the options that a budget decided, so that the search goes on with them."""
        write_text(self.states / PLAN, to_json(with_checksum(size)))

    def plan(self) -> dict[str, int] | None:
        """What ``write_plan`` kept; None where the search was not planned.

        Raises:
            DamagedRecord: it cannot be read.
        """
        path = self.states / PLAN
        return checked(path) if path.exists() else None

    def commit(self, state: dict[str, Any]) -> None:
        """Makes a generation count, writes the history, and removes models that nothing needs any more."""
        write_text(self.states / STATE_FILE, to_json(with_checksum(state), indent=1))
        write_text(self.folder / HISTORY, to_json(state["history"], indent=1))
        needed = {member["state"] for member in state["members"]}
        needed |= {(state.get(one) or {}).get("state") for one in ("best", "first", "polish")}
        for path in self.states.glob("generation_*"):
            # The next generations may be under way already. As numbers: names of five digits sort before those of four.
            number = path.name.rpartition("_")[2]
            if not number.isdigit() or int(number) >= state["generation"]:
                continue
            for model in [*path.glob("worker_*"), *path.glob(".worker_*.tmp")]:
                if f"{path.name}/{model.name}" not in needed:
                    model.unlink(missing_ok=True)
            # What somebody else put there stays.
            with contextlib.suppress(OSError):
                path.rmdir()

    @staticmethod
    def generation_name(generation: int) -> str:
        """Folder of the models that a generation made."""
        return f"generation_{generation:04d}"

    def _model(self, generation: int, worker: int) -> Path:
        return (self.states / self.model_name(generation, worker)).with_suffix("")

    @classmethod
    def model_name(cls, generation: int, worker: int) -> str:
        """What ``population.json`` calls the model of a worker after a generation."""
        return f"{cls.generation_name(generation)}/worker_{worker:03d}.npz"

    @staticmethod
    def generation_and_worker(name: str) -> tuple[int, int]:
        """What ``model_name`` made a name of."""
        generation, worker = re.fullmatch(r"generation_(\d+)/worker_(\d+)\.npz", name).groups()
        return int(generation), int(worker)

    def write_result(self, generation: int, worker: int, rows: list[dict], state: bytes) -> None:
        """A worker has finished a generation. The rows come last: where they are, the model is whole."""
        path = self._model(generation, worker)
        self.write_model(self.model_name(generation, worker), state)
        text = json.dumps(rows)
        content = {"rows": text, "model": zlib.crc32(state)}
        write_text(path.with_suffix(".json"), to_json(with_checksum(content)))

    def write_model(self, name: str, state: bytes) -> None:
        """A model in its place; ``name`` as ``model_name`` gives it."""
        path = self.states / name
        path.parent.mkdir(exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(state)

    def result(self, generation: int, worker: int) -> list[dict] | None:
        """Rows of a worker that has finished this generation, else None; one whose files are damaged trains again."""
        path = self._model(generation, worker).with_suffix(".json")
        if not path.exists():
            return None
        try:
            content = checked(path)
            if zlib.crc32(path.with_suffix(".npz").read_bytes()) != content["model"]:
                raise DamagedRecord(f"{path.with_suffix('.npz')} was damaged after it was written")
            return json.loads(content["rows"])
        except (OSError, ValueError, KeyError) as error:
            log.warning("%s; worker %d trains generation %d again.", str(error).split(";")[0], worker, generation)
            return None

    def model_state(self, name: str | None) -> bytes | None:
        """The model that ``model_name`` named; None for a fresh one.

        Raises:
            DamagedRecord: it cannot be read, or one of its arrays does not match its checksum.
        """
        if name is None:
            return None
        path = self.states / name
        try:
            content = path.read_bytes()
            # Models are NPZ files, in which every array has a checksum; damage may be at either end.
            is_npz = b"PK" in (content[:2], content[-22:-20])
            wrong = zipfile.ZipFile(io.BytesIO(content)).testzip() if is_npz else None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
            raise DamagedRecord(f"--resume: {path} cannot be read ({error}); {AGAIN}") from error
        if wrong:
            raise DamagedRecord(f"--resume: {path} was damaged after it was written ({wrong}); {AGAIN}")
        return content

    def model_problem(self, name: str) -> str | None:
        """Why a model cannot be used, in words; None for a whole one."""
        try:
            content = self.model_state(name)
            path = (self.states / name).with_suffix(".json")
            # Those of earlier generations have gone.
            with contextlib.suppress(OSError, DamagedRecord, KeyError):
                if checked(path)["model"] != zlib.crc32(content):
                    return f"{self.states / name} was damaged after it was written"
        except DamagedRecord as error:
            return str(error).removeprefix("--resume: ").partition(";")[0]
        return None

    def append_fit_log(self, rows: list[dict[str, float]], checksum: int) -> int:
        """Adds a generation's rows in one write; the checksum of the log before and after them."""
        path = self.folder / FIT_LOG
        # Not every epoch has every figure.
        columns = list(dict.fromkeys(name for row in rows for name in row))
        if path.exists():
            with path.open(encoding="utf-8", newline="") as f:
                columns = next(csv.reader(f), columns)
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, extrasaction="ignore", restval="", lineterminator="\n")
        if not path.exists():
            writer.writeheader()
        writer.writerows(rows)
        with path.open("a", encoding="utf-8", newline="") as f:
            f.write(text.getvalue())
        return zlib.crc32(text.getvalue().encode(), checksum)

    def trim_fit_log(self, epochs: int, known: int | None) -> int:
        """Removes rows of epochs from ``epochs`` on, and lines that a kill or damage left unreadable.

        Says what is not as it was written, by the checksum that is known, and returns that of what stays.
        """
        path = self.folder / FIT_LOG
        lines = lines_of(path) if path.exists() else []
        header = lines[0].strip().split(",") if lines else []
        if "epoch" in header and lines[0].endswith("\n"):
            found = [(line, row) for line in lines[1:] if (row := _row(line, header)) is not None]
            say_left_out(path, len(lines) - 1 - len(found))
            kept = lines[0] + "".join(line for line, row in found if row["epoch"] < epochs)
            write_text(path, kept)
        else:
            kept = ""
            path.unlink(missing_ok=True)
        checksum = zlib.crc32(kept.encode())
        say_if_changed(path, checksum, {} if known is None else {path.name: known})
        return checksum


def _row(line: str, header: list[str]) -> dict[str, float] | None:
    """Numbers of a line by column; None for a line that is damaged."""
    try:
        row = {n: float(v or "nan") for n, v in zip(header, line.rstrip("\n").split(","), strict=True)}
    except ValueError:
        return None
    return row if line.endswith("\n") and float(row["epoch"]).is_integer() else None


def read_fit_log(path: Path) -> dict[str, np.ndarray]:
    """Columns of a search's fit log by name; empty entries are NaN."""
    with Path(path).open(encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in (rows[0] if rows else ())}


def lineage(history: list[dict], worker: int) -> list[int]:
    """Which worker trained what became ``worker`` at the end, generation by generation, first to last."""
    line = [worker]
    for entry in reversed(history[:-1]):
        sources = {event["worker"]: event["copied_from"] for event in entry["replaced"]}
        line.append(sources.get(line[-1], line[-1]))
    return line[::-1]


def best_epoch(history: list[dict], best: dict) -> int:
    """Epochs that the best model had trained; versions before this one kept the generation alone."""
    ends = {entry["generation"]: entry["epoch"] for entry in history}
    return best.get("epoch", ends.get(best["generation"], 0))
