"""Folders of data that must be refused, each with what the message has to say.

``MALFORMED`` lists cases of three fields that always matter, name, writer, message, and the settings that differ from
the defaults. The writer is given a path that does not exist yet and makes the data folder there; the message is a
regular expression for the error. Usable by the tests of the data room and by tests of the command line.
"""
# ruff: noqa: E501 - the table below is read best with one case a line.

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import h5py
import numpy as np

N, T, D = 6, 5, 4


class Malformed(NamedTuple):
    """One folder that must be refused."""

    name: str
    write: Callable[[str], None]
    message: str
    settings: Mapping[str, Any] = MappingProxyType({})


def counts(trials: int = N, bins: int = T, channels: int = D, dtype: Any = np.int64) -> np.ndarray:
    """Small counts, every channel active."""
    return (np.arange(trials * bins * channels) % 7).reshape(trials, bins, channels).astype(dtype)


def good(**changes: Any) -> dict[str, Any]:
    """The keys of a correct session, with changes; None removes a key."""
    keys = {"train_data": counts(), "valid_data": counts(3)} | changes
    return {key: value for key, value in keys.items() if value is not None}


def write_session(folder: str, file: str = "a.h5", **keys: Any) -> str:
    """One HDF5 file in the folder, which is made if need be; a dict becomes a group, a link stays a link."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, file)
    with h5py.File(path, "w") as handle:
        for key, value in keys.items():
            if isinstance(value, dict):
                group = handle.create_group(key)
                for name, inner in value.items():
                    group[name] = inner
            else:
                handle[key] = value
    return path


def _session(**changes: Any) -> Callable[[str], None]:
    return lambda path: write_session(path, **good(**changes)) and None


def _with(index: tuple[int, int, int], value: float, dtype: Any = np.float64, trials: int = N) -> np.ndarray:
    array = counts(trials, dtype=dtype)
    array[index] = value
    return array


def _text_file(*names: str) -> Callable[[str], None]:
    def write(path: str) -> None:
        os.makedirs(path)
        for name in names:
            with open(os.path.join(path, name), "w") as file:
                file.write("no HDF5 here\n")

    return write


def _empty_file(path: str) -> None:
    os.makedirs(path)
    with open(os.path.join(path, "a.hdf5"), "w"):
        pass


def _only(**keys: Any) -> Callable[[str], None]:
    """These keys and no others."""
    return lambda path: write_session(path, **keys) and None


def _file_not_folder(path: str) -> None:
    write_session(os.path.dirname(path), os.path.basename(path), **good())


def _truncated(path: str, file: str = "a.h5") -> None:
    whole = write_session(path, file, **good(train_data=counts(200)))
    os.truncate(whole, os.path.getsize(whole) // 2)


def _damaged(path: str) -> None:
    """Garbage in the middle of a compressed array."""
    whole = write_session(path, **good(train_data=None))
    with h5py.File(whole, "a") as handle:
        data = np.random.default_rng(0).integers(0, 100, (50, T, D))
        handle.create_dataset("train_data", data=data, compression="gzip", chunks=data.shape)
        chunk = handle["train_data"].id.get_chunk_info(0)
    with open(whole, "r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\xff" * (chunk.size // 2))


def _broken_file_link(path: str) -> None:
    os.makedirs(path)
    os.symlink(os.path.join(path, "gone"), os.path.join(path, "a.h5"))


def _enormous(path: str) -> None:
    whole = write_session(path, **good(train_data=None))
    with h5py.File(whole, "a") as handle:
        handle.create_dataset("train_data", (10**9, 10**6, 10**4), "u1", chunks=(1, 100, 100))


def _strange_float(path: str) -> None:
    """A floating-point type of HDF5 that NumPy has no counterpart of."""
    whole = write_session(path, **good(train_data=None))
    kind = h5py.h5t.IEEE_F64LE.copy()
    kind.set_ebias(30000)
    with h5py.File(whole, "a") as handle:
        h5py.h5d.create(handle.id, b"train_data", kind, h5py.h5s.create_simple((N, T, D)))


def _null_space(path: str) -> None:
    write_session(path, **good(train_data=h5py.Empty("f4")))


def _sessions(*files: dict[str, Any], names: tuple[str, ...] = ("a.h5", "b.h5")) -> Callable[[str], None]:
    def write(path: str) -> None:
        for name, keys in zip(names, files, strict=True):
            write_session(path, name, **keys)

    return write


_GAUSSIAN = {"output_dist": "gaussian"}
_INPUTS = {"ext_input_dim": 2}
_STEM = {"data_filename_stem": "lfads"}
_COMPOUND = np.zeros((N, T, D), [("x", "f4"), ("y", "i4")])
_TEXT = np.full((N, T, D), "1", dtype=h5py.string_dtype())
_EXT = {"train_ext_input": np.ones((N, T, 2)), "valid_ext_input": np.ones((3, T, 2))}
_BOTH = good(**_EXT)

# fmt: off
FOLDERS = [
    Malformed("folder missing", lambda path: None, r"--data_dir=.*: there is no such folder; check"),
    Malformed("folder is a file", _file_not_folder, r"--data_dir=.*: not a folder with one HDF5 file a session; give the folder that holds"),
    Malformed("folder empty", lambda path: os.makedirs(path), r"no HDF5 file found; the folder holds no files; give"),
    Malformed("only other files", _text_file("README.md"), r"no HDF5 file found; the folder holds README\.md; give"),
    Malformed("only NumPy arrays", _text_file("monday.npz"), r"the folder holds monday\.npz; lfads import .*monday\.npz"),
    Malformed("stem matches nothing", _sessions(good(), good(), names=("lfad_a.h5", "zz.h5")), r"no file is called lfads_<session>.*holds lfad_a\.h5, zz\.h5; nearest: lfad_a\.h5; correct --data_filename_stem", _STEM),
    Malformed("stem without underscore", _sessions(good(), names=("lfads-a.h5",)), r"lfads-a\.h5 starts with the stem, but an underscore", _STEM),
    Malformed("many files, none fits", _text_file(*(f"f{i:02}.txt" for i in range(15))), r"f09\.txt and 5 more", _STEM),
    Malformed("no session name", _sessions(good(), names=("lfads_",)), r"lfads_: no session name follows 'lfads_'; rename", _STEM),
    Malformed("same session twice", _sessions(good(), good(), names=("a.h5", "A.h5")), r"a\.h5: leads to the same session name as A\.h5.*rename"),
    Malformed("text called h5", _text_file("a.h5"), r"a\.h5: not an HDF5 file; move it out"),
    Malformed("text with the stem", _text_file("lfads_a"), r"lfads_a: not an HDF5 file", _STEM),
    Malformed("empty file", _empty_file, r"a\.hdf5: the file is empty \(0 bytes\)"),
    Malformed("truncated", _truncated, r"a\.h5: a truncated or damaged HDF5 file .*copy it again"),
    Malformed("truncated, no ending", lambda path: _truncated(path, "a"), r"a: a truncated or damaged HDF5 file"),
    Malformed("damaged inside", _damaged, r"a\.h5: train_data: cannot be read .*damaged, write or copy it again"),
    Malformed("file link broken", _broken_file_link, r"a\.h5: a link that leads nowhere"),
]

KEYS = [
    Malformed("no keys", _only(), r"a\.h5: train_data: missing.*the file has no keys at all; store"),
    Malformed("training data missing", _only(spikes=counts(), x=1), r"a\.h5: train_data: missing.*the keys are spikes, x; store the training trials"),
    Malformed("misspelled", _session(train_data=None, traindata=counts()), r"if 'traindata' holds them, rename it"),
    Malformed("only validation", _session(train_data=None), r"train_data: missing.*the keys are valid_data"),
    Malformed("NLB dialect without held-in", _only(train_spikes_heldout=counts()), r"NLB.*; store train_spikes_heldin too"),
    Malformed("NLB held-out bins", _only(train_spikes_heldin=counts(), train_spikes_heldout=counts(bins=T + 1)), r"train_spikes_heldout: has shape 6 x 6 x 4 and train_spikes_heldin 6 x 5 x 4; trials and bins must be the same"),
    Malformed("NLB forward channels", _only(train_spikes_heldin=counts(), train_spikes_heldin_forward=counts(channels=2)), r"train_spikes_heldin_forward: has shape .*; trials and channels must be the same"),
    Malformed("NLB forward missing", _only(train_spikes_heldin=counts(), train_spikes_heldout=counts(), train_spikes_heldin_forward=counts()), r"train_spikes_heldout_forward: missing while spikes_heldout and the rest are there"),
    Malformed("NLB corner", _only(train_spikes_heldin=counts(), train_spikes_heldout=counts(), train_spikes_heldin_forward=counts(bins=2), train_spikes_heldout_forward=counts(bins=3)), r"train_spikes_heldout_forward: has shape 6 x 3 x 4; it needs the 2 bins"),
    Malformed("NLB fraction", _only(train_spikes_heldin=counts(), train_spikes_heldout=counts() + 0.5), r"train_spikes_heldout: not a whole number"),
    Malformed("a result file", _only(output_dist_params=np.ones((N, T, D)), factors=np.ones((N, T, 2))), r"a result of LFADS, not its input; keep results out of --data_dir"),
    Malformed("inside a group", _only(data={"train_data": counts()}), r"train_data lies inside the group 'data'; move it"),
    Malformed("targets alone", _session(train_data=None, valid_data=None, train_recon_data=counts()), r"second dialect \(train_recon_data\); store train_encod_data too"),
    Malformed("data are a group", _session(train_data={"x": counts()}), r"a\.h5: train_data: a group \(with x in it\), not a dataset; store one array"),
    Malformed("data are a named type", _session(train_data=np.dtype("f8")), r"train_data: a named type, not a dataset; store one array"),
    Malformed("link inside broken", _session(train_data=h5py.SoftLink("/gone")), r"train_data: a link that leads nowhere; store the array"),
    Malformed("external link broken", _session(valid_data=h5py.ExternalLink("gone.h5", "/x")), r"valid_data: a link out of this file, to gone\.h5; store the array"),
    Malformed("null dataspace", _null_space, r"train_data: an empty dataset without a shape; store an array"),
    Malformed("case ambiguous", _session(train_data=None, TRAIN_data=counts(), Train_data=counts()), r"train_data: found as TRAIN_data, Train_data, which differ only in case; keep one"),
    Malformed("dialects mixed", _session(valid_data=None, valid_encod_data=counts(3)), r"valid_encod_data: does not go with train_data alone; store the trials as valid_data, or remove"),
    Malformed("valid truth alone", _session(valid_data=None, valid_truth=np.ones((3, T, D))), r"valid_truth: does not go with train_data alone; store the trials as valid_data"),
    Malformed("valid conditions alone", _session(valid_data=None, valid_conditionId=np.ones(3)), r"valid_conditionId: does not go with train_data alone"),
    Malformed("narrower targets", _only(train_encod_data=counts(), train_recon_data=counts(channels=D - 1)), r"train_recon_data: has shape 6 x 5 x 3 and train_encod_data 6 x 5 x 4; it needs the same trials and at least as many bins and channels"),
    Malformed("shorter targets", _only(train_encod_data=counts(), train_recon_data=counts(bins=T - 1)), r"train_recon_data: has shape 6 x 4 x 4 and .*at least as many bins"),
    Malformed("targets of other trials", _only(train_encod_data=counts(), train_recon_data=counts(N + 1)), r"train_recon_data: .*the same trials"),
    Malformed("fractional targets", _only(train_encod_data=counts(), train_recon_data=counts() + 0.5), r"train_recon_data: not a whole number"),
    Malformed("targets that differ between halves", _only(train_encod_data=counts(), train_recon_data=counts(channels=D + 1), valid_encod_data=counts(3)), r"valid_encod_data: the target has shape 3 x 5 x 4 and that of the training trials 6 x 5 x 5; bins and channels"),
    Malformed("truth of the encoded channels only", _only(train_encod_data=counts(), train_recon_data=counts(channels=D + 1), train_truth=counts()), r"train_truth: has shape 6 x 5 x 4 and train_recon_data 6 x 5 x 5"),
    Malformed("all for the initial condition", _session(), r"--ic_enc_seq_len=5: the encoders' data have only 5 bins", MappingProxyType({"ic_enc_seq_len": T})),
    Malformed("lag beyond the encoded bins", _session(), r"--controller_input_lag=3: trials have only 3 bins", MappingProxyType({"ic_enc_seq_len": 2, "controller_input_lag": 3})),
]

SHAPES = [
    Malformed("two axes", _session(train_data=counts()[0]), r"a\.h5: train_data: has shape 5 x 4; needs three axes, trials x time x channels; cut"),
    Malformed("four axes", _session(train_data=counts()[None]), r"train_data: has shape 1 x 6 x 5 x 4; needs three axes"),
    Malformed("a single value", _session(train_data=3), r"train_data: has shape a single value; needs three axes"),
    Malformed("no trials", _session(train_data=counts(0)), r"train_data: has no trials \(shape 0 x 5 x 4\); store at least one"),
    Malformed("no bins", _session(train_data=counts(bins=0)), r"train_data: has no bins \(shape 6 x 0 x 4\); store"),
    Malformed("no channels", _session(valid_data=counts(channels=0)), r"valid_data: has no channels \(shape 6 x 5 x 0\); store.*or remove"),
    Malformed("bins disagree", _session(valid_data=counts(3, bins=4)), r"valid_data: has shape 3 x 4 x 4 and train_data 6 x 5 x 4; bins and channels must be the same"),
    Malformed("channels disagree", _session(valid_data=counts(3, channels=3)), r"valid_data: has shape 3 x 5 x 3 and train_data 6 x 5 x 4"),
    Malformed("axes reversed", _session(train_data=counts(4, 5, 6), valid_data=counts(4, 5, 3)), r"axes may be reversed \(MATLAB\): store trials x time x channels"),
    Malformed("truth of another shape", _session(train_truth=np.ones((N, T, D + 1))), r"train_truth: has shape 6 x 5 x 5 and train_data 6 x 5 x 4; trials x time x channels must be the same"),
    Malformed("truth rank", _session(train_truth=np.ones((T, D))), r"train_truth: has shape 5 x 4; needs three axes"),
    Malformed("inputs: trials disagree", _session(**_EXT | {"train_ext_input": np.ones((5, T, 2))}), r"train_ext_input: has shape 5 x 5 x 2 and train_data 6 x 5 x 4; trials x time must be the same", _INPUTS),
    Malformed("inputs: bins disagree", _session(**_EXT | {"valid_ext_input": np.ones((3, 4, 2))}), r"valid_ext_input: has shape 3 x 4 x 2 and valid_data 3 x 5 x 4", _INPUTS),
    Malformed("inputs: widths disagree", _session(**_EXT | {"valid_ext_input": np.ones((3, T, 3))}), r"valid_ext_input: has 3 inputs a bin and train_ext_input 2; store the same", _INPUTS),
    Malformed("inputs: none", _session(train_ext_input=np.ones((N, T, 0))), r"train_ext_input: has no inputs", _INPUTS),
    Malformed("inputs: half present", _session(train_ext_input=np.ones((N, T, 2))), r"valid_ext_input: missing while train_ext_input is there; store both or neither", _INPUTS),
    Malformed("enormous", _enormous, r"train_data: 1000000000000000 of its 1000000000000000 blocks were never written"),
]

VALUES = [
    Malformed("text", _session(train_data=_TEXT), r"a\.h5: train_data: holds text; numbers are needed, in any"),
    Malformed("fixed text", _session(train_data=np.full((N, T, D), b"1")), r"train_data: holds text; numbers are needed"),
    Malformed("compound", _session(train_data=_COMPOUND), r"train_data: holds compound or opaque records; numbers are needed"),
    Malformed("complex", _session(train_data=counts() * 1j), r"train_data: holds complex numbers; numbers are needed"),
    Malformed("type unknown to NumPy", _strange_float, r"train_data: holds a type that cannot be read; numbers are needed"),
    Malformed("NaN", _session(train_data=_with((4, 1, 3), np.nan)), r"a\.h5: train_data: NaN or infinity: nan at trial 4, bin 1, channel 3 \(counted from 0; 1 such in all\); .*fill"),
    Malformed("infinity", _session(valid_data=_with((2, 0, 0), np.inf, trials=3)), r"valid_data: NaN or infinity: inf at trial 2, bin 0, channel 0"),
    Malformed("NaN, Gaussian", _session(train_data=_with((0, 4, 2), np.nan, np.float32)), r"train_data: NaN or infinity: nan at trial 0, bin 4, channel 2", _GAUSSIAN),
    Malformed("beyond float32", _session(train_data=_with((1, 2, 3), 1e300)), r"train_data: too large for 32-bit.*1e\+300 at trial 1, bin 2, channel 3.*rescale", _GAUSSIAN),
    Malformed("negative", _session(train_data=_with((5, 0, 1), -1, np.int8)), r"train_data: negative count: -1 at trial 5, bin 0, channel 1 .*--output_dist=gaussian"),
    Malformed("negative float", _session(train_data=_with((5, 0, 1), -1)), r"train_data: negative count: -1\.0 at trial 5"),
    Malformed("rates", _session(train_data=counts() * 0.1), r"train_data: not a whole number: 0\.1 at trial 0, bin 0, channel 1 .*look like rates.*--output_dist=gaussian"),
    Malformed("z-scored", _session(train_data=counts() / 3 - 1), r"train_data: not a whole number: .*look z-scored.*--output_dist=gaussian"),
    Malformed("half precision fractions", _session(train_data=_with((1, 1, 1), 0.5, np.float16)), r"not a whole number: 0\.5 at trial 1, bin 1, channel 1"),
    Malformed("count too large", _session(train_data=_with((0, 0, 0), 2**32, np.int64)), r"train_data: count above 4294967295: 4294967296 at trial 0"),
    Malformed("float count too large", _session(train_data=_with((0, 0, 0), 2.0**32, np.float32)), r"train_data: count above 4294967295"),
    Malformed("truth NaN", _session(train_truth=_with((3, 3, 3), np.nan)), r"train_truth: NaN or infinity: nan at trial 3, bin 3, channel 3"),
    Malformed("inputs NaN", _session(**_EXT | {"train_ext_input": np.full((N, T, 2), np.nan)}), r"train_ext_input: NaN or infinity: nan at trial 0, bin 0, input 0 \(counted from 0; 60 such", _INPUTS),
    Malformed("inputs text", _session(**_EXT | {"train_ext_input": np.full((N, T, 2), b"x")}), r"train_ext_input: holds text", _INPUTS),
    Malformed("factor zero", _session(conversion_factor=0.0), r"conversion_factor: is 0\.0; needs one finite number above 0"),
    Malformed("factor enormous", _session(train_truth=np.ones((N, T, D)), conversion_factor=1e300), r"train_truth: times conversion_factor, 1e\+300, is no finite number; correct the factor"),
    Malformed("factor a vector", _session(conversion_factor=np.ones(3)), r"conversion_factor: has shape 3; needs one"),
]

EXTRAS = [
    Malformed("trial numbers too few", _session(train_inds=np.arange(5), valid_inds=np.arange(6, 9)), r"train_inds: has shape 5; needs one value for each of the 6 trials"),
    Malformed("trial numbers twice", _session(train_inds=np.arange(6), valid_inds=np.arange(5, 8)), r"train_inds and valid_inds: trial number 5 occurs 2 times; each trial needs its own"),
    Malformed("trial numbers half present", _session(valid_inds=np.arange(3)), r"train_inds: missing while valid_inds is there; store both or neither"),
    Malformed("trial numbers fractional", _session(train_inds=np.arange(6) + 0.5, valid_inds=np.arange(6, 9)), r"train_inds: holds something else than whole numbers"),
    Malformed("trial numbers negative", _session(train_inds=np.arange(6) - 1, valid_inds=np.arange(6, 9)), r"train_inds: .* at least 0"),
    Malformed("conditions too few", _session(train_conditions=np.arange(4)), r"train_conditions: has shape 4; needs one value for each of the 6 trials"),
    Malformed("conditions two-dimensional", _session(train_conditions=np.ones((N, 8))), r"train_conditions: has shape 6 x 8; needs one value"),
    Malformed("conditions compound", _session(train_conditions=_COMPOUND[:, 0, 0]), r"train_conditions: holds compound.*; store one number or one text a trial"),
    Malformed("alignment transposed", _session(alignment_matrix_cxf=np.ones((3, D))), r"alignment_matrix_cxf: is 3 x 4, needs channels x factors, 4 x 3 \(the data have 4 channels, --factors_dim=3\); transpose it", {"factors_dim": 3}),
    Malformed("alignment factors", _session(alignment_matrix_cxf=np.ones((D, 7))), r"is 4 x 7, needs channels x factors, 4 x 3 .*use --factors_dim=7", {"factors_dim": 3}),
    Malformed("alignment channels", _session(alignment_matrix_cxf=np.ones((9, 3))), r"is 9 x 3, needs .* 4 x 3 .*compute the matrix for the 4 channels", {"factors_dim": 3}),
    Malformed("alignment rank", _session(alignment_matrix_cxf=np.ones(4)), r"alignment_matrix_cxf: has shape 4; needs channels x factors"),
    Malformed("alignment NaN", _session(alignment_matrix_cxf=_with((0, 2, 1), np.nan)[0]), r"alignment_matrix_cxf: NaN or infinity at \[2, 1\]"),
    Malformed("alignment bias length", _session(alignment_bias_c=np.ones(5)), r"alignment_bias_c: has 5 entries and the data 4 channels; store one entry"),
    Malformed("alignment bias rank", _session(alignment_bias_c=np.ones((2, 2))), r"alignment_bias_c: has shape 2 x 2; needs one value for each of the channels"),
]

TOGETHER = [
    Malformed("inputs missing", _session(), r"train_ext_input: missing, but --ext_input_dim=2; .*inferred inputs are --co_dim; use --ext_input_dim=0", _INPUTS),
    Malformed("inputs of another width", _session(**_EXT), r"train_ext_input: has 2 inputs a bin .* but --ext_input_dim=3; use --ext_input_dim=2", {"ext_input_dim": 3}),
    Malformed("inputs in one session only", _sessions(_BOTH, good()), r"b\.h5: train_ext_input: missing, but", _INPUTS),
    Malformed("sessions of different length", _sessions(good(), good(train_data=counts(bins=4), valid_data=None)), r"differ in their number of bins: .*a\.h5 has 5, .*b\.h5 has 4; cut"),
    Malformed("rates fed back, two sessions", _sessions(good(), good()), r"--feedback_factors_or_rates=rates needs a single session, got 2: .*a\.h5, .*b\.h5; use --feedback_factors_or_rates=factors", {"feedback_factors_or_rates": "rates"}),
    Malformed("lag too long", _session(), r"--controller_input_lag=5: trials have only 5 bins.*use --controller_input_lag=4, --co_dim=0", {"controller_input_lag": 5}),
    Malformed("second file wrong", _sessions(good(), good(train_data=counts() - 1)), r"b\.h5: train_data: negative count"),
]
# fmt: on

MALFORMED = FOLDERS + KEYS + SHAPES + VALUES + EXTRAS + TOGETHER
