"""Files that an HDF5 file leads to by links anywhere in it, for readers that follow all of them by themselves (NWB)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py

from lfads_tf2.data.opening import outside_problem, why_not_opened

ALLOW = "--allow-outside-files (allow_outside_files=True) allows it where you trust the file"


class ExternalLink(NamedTuple):
    """A link of a file to another."""

    place: str  # of the link in its file
    name: str  # of the other file, as it is stored
    path: Path  # where that is
    inside: str  # what is linked to in it


def external_links(file: h5py.File) -> Iterator[ExternalLink]:
    """All links of an open file that lead to other files; none is followed."""
    folder = Path(file.filename).resolve().parent
    for group in _groups(file):
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                path = (folder / link.filename).resolve()
                # As HDF5 does where files moved together.
                path = path if path.is_file() else (folder / Path(link.filename).name).resolve()
                yield ExternalLink(f"{group.name.rstrip('/')}/{name}", link.filename, path, link.path)


def linked_files_problem(path: Path, allowed: bool) -> str | None:
    """Why links or storage of a file must not be followed; None when all lead to files in its own folder, or allowed.

    Args:
        path: of the file.
        allowed: whether they may lead anywhere.
    """
    folder, waiting, seen = path.resolve().parent, [path.resolve()], set()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        try:
            with h5py.File(one, "r") as file:
                for link in external_links(file):
                    problem = _link_problem(link, folder, allowed)
                    if problem:
                        return f"{one}: {link.place} is a link to {link.name}, {problem}"
                    waiting.append(link.path)
                for dataset in _datasets(file):
                    problem = outside_problem(dataset, str(one), allowed)
                    if problem:
                        return f"{one}: {dataset.name} is {problem}"
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            if one == path.resolve():
                return None  # its reader will say so
            return f"{path} has a link to {one}: {why_not_opened(str(one), error)}"
    return None


def _link_problem(link: ExternalLink, folder: Path, allowed: bool) -> str | None:
    if not allowed and os.path.commonpath([folder, link.path]) != str(folder):
        return f"which lies outside the folder of this file; copy it there, or {ALLOW}"
    if not link.path.is_file():
        return "which is not there; put it beside this file"
    return None


def _groups(file: h5py.File) -> Iterator[h5py.Group]:
    """Every group once, reached by links within the file; a group may lie in itself."""
    waiting, seen = [file["/"]], set()
    while waiting:
        group = waiting.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        yield group
        waiting += [item for item in _own(group) if isinstance(item, h5py.Group)]


def _datasets(file: h5py.File) -> Iterator[h5py.Dataset]:
    for group in _groups(file):
        yield from (item for item in _own(group) if isinstance(item, h5py.Dataset))


def _own(group: h5py.Group) -> Iterator[h5py.Group | h5py.Dataset]:
    """What lies in a group itself: soft links lead to what is found at its own place."""
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.HardLink):
            yield group[name]
