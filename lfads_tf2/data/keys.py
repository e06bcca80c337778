"""Looking up keys in one session's HDF5 file, whichever dialect it is written in."""

from __future__ import annotations

import os

import h5py
import numpy as np

from lfads_tf2.data.errors import by, listing
from lfads_tf2.data.finding import IMPORT
from lfads_tf2.data.matlab import as_shown
from lfads_tf2.data.opening import ALLOW, leads_out, storage_problem
from lfads_tf2.data.text import is_varying, read_varying
from lfads_tf2.errors import nearest

HALVES = ("train", "valid")


class SessionFile:
    """One open file and everything found wrong with it. Keys match without regard to case when none is exact.

    ``ext_inputs``: external inputs are wanted. ``allow_outside``: links and storage may lead out of the file.
    """

    def __init__(self, handle: h5py.File, path: str, ext_inputs: bool = True, allow_outside: bool = False) -> None:
        self.handle = handle
        self.path = path
        self.ext_inputs, self.allow_outside = ext_inputs, allow_outside
        self.keys: list[str] = []
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def complain(self, key: str, text: str) -> None:
        """Note a problem with one key."""
        self.problems.append(f"{self.path}: {key}: {text}")

    def key(self, *names: str) -> str | None:
        """The file's spelling of the first of these names that it has, or None."""
        for name in names:
            if name in self.keys:
                return name
            same = [key for key in self.keys if key.casefold() == name.casefold()]
            if len(same) > 1:
                text = f"{name}: found as {listing(same)}, which differ only in case; keep one"
                self.problems.append(f"{self.path}: {text}")
            if same:
                return same[0]
        return None

    def item(self, key: str) -> h5py.Dataset | h5py.Group | h5py.Datatype | None:
        """What lies under a key; None for a link that leads nowhere, or out of the file where that is not allowed."""
        outside = leads_out(self.handle, key)
        if outside is not None and not (self.allow_outside and os.path.isfile(self._beside(outside))):
            return None
        try:
            return self.handle[key]
        except (KeyError, OSError, RuntimeError):
            return None

    def _beside(self, name: str) -> str:
        return os.path.join(os.path.dirname(os.path.realpath(self.path)), name)

    def dataset(self, *names: str) -> h5py.Dataset | None:
        """The dataset under the first of these names; None when it is absent or (then a problem) no dataset."""
        key = self.key(*names)
        if key is None:
            return None
        item = self.item(key)
        if item is None:
            outside = leads_out(self.handle, key)
            if outside is not None and not self.allow_outside:
                self.complain(key, f"a link out of this file, to {outside}; store the array itself ({ALLOW})")
            else:
                self.complain(key, "a link that leads nowhere; store the array itself in this file")
            return None
        if not isinstance(item, h5py.Dataset):
            group = isinstance(item, h5py.Group)
            what = f"a group (with {listing(item) or 'nothing'} in it)" if group else "a named type"
            self.complain(key, f"{what}, not a dataset; store one array")
            return None
        if item.shape is None:
            self.complain(key, "an empty dataset without a shape; store an array or remove the key")
            return None
        readable = kind_of(item) in ("numbers", "text")
        problem = storage_problem(item, self.path, self.allow_outside) if readable else None
        if problem is not None:
            self.complain(key, problem)
            return None
        return item

    def numbers(self, *names: str) -> h5py.Dataset | None:
        """As ``dataset``, of real numbers (a problem if not); axes as MATLAB shows them, where it wrote the file."""
        dataset = self.dataset(*names)
        if dataset is None:
            return None
        kind = kind_of(dataset)
        if kind != "numbers":
            self.complain(name_of(dataset), f"holds {kind}; numbers are needed, in any integer or floating-point type")
            return None
        return as_shown(dataset)

    def data_keys(self) -> dict[str, tuple[str | None, str | None]]:
        """For each half the keys of what the encoders read and of what is reconstructed (second dialect only)."""
        if self.key("train_data"):
            if self.key("train_encod_data"):
                self.warnings.append(f"{self.path}: has train_data and train_encod_data; train_data is used")
            keys = {half: (self.key(f"{half}_data"), None) for half in HALVES}
        elif self.key("train_spikes_heldin") and not self.key("train_encod_data"):
            names = ("train_spikes_heldin", "eval_spikes_heldin")
            keys = {half: (self.key(name), None) for half, name in zip(HALVES, names, strict=True)}
        else:
            keys = {half: (self.key(f"{half}_encod_data"), self.key(f"{half}_recon_data")) for half in HALVES}
        if keys["train"][0] is None:
            self.problems.append(f"{self.path}: {self._no_training_data()}")
        return keys

    def _no_training_data(self) -> str:
        keys = f"the keys are {listing(self.keys, 12)}" if self.keys else "the file has no keys at all"
        items = {key: self.item(key) for key in self.keys}
        nested = [key for key, item in items.items() if isinstance(item, h5py.Group) and "train_data" in item]
        if "nwb_version" in self.handle.attrs:
            guess = f"this is an NWB file: {IMPORT.format(self.path)}"
        elif self.key("eval_spikes_heldin", "train_spikes_heldout"):
            guess = "they look like the Neural Latents Benchmark (NLB) dialect; store train_spikes_heldin too"
        elif self.key("train_recon_data"):
            guess = "they look like the second dialect (train_recon_data); store train_encod_data too"
        elif self.key("output_dist_params"):
            guess = "this looks like a result of LFADS, not its input; keep results out of --data_dir"
        elif nested:
            guess = f"train_data lies inside the group {nested[0]!r}; move it to the top of the file"
        else:
            # Names of keys that may well stand there beside it are as near as 0.75.
            near = nearest("train_data", self.keys, likeness=0.85)
            guess = f"if {near[0]!r} holds them, rename it; " if near else ""
            guess += "store the training trials, trials x time x channels, as train_data"
            if any("MATLAB_class" in item.attrs for item in items.values() if item is not None):
                guess += f"; or {IMPORT.format(self.path)}"
        return f"train_data: missing (and so is train_encod_data); {keys}; {guess}"


def name_of(dataset: h5py.Dataset) -> str:
    """The key of a dataset, without the leading slash."""
    return dataset.name.lstrip("/")


def kind_of(dataset: h5py.Dataset) -> str:
    """``numbers``, ``text``, or what else a dataset holds, in words. Nothing is read."""
    try:
        dtype = dataset.dtype
    except (TypeError, ValueError):
        return "a type that cannot be read"
    if h5py.check_string_dtype(dtype) is not None:
        return "text"
    words = {"c": "complex numbers", "V": "compound or opaque records", "O": "references or lists of varying length"}
    return "numbers" if dtype.kind in "biuf" and dtype.subdtype is None else words.get(dtype.kind, str(dtype))


def vector(file: SessionFile, dataset: h5py.Dataset, length: int | None, of_what: str) -> np.ndarray | None:
    """A dataset as a vector of ``length`` (any length if None); axes of size 1, as MATLAB writes them, are dropped."""
    squeezed = tuple(size for size in dataset.shape if size != 1)
    right = dataset.size == 1 if length == 1 else len(squeezed) <= 1 and length in (None, dataset.size)
    if not right:
        wanted = f"one value for each of the {length} {of_what}" if length else f"one value for each of the {of_what}"
        file.complain(name_of(dataset), f"has shape {by(dataset.shape)}; needs {wanted}")
        return None
    if kind_of(dataset) != "text":
        return dataset[()].reshape(-1)
    if is_varying(dataset):
        return np.array(read_varying(dataset.file.filename, dataset.name), dtype=object)
    return dataset.asstr(errors="replace")[()].reshape(-1)
