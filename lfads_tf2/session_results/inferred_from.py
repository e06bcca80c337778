"""Which data results were inferred from, so that they are never combined with other data of the same name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lfads_tf2.data.arrays import has_shape
from lfads_tf2.data.blocks import BLOCK_BYTES
from lfads_tf2.data.errors import by
from lfads_tf2.data.extras import read_bin_width, read_indices
from lfads_tf2.data.fingerprint import sums
from lfads_tf2.data.keys import HALVES, SessionFile
from lfads_tf2.data.matlab import as_shown
from lfads_tf2.data.targets import HELD_IN, PARTS, is_benchmark
from lfads_tf2.session_results.errors import ResultsError
from lfads_tf2.session_results.recording_link import RecordingLink, read_link
from lfads_tf2.settings import run_folder

# The attribute of result files.
ATTRIBUTE = "inferred_from"
AXES = "trials x bins x channels"


def stamp(path: Path, ext_inputs: bool = False) -> str:
    """What tells the data of a session's file from others, as text for ``ATTRIBUTE``.

    Args:
        path: the session's file.
        ext_inputs: the model reads external inputs.
    """
    with h5py.File(path, "r") as handle:
        file = opened(handle, path, ext_inputs)
        shapes, link = target_shapes(file), read_link(path)
        facts = layout(shapes, read_bin_width(file), read_indices(file, trials_of(shapes)), link)
        facts |= {"path": str(path.resolve()), "version": _version(path)}
        return json.dumps(facts | {"values": _values(file), "ext_inputs": ext_inputs})


def opened(handle: h5py.File, path: Path, ext_inputs: bool = True) -> SessionFile:
    """A session's file, to look keys up in."""
    file = SessionFile(handle, str(path), ext_inputs)
    file.keys = [key for key in handle if isinstance(key, str)]
    return file


def layout(
    shapes: dict[str, tuple[int, ...]],
    width: float | None,
    indices: dict[str, np.ndarray | None],
    link: RecordingLink | None,
) -> dict[str, Any]:
    """What places results among trials, units and times; what the file does not say is left out.

    Conditions, behaviour and further columns of units are not among it: results are right whatever these become.

    Args:
        shapes: as ``target_shapes`` gives them.
        width: of a bin in ms, as the file says it.
        indices: as ``read_indices`` gives them.
        link: to the recording, which goes before both.
    """
    found = {f"{half} {AXES}": list(shape) for half, shape in shapes.items()}
    found["bin width in ms"] = width if link is None else link.bin_ms
    if link is not None:
        indices = link.trial_index
        found["window in ms"] = list(link.window_ms)
        found["times of trials"] = _digest(link.start_s)
        found["lengths of trials"] = _digest(link.bins)
        found["units"] = _digest({"unit_ids": link.unit_ids.astype(str)})
    found["order of trials"] = _digest({half: index for half, index in indices.items() if index is not None})
    return {name: value for name, value in found.items() if value is not None}


def target_shapes(file: SessionFile) -> dict[str, tuple[int, ...]]:
    """Trials x bins x channels of what is reconstructed, by half."""
    shapes = {}
    for half, (data, target) in file.data_keys().items():
        # A link that leads out of the file is followed for its shape alone; whoever reads its values decides.
        dataset = as_shown(file.handle[target or data]) if data else None
        if dataset is None or not has_shape(file, dataset):
            continue
        trials, bins, channels = dataset.shape
        if is_benchmark(data):
            held_out, forward, _ = (file.numbers(key) for key in _parts(data)[1:])
            bins += 0 if forward is None else forward.shape[1]
            channels += 0 if held_out is None else held_out.shape[2]
        shapes[half] = (trials, bins, channels)
    return shapes


