"""Results as processed data of an NWB file: a copy of the recording's own, or a new one with what is known."""

from __future__ import annotations

import hashlib
import logging
import shutil
import uuid
import warnings
from datetime import datetime
from pathlib import Path

import h5py
import numpy as np

from lfads_tf2 import __version__
from lfads_tf2.data.linked_files import external_links, linked_files_problem
from lfads_tf2.files import atomic_path, hdf5
from lfads_tf2.session_results.errors import ResultsError
from lfads_tf2.session_results.labelled import needed
from lfads_tf2.session_results.session_arrays import QUANTITIES, OnClock, SessionArrays

log = logging.getLogger("lfads_tf2")
MODULE = "ecephys"


def to_nwb(
    results: SessionArrays,
    path: Path,
    source: str | Path | None = None,
    any_source: bool = False,
    session_start_time: str | None = None,
    subject: dict[str, str] | None = None,
    prefix: str = "lfads",
    allow_outside_files: bool = False,
) -> Path:
    """Writes rates (spikes/s), factors and inferred inputs with their spread on the session's clock.

    They become series ``<prefix>_rates`` and so on in the processing module ``ecephys``, one value for the middle of
    each bin, overlapping windows merged; with ``<prefix>_units``, which says what unit each column of the rates is, and
    the intervals ``<prefix>_windows`` with each window's half and condition. A session that was imported from an NWB
    file goes into a copy of that file, whose other content stays as it is; any other into a new file.

    Args:
        path: of the file to write; replaced as a whole.
        source: the NWB file that was imported; None: where it was then.
        any_source: take ``source`` even if its content has changed since.
        session_start_time: ISO date and time, for a new file whose recording did not say.
        subject: likewise ``subject_id``, ``species``, ``sex``, ``age`` (see pynwb.file.Subject); archives require it.
        prefix: of all names, so that several runs' results fit into one file.
        allow_outside_files: links of the source may lead out of its folder; those of the copy lead where they did.

    Raises:
        ResultsError: pynwb is missing, the clock or the start of the session is not known, the source is not there or
            has changed, or holds results of this prefix already. Then nothing is written.
    """
    clocked = {name: results.on_clock(name) for name in results.quantities}
    link = results.link
    pynwb = needed("pynwb", "nwb")
    if link.source_format == "nwb" or source is not None:
        source = _checked_source(results, source, any_source)
        problem = linked_files_problem(source, allow_outside_files)
        if problem:
            raise ResultsError(problem)
        if path.exists() and path.samefile(source):
            raise ResultsError(f"{path} is the recording itself, which is never written to; give another path")
    elif not (session_start_time or link.session_start_time):
        raise ResultsError(
            f"{results.name}: an NWB file says when the session began, which {link.source} did not; give it, for "
            "example --session-start-time 2024-05-17T10:30:00+00:00"
        )
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # Of schemas that are older than the library's, which the file keeps, and of the temporary file's name.
        warnings.filterwarnings("ignore", category=UserWarning, module="hdmf|pynwb")
        if source is not None:
            shutil.copyfile(source, temporary)
            temporary.chmod(0o644)
            _point_at_the_same_files(temporary, source)
        with (
            hdf5.writing(temporary, "w" if source is None else "r+") as copy,
            pynwb.NWBHDF5IO(file=copy, mode="w" if source is None else "a") as writer,
        ):
            if source is None:
                file = _new_file(pynwb, results, session_start_time or link.session_start_time, subject)
            else:
                file = _content(writer, source)
            _add(pynwb, file, results, clocked, prefix)
            writer.write(file, cache_spec=source is None)
    return path


