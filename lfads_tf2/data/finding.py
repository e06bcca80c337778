"""Which files of the data folder are sessions, and what each session is called."""

from __future__ import annotations

import logging
import os
import re

import h5py

from lfads_tf2.data.errors import DataError, listing
from lfads_tf2.errors import nearest

HDF5_ENDINGS = (".h5", ".hdf5")
# What editors, file managers and careful people put behind the name of a copy.
BACKUP = re.compile(r"(~|\.(bak|backup|old|orig|swp|tmp|part)|\((copy|\d+)\)|[ _-]+copy([ _-]?\d+)?)$", re.IGNORECASE)

# Files of recordings that are not yet trials in the program's own layout.
RECORDINGS = (".nwb", ".mat", ".npz", ".npy")
IMPORT = "lfads import {} -o DATA cuts a recording into trials and writes such a folder"

log = logging.getLogger("lfads_tf2")


def find_sessions(data_dir: str, stem: str) -> list[tuple[str, str]]:
    """Session names and paths, sorted by name.

    With a stem, every file called ``<stem>_<session>`` is a session. Without one, every HDF5 file directly in the
    folder is, under its file name. Hidden files, folders and this program's own results are passed over.
    Raises ``DataError`` when the folder cannot be read or holds no session.
    """
    files = _files(data_dir)
    prefix = f"{stem}_" if stem else ""
    chosen = [f for f in files if f.startswith(prefix) and (stem or _looks_like_session(os.path.join(data_dir, f)))]
    copies = [file for file in chosen if _is_copy(file, chosen)]
    if copies:
        log.warning("Passed over as copies: %s; rename what is a session of its own.", listing(copies))
        chosen = [file for file in chosen if file not in copies]
    if not chosen:
        raise DataError([_nothing_found(data_dir, stem, files)])
    problems = []
    seen: dict[str, str] = {}
    for file in chosen:
        name = file[len(prefix) :]
        if not name:
            problems.append(f"{os.path.join(data_dir, file)}: no session name follows {prefix!r}; rename the file")
        # Results are files named after the session: on a file system that does not tell upper from lower case,
        # names that differ only in case would overwrite each other's.
        elif name.casefold() in seen:
            problems.append(
                f"{os.path.join(data_dir, file)}: leads to the same session name as {seen[name.casefold()]} "
                f"(upper and lower case do not count); rename one of them"
            )
        seen[name.casefold()] = file
    if problems:
        raise DataError(problems)
    return sorted((file[len(prefix) :], os.path.join(data_dir, file)) for file in chosen)


def _files(data_dir: str) -> list[str]:
    """Names of the visible files of the folder, broken links included."""
    if not data_dir:
        raise DataError(["--data_dir is missing; give the folder that holds one HDF5 file a session"])
    if not os.path.exists(data_dir):
        raise DataError([f"--data_dir={data_dir}: there is no such folder; check the path"])
    if not os.path.isdir(data_dir):
        folder, file = os.path.split(data_dir)
        text = f"give the folder that holds the file {file}, --data_dir={folder or '.'}"
        if file.lower().endswith(RECORDINGS):
            text = IMPORT.format(data_dir)
        raise DataError([f"--data_dir={data_dir}: not a folder with one HDF5 file a session; {text}"])
    try:
        names = os.listdir(data_dir)
    except OSError as error:
        raise DataError([f"--data_dir={data_dir}: cannot be read ({error.strerror}); check permissions"]) from error
    # Links that lead nowhere stay in, to be complained of; pipes and the like would block whoever opens them.
    paths = {name: os.path.join(data_dir, name) for name in names if not name.startswith(".")}
    return sorted(name for name, path in paths.items() if os.path.isfile(path) or not os.path.exists(path))


def _is_copy(file: str, chosen: list[str]) -> bool:
    """Whether a name is that of another file with something put behind it."""
    stem, ending = os.path.splitext(file)
    stem, ending = (stem, ending) if ending.lower() in HDF5_ENDINGS else (file, "")
    original = BACKUP.sub("", stem).rstrip()
    return original != stem and any(name in chosen for name in (original, original + ending))


def _looks_like_session(path: str) -> bool:
    """Whether a file is taken for a session when no stem says which are."""
    name = os.path.basename(path)
    if name.startswith("model_runs_") or name.endswith("model_params"):
        return False  # results written next to the data
    return name.lower().endswith(HDF5_ENDINGS) or looks_like_hdf5(path)


def looks_like_hdf5(path: str) -> bool:
    """Whether a file starts as HDF5 does, even if it is truncated further on."""
    try:
        with open(path, "rb") as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n" or h5py.is_hdf5(path)  # MATLAB puts 512 bytes before it
    except OSError:
        return False


def _nothing_found(data_dir: str, stem: str, files: list[str]) -> str:
    there = f"the folder holds {listing(files)}" if files else "the folder holds no files"
    if not stem:
        recordings = [file for file in files if file.lower().endswith(RECORDINGS)]
        sorted_ones = "spike_times.npy" in recordings  # a spike sorter's folder is one recording
        source = data_dir if sorted_ones else os.path.join(data_dir, recordings[0]) if recordings else ""
        text = IMPORT.format(source) if source else "give the folder that holds one HDF5 file a session"
        return f"--data_dir={data_dir}: no HDF5 file found; {there}; {text}"
    text = f"--data_dir={data_dir}: no file is called {stem}_<session> (--data_filename_stem={stem}); {there}"
    close = [file for file in files if file.startswith(stem)]
    if close:
        text += f"; {close[0]} starts with the stem, but an underscore and the session's name must follow it"
    else:
        near = nearest(stem, files, most=3, likeness=0.4)
        text += f"; nearest: {listing(near)}" if near else ""
    return text + "; correct --data_filename_stem, or leave it empty to read every HDF5 file of the folder"