def trials_of(shapes: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """Trials of each half."""
    return {half: shape[0] for half, shape in shapes.items()}


def _parts(data_key: str) -> list[str]:
    """Keys of all that makes up the third dialect's target."""
    return [data_key, *(data_key[: -len(HELD_IN)] + part for part in PARTS)]


def _digest(arrays: dict[str, np.ndarray]) -> str | None:
    """A hash of small arrays; None where there are none."""
    digest = hashlib.blake2b(digest_size=8)
    for name, array in sorted(arrays.items()):
        # Numbers are the same in whichever type they are stored, and times to a microsecond.
        array = array if array.dtype.kind in "US" else array.astype(np.float64).round(6)
        digest.update(f"{name} {array.shape} ".encode() + array.tobytes())
    return digest.hexdigest() if arrays else None


def _values(file: SessionFile) -> str:
    """A hash of all that inference reads, the same in any layout, compression and number type of the file."""
    digest = hashlib.blake2b(digest_size=16)
    for data, target in file.data_keys().values():
        for key in _parts(data) if data and is_benchmark(data) else (data, target):
            digest.update(b"".join(_sums(file, key)))
    for half in HALVES if file.ext_inputs else ():
        digest.update(b"".join(_sums(file, f"{half}_ext_input")))
    return digest.hexdigest()


def _sums(file: SessionFile, key: str | None) -> Iterator[bytes]:
    dataset = file.numbers(key) if key else None
    yield f"{dataset and dataset.shape}".encode()
    if dataset is None:
        return
    # Blocks of the shape alone: what is summed must not depend on how the file is stored.
    rows = max(1, BLOCK_BYTES // (4 * max(1, int(np.prod(dataset.shape[1:], dtype=np.int64)))))
    for start in range(0, dataset.shape[0], rows):
        with np.errstate(over="ignore"):
            yield from sums(np.asarray(dataset[start : start + rows]).astype(np.float32))


def _version(path: Path) -> list[int]:
    """What changes whenever a file is written or copied."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]


def refuse_other_data(
    output: Path, name: str, path: Path, attributes: dict[str, Any], bins: int, now: dict[str, Any]
) -> None:
    """Refuses a session's file that is not, or no longer, what results were inferred from.

    Args:
        output: the folder of the results.
        name: of the session.
        path: the session's file.
        attributes: of the result files.
        bins: of the results.
        now: the ``layout`` of the file.

    Raises:
        ResultsError: they do not belong together.
    """
    text, wrong = attributes.get(ATTRIBUTE), _contradictions(attributes, bins, now)
    known = {} if text is None else _read(text, output, name)
    wrong = wrong or [
        f"other {what}" if isinstance(value, str) else f"{what} {_words(known[what])} then, {_words(value)} now"
        for what, value in now.items()
        if what in known and known[what] != value
    ]
    if known and not wrong and known["version"] != _version(path):
        try:
            with h5py.File(path, "r") as handle:
                same = _values(opened(handle, path, known["ext_inputs"])) == known["values"]
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise ResultsError(f"{path} cannot be read ({error})") from None
        wrong = [] if same else ["other values"]
    if wrong:
        command = run_folder.command(output, str(path.parent), str(attributes.get("kind", "")))
        moved = f" ({known['path']})" if known and known["path"] != str(path.resolve()) else ""
        raise ResultsError(
            f"{path}: the results of {name} in {output} were inferred from other data: {'; '.join(wrong)}. "
            f"Infer again: {command}; or give the folder of the data that they came from{moved} as data_dir"
        )


def _read(text: Any, output: Path, name: str) -> dict[str, Any]:
    try:
        return {"version": None, "values": None, "ext_inputs": False, "path": ""} | dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise ResultsError(
            f"{output}: {ATTRIBUTE} of the results of {name} cannot be read ({error}); infer again"
        ) from None


def _contradictions(attributes: dict[str, Any], bins: int, now: dict[str, Any]) -> list[str]:
    """What results of any age say of their data that the file contradicts."""
    found, width, expected = [], attributes.get("bin_width_ms"), now.get("bin width in ms")
    if width is not None and expected is not None and not np.isclose(width, expected, rtol=1e-6):
        found.append(f"bins of {width:g} ms then, {expected:g} ms now")
    shape = next((value for what, value in now.items() if what.endswith(AXES)), None)
    if shape is None:
        return found
    _, data_bins, channels = shape
    bins += int(attributes.get("first_bin", 0))
    # Files of the original program, which have no attributes, do not say which bin is their first.
    if bins > data_bins or (attributes and bins != data_bins):
        found.append(f"{bins} bins then, {data_bins} now")
    if attributes.get("channels", channels) != channels:
        found.append(f"{attributes['channels']} channels then, {channels} now")
    return found


def _words(value: Any) -> str:
    if not isinstance(value, list):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return by(tuple(value)) if all(isinstance(part, int) for part in value) else " to ".join(map(_words, value))
