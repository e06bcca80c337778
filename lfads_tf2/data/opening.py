"""Opening a session's file, and what in it must not be followed: links and storage that lead out of the file.

An HDF5 file can name any other file of the machine as the place of its numbers, or a pipe that never answers. And it
can declare numbers that were never written, which HDF5 reads as zeros.
"""

from __future__ import annotations

import errno
import os

import h5py
import numpy as np

from lfads_tf2.data.finding import looks_like_hdf5

# Of soft links that lead to soft links.
MOST_LINKS = 16
ALLOW = "--allow_outside_files allows it where you trust the file"


def why_not_opened(path: str, error: OSError) -> str:
    """In words, why h5py could not open a file, and what to do."""
    if not os.path.exists(path):
        return "a link that leads nowhere, or removed just now; store the file itself in the folder"
    if not os.access(path, os.R_OK):
        return "cannot be opened: no permission to read it; change its permissions"
    if os.path.getsize(path) == 0:
        return "the file is empty (0 bytes); write or copy it again"
    text = str(error)
    if "unable to lock file" in text or "already open for write" in text:
        if error.errno in (errno.EAGAIN, errno.EACCES) or "already open" in text:
            return "open for writing in another program (a notebook?); close it there"
        return (
            f"the file system does not lock files ({text}); if nobody writes to the file, set the environment variable "
            "HDF5_USE_FILE_LOCKING=FALSE"
        )
    if looks_like_hdf5(path):
        return f"a truncated or damaged HDF5 file ({error}); write or copy it again"
    return "not an HDF5 file; move it out of the data folder, or store the session as HDF5"


def leads_out(group: h5py.Group, path: str, depth: int = 0) -> str | None:
    """The file that a key, followed through its links, leads to; None when it stays in this file or nowhere."""
    node = group.file if path.startswith("/") else group
    for part in path.strip("/").split("/"):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if isinstance(link, h5py.ExternalLink):
            return link.filename
        if link is None or depth > MOST_LINKS:
            return None
        if isinstance(link, h5py.SoftLink):
            found = leads_out(node, link.path, depth + 1)
            if found is not None:
                return found
        try:
            node = node[part]
        except (KeyError, OSError, RuntimeError):
            return None
    return None


def storage_problem(dataset: h5py.Dataset, path: str, allowed: bool) -> str | None:
    """What is wrong with where a dataset's numbers lie; nothing of them is read.

    Args:
        dataset: of the file.
        path: of the file; virtual sources may lie in its folder.
        allowed: whether numbers may come from anywhere.
    """
    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL or plan.get_external_count():
        return outside_problem(dataset, path, allowed)
    return _unwritten(dataset, plan)


def outside_problem(dataset: h5py.Dataset, path: str, allowed: bool) -> str | None:
    """As ``storage_problem``, of datasets whose numbers lie elsewhere; None of others."""
    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        return _virtual_problem(dataset, plan, path, allowed)
    return _external_problem(plan, path, allowed) if plan.get_external_count() else None


def _virtual_problem(dataset: h5py.Dataset, plan, path: str, allowed: bool) -> str | None:
    folder = os.path.dirname(os.path.realpath(path))
    for index in range(plan.get_virtual_count()):
        name, source = plan.get_virtual_filename(index), plan.get_virtual_dsetname(index)
        where = os.path.realpath(os.path.join(folder, name))
        if name == "." or where == os.path.realpath(path):
            item = dataset.file.get(source) if leads_out(dataset.file, source) is None else None
            inner = item.id.get_create_plist() if isinstance(item, h5py.Dataset) else None
            if inner is None or inner.get_layout() == h5py.h5d.VIRTUAL or inner.get_external_count():
                return f"a virtual dataset whose source {source} is not an array of this file; store the array itself"
            continue
        if not os.path.isfile(where):
            return (
                f"a virtual dataset whose source {name} is not there: its entries would be zeros; put the file beside "
                f"this one, or store the array itself"
            )
        if not allowed and os.path.commonpath([folder, where]) != folder:
            return f"a virtual dataset whose source {name} lies outside the data folder; move it there ({ALLOW})"
        problem = _source_problem(where, source)
        if problem:
            return f"a virtual dataset whose source {name} {problem}: its entries would be zeros; write it again"
    return None


def _source_problem(path: str, name: str) -> str | None:
    try:
        with h5py.File(path, "r") as file:
            item = file.get(name) if leads_out(file, name) is None else None
            if not isinstance(item, h5py.Dataset):
                return f"has no dataset {name}"
            plan = item.id.get_create_plist()
            if plan.get_layout() == h5py.h5d.VIRTUAL or plan.get_external_count():
                return "takes its numbers from further files"
            return _unwritten(item, plan)
    except OSError as error:
        return f"cannot be read ({why_not_opened(path, error)})"


def _external_problem(plan, path: str, allowed: bool) -> str | None:
    folder = os.path.dirname(os.path.realpath(path))
    for index in range(plan.get_external_count()):
        name, offset, size = plan.get_external(index)
        name = os.fsdecode(name)
        if not allowed:
            return f"stored outside this file, in {name}; store the array itself ({ALLOW})"
        where = os.path.join(folder, name)
        if not os.path.isfile(where) or (size < 2**63 and os.path.getsize(where) < offset + size):
            return f"stored in {name}, which is not there or shorter than declared: the rest would be zeros"
    return None


def _unwritten(dataset: h5py.Dataset, plan) -> str | None:
    """Parts that were declared and never written, which HDF5 reads as zeros."""
    if not dataset.size or plan.get_layout() == h5py.h5d.COMPACT:
        return None
    if dataset.chunks is None:
        return None if dataset.id.get_storage_size() else "was declared and never written; write the file again"
    parts = [-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    wanted, there = int(np.prod(parts, dtype=object)), dataset.id.get_num_chunks()
    if there < wanted:
        return (
            f"{wanted - there} of its {wanted} blocks were never written (an export that was interrupted?) and would "
            "be read as zeros; write the file again"
        )
    return None