def _checked_source(results: SessionArrays, source: str | Path | None, any_source: bool) -> Path:
    """The NWB file that was imported."""
    moved = source is not None
    source = Path(source) if moved else results.link.source
    if not source.is_file():
        hint = "give the right path" if moved else "if it was moved, give its path (--source)"
        raise ResultsError(f"{source}, which {results.name} was imported from, is not there; {hint}")
    with source.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != results.link.source_sha256:
        if not any_source:
            raise ResultsError(
                f"{source} is not the file that {results.name} was imported from, or was changed since (its SHA-256 is "
                f"{found[:12]}…, then {results.link.source_sha256[:12]}…); give the file as it was (--source), or "
                "import it again; to write into a copy of it all the same, --any-source"
            )
        log.warning("%s has changed since %s was imported from it.", source, results.name)
    return source


def _point_at_the_same_files(copy: Path, source: Path) -> None:
    """Makes links to other files, which count from a file's own folder, lead from the copy to what they led to."""
    try:
        with h5py.File(source, "r") as file:
            links = list(external_links(file))
    except (OSError, ValueError, KeyError) as error:
        raise ResultsError(f"{source} cannot be read as an NWB file: {error}") from None
    if not links:
        return
    with hdf5.writing(copy, "r+") as file:
        for link in links:
            del file[link.place]
            file[link.place] = h5py.ExternalLink(str(link.path), link.inside)


def _content(writer, source: Path):
    """What an NWB file that is open to be added to holds."""
    try:
        return writer.read()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{source} cannot be read as an NWB file: {error}") from None


def _new_file(pynwb, results: SessionArrays, start: str, subject: dict[str, str] | None):
    try:
        begin = datetime.fromisoformat(start)
    except ValueError:
        raise ResultsError(
            f"session_start_time must be an ISO date and time such as 2024-05-17T10:30:00+00:00, got {start!r}"
        ) from None
    described = f"Imported from {results.link.source.name or 'arrays'}; holds what LFADS inferred from it."
    try:
        about = pynwb.file.Subject(**subject) if subject else None
    except TypeError as error:
        raise ResultsError(f"subject: {error}") from None
    begin = begin if begin.tzinfo else begin.astimezone()
    return pynwb.NWBFile(described, str(uuid.uuid4()), begin, subject=about)


def _add(pynwb, file, results: SessionArrays, clocked: dict[str, OnClock], prefix: str) -> None:
    module = file.processing.get(MODULE) or file.create_processing_module(
        MODULE, "processed extracellular electrophysiology"
    )
    names = [f"{prefix}_{name}" for name in (*clocked, "units")]
    taken = [name for name in names if name in module.data_interfaces] + [
        name for name in [f"{prefix}_windows"] if name in file.intervals
    ]
    if taken:
        raise ResultsError(
            f"the recording holds {', '.join(taken)} already; give other names, for example prefix='{prefix}_2' "
            f"(--prefix {prefix}_2)"
        )
    for name, values in clocked.items():
        module.add(_series(pynwb, f"{prefix}_{name}", name, results, values, prefix))
    module.add(_units(pynwb, file, results, prefix))
    file.add_time_intervals(_windows(pynwb, results, prefix))


def _series(pynwb, name: str, quantity: str, results: SessionArrays, clocked: OnClock, prefix: str):
    one = len(clocked.stretches) == 1
    width = results.bin_ms / 1000.0
    # Regular times are given by their first and their rate, others one by one.
    times = (
        {"starting_time": float(clocked.times_s[0]), "rate": 1.0 / width} if one else {"timestamps": clocked.times_s}
    )
    data = pynwb.H5DataIO(clocked.values, compression="gzip", compression_opts=1, shuffle=True, fletcher32=True)
    description = _described(quantity, results, clocked, prefix)
    return pynwb.TimeSeries(name=name, data=data, unit=results.unit(quantity), description=description, **times)


