"""From a run's folder to its results, one object a session."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from lfads_tf2.data.extras import read_bin_width, read_conditions, read_indices
from lfads_tf2.errors import LFADSError
from lfads_tf2.program import sealed_hdf5
from lfads_tf2.session_results.errors import ResultsError
from lfads_tf2.session_results.files_of_run import data_file, result_files, results_folder, sessions_with_results
from lfads_tf2.session_results.inferred_from import layout, opened, refuse_other_data, target_shapes, trials_of
from lfads_tf2.session_results.recording_link import read_link
from lfads_tf2.session_results.results import SessionResults
from lfads_tf2.session_results.trial_order import HALVES, TrialOrder
from lfads_tf2.settings import run_folder
from lfads_tf2.settings.checkpoint_files import LOWEST_VALIDATION, ROLLING, newest, step_of

log = logging.getLogger("lfads_tf2")


class UnknownSession(ResultsError, KeyError):
    """A session that a run has no results of."""

    __str__ = Exception.__str__


class RunResults(Mapping):
    """Results of a run by session, under the sessions' names with or without ``.h5``.

    With one session, what that session's results have can be asked of the run: ``load_results(run).rates``.
    """

    def __init__(self, folder: Path, sessions: dict[str, SessionResults]):
        self.folder, self._sessions = folder, sessions

    def __getitem__(self, name: str) -> SessionResults:
        for known in (name, f"{name}.h5"):
            if known in self._sessions:
                return self._sessions[known]
        raise UnknownSession(f"{self.folder} has no results of a session {name!r}; it has {', '.join(self._sessions)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._sessions)

    def __len__(self) -> int:
        return len(self._sessions)

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        if len(self._sessions) != 1:
            names = ", ".join(map(repr, self._sessions))
            raise AttributeError(f"{self.folder} holds several sessions; choose one of {names}: results[NAME].{name}")
        return getattr(next(iter(self._sessions.values())), name)

    def __repr__(self) -> str:
        return f"<results of {', '.join(self._sessions)} in {self.folder}>"


def load_results(
    run: str | Path,
    data_dir: str | Path | None = None,
    kind: str | None = None,
    bin_ms: float | None = None,
    output_filename_stem: str = "",
    sessions: list[str] | None = None,
) -> RunResults:
    """Everything that was inferred in a run, a session after the other.

    Results of weights that the run has trained on from since are a warning of the logger ``lfads_tf2``.

    Args:
        run: the run's folder (``lfads_save_dir``), the data folder that holds ``lfads_output``, a run manager's run, or
            a search.
        data_dir: folder of the session files; None: where the run says, or around its folder.
        kind: of inference, ``posterior_sample_and_average`` or ``posterior_push_mean``; None: the first that is there.
        bin_ms: bin width, where the files do not say.
        output_filename_stem: with which the results were written; then ``sessions`` are needed.
        sessions: names; None: all that have results.

    Raises:
        ResultsError: no results, or files that do not belong together: session files among them that are not the data
            any more that the results were inferred from.
    """
    folder = results_folder(Path(run)) if not output_filename_stem else Path(run)
    record = run_folder.read(folder)
    settings = {} if record is None else record.hyperparameters
    stem, recorded = settings.get("data_filename_stem", ""), settings.get("data_dir", "")
    found = {}
    for name in sessions_with_results(folder) if sessions is None else sessions:
        file = data_file(name, folder, None if data_dir is None else Path(data_dir), stem, recorded)
        known = None if record is None or name not in record.sessions else record.sessions[name].channels
        found[name] = load_session(folder, name, file, kind, bin_ms, known, stem=output_filename_stem)
    _say_if_older(folder, found, recorded if data_dir is None else str(data_dir))
    return RunResults(folder, found)


def _say_if_older(folder: Path, sessions: dict[str, SessionResults], data_dir: str) -> None:
    """A line where results are of weights that are neither the lowest-validation nor the newest ones any more."""
    there = [step_of(path) for state in (LOWEST_VALIDATION, ROLLING) if (path := newest(folder, state)) is not None]
    old = {
        name: one
        for name, one in sessions.items()
        if "checkpoint_step" in one.attributes and one.attributes["checkpoint_step"] not in there
    }
    if there and old:
        one = next(iter(old.values()))
        log.warning(
            "%s: the results of %s are older than the model: they come from training step %d, inference would now take "
            "step %d. Infer again: %s",
            folder, ", ".join(old), one.attributes["checkpoint_step"], there[0],
            run_folder.command(folder, data_dir, one.kind),
        )  # fmt: skip


def load_session(
    output: Path,
    name: str,
    data_file: Path | None = None,
    kind: str | None = None,
    bin_ms: float | None = None,
    channels: int | None = None,
    positions: dict[str, np.ndarray] | None = None,
    stem: str = "",
) -> SessionResults:
    """Results of one session.

    Args:
        output: the program's lfads_save_dir.
        name: the session's name there, such as ``dataset001.h5``.
        data_file: the input file, for trial order, conditions, the recording's clock, counts and truth; may be absent.
        kind: of inference; None: the first that is there.
        bin_ms: bin width, where the files do not say.
        channels: that are reconstructed, where the result file does not say.
        positions: of each half's trials in the recording, where they are known from elsewhere. Without them and the
            data file's own, training trials come first.
        stem: with which the results were written.

    Raises:
        ResultsError: no results, or halves that do not belong together.
    """
    kind, files = result_files(output, name, kind, stem)
    if kind is None:
        raise ResultsError(f"{output} has no posterior means of {name}; infer them: {run_folder.command(output)}")
    attributes, lengths, shape = _checked(output, name, files)
    facts = {} if data_file is None or not data_file.exists() else _facts(data_file)
    if facts:
        refuse_other_data(output, name, data_file, attributes, shape[0], facts["layout"])
    link = facts.get("link")
    positions = positions or facts.get("positions") or _train_first(facts.get("lengths") or lengths)
    for half, length in lengths.items():
        known = len(positions.get(half, ()))
        if length > known:
            raise ResultsError(
                f"{files[half]} has {length} trials and {data_file or 'the recording'} has {known} in its {half} half; "
                "give the data that these results came from"
            )
    for half in sorted(facts.get("lengths", {}).keys() - files.keys()):
        log.warning("%s: the results of the %s trials of %s are missing; their values are NaN.", output, half, name)
    order = TrialOrder.of(positions)
    places = (link and link.bin_ms, attributes.get("bin_width_ms"), facts.get("bin_ms"), bin_ms)
    conditions = facts.get("conditions")
    return SessionResults(
        name, kind, files, order, attributes,
        int(attributes.get("channels", channels or shape[1] // _parameters_per_channel(attributes))),
        next((float(place) for place in places if place is not None), None),
        data_file if facts else None, None if not conditions else order.gathered(conditions), link,
    )  # fmt: skip


def _checked(output: Path, name: str, files: dict[str, Path]) -> tuple[dict, dict[str, int], tuple[int, int]]:
    """Attributes, trials of each half, and bins and channels of the rates of result files that belong together."""
    attributes, keys, lengths, shapes = {}, {}, {}, {}
    for half, path in files.items():
        try:
            sealed_hdf5.check(path)
            with h5py.File(path, "r") as file:
                attributes = attributes or dict(file.attrs)
                keys[half] = set(file)
                rates = file["output_dist_params"]
                lengths[half], shapes[half] = len(rates), rates.shape[1:]
        except (OSError, KeyError, AttributeError, TypeError) as error:
            raise ResultsError(f"{path} is no result file, or damaged ({error}); infer again") from None
    if len(keys) == 2 and keys["train"] != keys["valid"]:
        differ = sorted(keys["train"] ^ keys["valid"])
        raise ResultsError(f"{output}: train and valid results of {name} hold different keys: {differ}")
    if len(set(shapes.values())) > 1:
        raise ResultsError(f"{output}: train and valid results of {name} have bins x channels {shapes}; infer again")
    return attributes, lengths, next(iter(shapes.values()))


def _facts(path: Path) -> dict:
    """What a session's file says of its trials, without reading their data."""
    try:
        link = read_link(path)
        with h5py.File(path, "r") as handle:
            file = opened(handle, path)
            shapes = target_shapes(file)
            lengths = trials_of(shapes)
            positions = read_indices(file, lengths)
            conditions = {half: read_conditions(file, half, lengths[half]) for half in lengths}
            width = read_bin_width(file)
    except LFADSError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ResultsError(f"{path} cannot be read ({error})") from None
    if file.problems:
        raise ResultsError("\n".join(file.problems))
    placed = layout(shapes, width, positions, link)
    if link is not None:
        given = {half: len(index) for half, index in link.trial_index.items()}
        if given != lengths:
            raise ResultsError(f"{path}: recording has trials {given} and the data {lengths}; import the file again")
        positions, conditions = link.trial_index, conditions if any_of(conditions) else link.conditions
    there = positions and all(positions.get(half) is not None for half in lengths)
    return {
        "link": link, "lengths": lengths, "bin_ms": width, "layout": placed,
        "positions": {half: positions[half] for half in lengths} if there else None,
        "conditions": conditions if any_of(conditions) and len(conditions) == len(lengths) else None,
    }  # fmt: skip


def any_of(halves: dict) -> bool:
    """Whether every half has a value."""
    return bool(halves) and all(value is not None for value in halves.values())


def _train_first(lengths: dict[str, int]) -> dict[str, np.ndarray]:
    starts = {"train": 0, "valid": lengths.get("train", 0)}
    return {half: starts[half] + np.arange(lengths[half]) for half in HALVES if half in lengths}


def _parameters_per_channel(attributes: dict) -> int:
    """The units name the parameters that follow each other: ``means, then variances``."""
    return 1 + str(attributes.get("units", "")).count(", then ")
