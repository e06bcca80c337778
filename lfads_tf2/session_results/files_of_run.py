"""Where a run's result files are, and the session files that they came from."""

from __future__ import annotations

from pathlib import Path

from lfads_tf2.program.results import runs_path
from lfads_tf2.session_results.errors import ResultsError
from lfads_tf2.session_results.trial_order import HALVES
from lfads_tf2.settings.run_folder import command, models_in, places_in

# The last is what older versions of the original wrote.
KINDS = ("posterior_sample_and_average", "posterior_push_mean", "posterior_sample")


def result_files(
    output: Path, session: str, kind: str | None = None, stem: str = ""
) -> tuple[str | None, dict[str, Path]]:
    """The first kind of which a session has result files, and the files by half; None and none when there are none."""
    for one in KINDS if kind is None else (kind,):
        files = {half: runs_path(output, stem, one, session, half) for half in HALVES}
        files = {half: path for half, path in files.items() if path.exists()}
        if files:
            return one, files
    return None, {}


def sessions_with_results(output: Path) -> list[str]:
    """Names of the sessions that have result files in a folder."""
    found = set()
    for path in output.glob("model_runs_*") if output.is_dir() else ():
        for kind in KINDS:
            for half in HALVES:
                if path.name.endswith(f"_{half}_{kind}"):
                    found.add(path.name.removeprefix("model_runs_").removesuffix(f"_{half}_{kind}"))
    return sorted(found)


def has_results(run: Path) -> bool:
    """Whether ``results_folder`` would find results."""
    return bool(places_in(run, sessions_with_results))


def results_folder(run: Path) -> Path:
    """The folder of the result files of a run, which may be given as the folder around it.

    Raises:
        ResultsError: there is no such folder, no results in it, or results in several places of it.
    """
    if not run.is_dir():
        raise ResultsError(f"{run}: there is no such folder; give a run's folder")
    if sessions_with_results(run):
        return run
    found = places_in(run, sessions_with_results)
    if len(found) > 1:
        raise ResultsError(f"{run} holds several runs' results; give one of {', '.join(map(str, found))}")
    if not found:
        how = ", or ".join(command(place) for place in models_in(run)) or "lfads infer DATA"
        raise ResultsError(
            f"{run} holds no results (model_runs_* of sessions); infer them first ({how}), or give the folder of a run "
            "that has them"
        )
    return found[0]


def data_file(session: str, output: Path, data_dir: Path | None, stem: str, recorded_dir: str) -> Path | None:
    """The file that a session's results were inferred from; None where it is not found.

    Args:
        session: its name in the result files.
        output: the folder of the result files.
        data_dir: where to look; None: where the run says, then beside the results.
        stem: ``data_filename_stem``.
        recorded_dir: ``data_dir`` as the run recorded it, or nothing.

    Raises:
        ResultsError: ``data_dir`` is given and has no such file.
    """
    names = dict.fromkeys([f"{stem}_{session}" if stem else session, session, f"{session}.h5"])
    folders = [Path(recorded_dir)] if recorded_dir else []
    folders += [output.parent / "lfadsInput", output.parent, output.parent.parent]
    for folder in folders if data_dir is None else [data_dir]:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    if data_dir is not None:
        raise ResultsError(f"{data_dir} has no file of the session {session}; it would be called {next(iter(names))}")
    return None