def _described(quantity: str, results: SessionArrays, clocked: OnClock, prefix: str) -> str:
    shift = max(part.shift_bins for part in clocked.stretches)
    columns = {"rates": f"columns are the rows of {prefix}_units", "inputs_sd": f"columns as in {prefix}_inputs"}
    facts = {
        "samples": results.attributes.get("num_samples"),
        "training step": results.attributes.get("checkpoint_step"),
        "program": results.attributes.get("program", f"lfads_tf2 {__version__}"),
    }
    known = ", ".join(f"{what}: {value}" for what, value in facts.items() if value is not None)
    column = columns.get(quantity, f"a column for each {quantity[:-1]}")
    return (
        f"{QUANTITIES[quantity].description}; {column}. "
        f"One value for each bin of {results.bin_ms:g} ms, at its middle; in bins that several windows hold, their "
        f"weighted mean.{f' Windows were moved by up to {shift:.2f} bins to share bins.' if shift > 1e-3 else ''} "
        f"Inferred by {results.kind}, {known}."
    )


def _units(pynwb, file, results: SessionArrays, prefix: str):
    """A table of the rates' columns, with references to the rows of the file's units table where it has one."""
    from hdmf.common import DynamicTable, DynamicTableRegion, VectorData

    ids = results.unit_ids
    numbers = np.issubdtype(ids.dtype, np.integer)
    columns = [VectorData(name="unit_name", description="name of the unit", data=[str(one) for one in ids])]
    for name, values in results.link.unit_columns.items() if file.units is None else ():
        if values.ndim == 1:
            described = f"{name.replace('_', ' ')} of the unit, as in the recording"
            columns.append(VectorData(name=name, description=described, data=values.tolist()))
    rows = None if file.units is None else _rows(results, [str(one) for one in file.units.id[:]], prefix)
    if rows is not None:
        columns.append(DynamicTableRegion(
            name="units", data=rows, description="row of the units table", table=file.units
        ))  # fmt: skip
    return DynamicTable(
        name=f"{prefix}_units", description=f"what unit each column of {prefix}_rates is, in order", columns=columns,
        id=[int(one) for one in ids] if numbers and len(set(ids)) == len(ids) else None,
    )  # fmt: skip


def _rows(results: SessionArrays, in_file: list[str], prefix: str) -> list[int] | None:
    """The row in a file's units table, whose ids are these, of each column of the rates; None: it cannot be told.

    ``unit_index`` counts the units of what was imported, which need not be those of this file: ids decide.
    """
    link = results.link
    ids = [str(one) for one in link.unit_ids]
    missing = sorted(set(ids) - set(in_file))
    problem = (
        f"the recording has {len(ids)} units and the rates {results.channels} columns" if len(ids) != results.channels
        else f"it has no unit {missing[0]}" if missing
        else "it holds an id twice" if len(set(in_file)) < len(in_file)
        # Rows that are only counted have the ids of anybody's first units.
        else f"its ids only count its rows, and {link.source.name or 'the recording'} is no NWB file"
        if link.source_format != "nwb" and in_file == [str(row) for row in range(len(in_file))]
        else ""
    )  # fmt: skip
    if problem:
        log.warning(
            "%s: %s_units has no references to the units table of the NWB file, whose units cannot be told to be those "
            "of the rates: %s. The column unit_name has the recording's names.", results.name, prefix, problem,
        )  # fmt: skip
        return None
    return [in_file.index(one) for one in ids]


def _windows(pynwb, results: SessionArrays, prefix: str):
    table = pynwb.epoch.TimeIntervals(
        name=f"{prefix}_windows", description="windows of the recording that LFADS was given, in the order of time"
    )
    table.add_column("half", "train: the model was fitted to this window; valid: it was held out")
    table.add_column("trial_index", "row in the table that the windows were cut from, or number of the window, from 0")
    table.add_column("inferred", "whether the rates and factors hold this window")
    if results.conditions is not None:
        table.add_column("condition", "condition of the trial")
    lengths_s = results.trial_bins * results.bin_ms / 1000.0
    merged = results.merged
    for trial in np.argsort(results.start_s, kind="stable"):
        start = float(results.start_s[trial])
        more = {} if results.conditions is None else {"condition": results.conditions[trial].item()}
        table.add_row(
            start_time=start, stop_time=start + float(lengths_s[trial]), half=str(results.halves[trial]),
            trial_index=int(results.trial_index[trial]), inferred=bool(merged[trial]), **more,
        )  # fmt: skip
    return table
