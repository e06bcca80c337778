"""RunParams: hashes as MATLAB's, value semantics, sweeps, command line."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest

from lfads_tf2.run_manager.params.fields import param
from lfads_tf2.run_manager.params.matlab_hash import Typed, short_hash
from lfads_tf2.run_manager.params.run_params import RunParams
from lfads_tf2.run_manager.params.values import ParamError

A = {
    "c_factors_dim": 8, "c_ic_enc_dim": 64, "c_gen_dim": 64, "c_co_dim": 0, "c_batch_size": 150,
    "c_learning_rate_stop": 1e-3,
}  # fmt: skip


class LabParams(RunParams):
    alignTo = "go_cue"
    windowMs = param(800, "uint16", "length of a trial")
    offsets = np.array([1.0, 2.0])
    c_lab_switch = False


@pytest.mark.parametrize(
    ("changes", "param_hash", "data_hash"),
    [
        ({}, "YOs74u", "4MaTKO"),
        ({"useAlignmentMatrix": True}, "Qr2PeG", "RE1kuL"),
        ({"c_factors_dim": 2}, "Z1-4Ne", "cq1HAe"),
        ({"c_factors_dim": 4}, "UEvXAB", "QcdNGf"),
        ({"c_factors_dim": 6}, "m8Dk5i", "y3K_k3"),
    ],
)
def test_hashes_are_those_in_the_run_managers_pages(changes, param_hash, data_hash):
    params = RunParams(**(A | changes))
    assert (params.param_hash, params.data_hash) == (param_hash, data_hash)


def test_hash_of_nothing_changed():
    assert RunParams().param_hash == RunParams().data_hash == "T4MzIi"
    # Setting a default, in whatever type, is no change.
    assert RunParams(c_gen_dim=100.0, spikeBinMs=2, c_do_train_readin=1).param_hash == "T4MzIi"


def test_order_of_fields_changes_no_hash():
    items = list((A | {"useAlignmentMatrix": True}).items())
    for seed in range(20):
        random.Random(seed).shuffle(items)
        assert RunParams(**dict(items)).param_hash == "Qr2PeG"


def test_labels_posterior_and_debugging_are_not_hashed():
    changes = {
        "name": "x",
        "version": 20200131,
        "num_samples_posterior": 8,
        "posterior_mean_kind": "posterior_push_mean",
    }
    changes |= {"c_debug_verbose": True, "c_tf_debug_dump_root": "here", "c_debug_reduce_timesteps_to": [10]}
    assert RunParams(**changes).param_hash == "T4MzIi"
    # The device does change it, as in MATLAB.
    assert RunParams(c_device="cpu:0").param_hash != "T4MzIi"


def test_bytes_that_are_hashed():
    # Worked out by hand from the format: class name, number of axes, axes, content; wide integers are narrowed.
    import base64
    import hashlib

    def size(*axes):
        return np.array([len(axes), *axes], "<u8").tobytes()

    stream = b"struct" + size(1, 1)
    stream += b"a" + b"cell" + size(1, 2) + b"char" + size(1, 2) + "hi".encode("utf-16-le")
    stream += b"double" + size(1, 1) + np.array(2.0, "<f8").tobytes()
    stream += b"b" + b"uint16" + size(1, 1) + np.array(900, "<u2").tobytes()
    stream += b"c" + b"char" + size(0, 0)
    stream += b"d" + b"double" + size(2, 2) + np.array([1, 3, 2, 4], "<f8").tobytes()
    expected = base64.urlsafe_b64encode(hashlib.md5(stream).digest()).decode()
    expected = base64.b64encode(hashlib.md5(stream).digest()).decode().replace("/", "_").replace("+", "-")[:6]
    fields = {
        "d": Typed(np.array([[1.0, 2.0], [3.0, 4.0]]), "double"),
        "c": Typed("", "char"),
        "b": Typed(900, "uint32"),
        "a": Typed(("hi", 2), "cell"),
    }
    assert short_hash(fields) == expected


def test_types_as_declared():
    assert RunParams(c_gen_dim=np.int64(64)) == RunParams(c_gen_dim=64)
    assert RunParams(alignmentExtraArgs={"ridgeNormalizeEach": True}).alignmentExtraArgs == ("ridgeNormalizeEach", True)
    params = LabParams()
    assert (params.alignTo, params.windowMs, params.c_lab_switch) == ("go_cue", 800, False)
    with pytest.raises(ValueError, match="read-only"):
        params.offsets[0] = 5


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("c_gen_dim", 64.5, "c_gen_dim must be a whole number from 0 to 65535, got 64.5"),
        ("c_gen_dim", 70000, "whole number from 0 to 65535"),
        ("c_gen_dim", 0, "c_gen_dim must be at least 1, got 0"),
        ("c_keep_prob", "much", "c_keep_prob must be a number"),
        ("c_output_dist", "poison", "must be one of poisson, gaussian"),
        ("alignmentApproach", "pca", "must be one of regressGlobalPCs, ridgeRegressGlobalPCs"),
        ("c_gendim", 3, "did you mean c_gen_dim?"),
        ("version", 201801, "eight digits"),
        ("spikeBinMs", float("nan"), "must be a number"),
    ],
)
def test_wrong_values_are_refused(name, value, words):
    with pytest.raises(ParamError, match=words.replace("?", r"\?")):
        RunParams(**{name: value})
    params = RunParams()
    with pytest.raises(ParamError):
        setattr(params, name, value)


def test_own_parameters_count_for_the_data():
    plain = LabParams()
    assert plain.param_hash == "T4MzIi"
    changed = LabParams(c_lab_switch=True)
    assert changed.data_fields == {"c_lab_switch": True}
    assert changed.data_hash != "T4MzIi"
    assert "--lab_switch=true" in changed.command_line(1)
    with pytest.raises(ParamError, match="c_gen_dim exists already"):
        type("Wrong", (RunParams,), {"c_gen_dim": 64})


def test_values_not_references():
    params = RunParams(c_gen_dim=64)
    kept = params.copy()
    params.c_gen_dim = 32
    assert kept.c_gen_dim == 64
    assert kept != params
    assert RunParams(c_gen_dim=64) == kept and hash(RunParams(c_gen_dim=64)) == hash(kept)


@pytest.mark.parametrize("params", [
    RunParams(**A), LabParams(offsets=[3.0], windowMs=5, alignmentExtraArgs=("a", 1.5), c_kl_ic_weight=1e-9, name="x"),
])  # fmt: skip
def test_json_round_trip(params):
    back = type(params).from_json(params.to_json())
    assert back == params
    assert (back.param_hash, back.data_hash) == (params.param_hash, params.data_hash)
    if type(params) is LabParams:
        with pytest.raises(ParamError, match="class LabParams"):
            RunParams.from_json(params.to_json())


def test_sweep():
    grid = RunParams(**A).generate_sweep("c_gen_dim", [32, 64, 96], "c_co_dim", [0, 2])
    assert grid.shape == (3, 2)
    assert (grid[2, 1].c_gen_dim, grid[2, 1].c_co_dim, grid[2, 1].c_batch_size) == (96, 2, 150)
    assert [p.c_gen_dim for p in grid.ravel(order="F")[:3]] == [32, 64, 96]
    with pytest.raises(ParamError, match="did you mean c_gen_dim"):
        RunParams().generate_sweep("c_gendim", [1])
    with pytest.raises(ParamError, match="list of at least one value"):
        RunParams().generate_sweep("c_gen_dim", 32)


def test_command_line():
    flags = RunParams(**A, c_kl_ic_weight=1e-8, c_kl_start_step=10).command_line(3)
    for expected in (
        "--gen_dim=64", "--kl_ic_weight=1e-08", "--kl_increase_steps=2700", "--l2_increase_steps=2700",
        "--kl_start_step=30", "--do_causal_controller=false", "--learning_rate_stop=0.001", "--device=/gpu:0",
        "--num_steps_for_gen_ic=4294967295", "--learning_rate_decay_factor=0.98",
    ):  # fmt: skip
        assert expected in flags
    assert not any("debug" in flag or "max_epochs" in flag or "in_factors" in flag for flag in flags)
    fixed = RunParams(scaleIncreaseStepsWithDatasets=False, c_max_epochs=5).command_line(3, without=("batch_size",))
    assert "--kl_increase_steps=900" in fixed and "--max_epochs=5" in fixed
    assert not any(flag.startswith("--batch_size") for flag in fixed)


def test_the_program_understands_the_command_line():
    from flags import parse
    from lfads_tf2.hyperparameters import HyperParameters

    given, ignored = parse(RunParams(c_debug_verbose=True, c_l2_gen_scale=1.25e-7).command_line(2))
    assert ignored == ["debug_verbose"]
    hp = dataclasses.replace(HyperParameters(), **given)
    assert (hp.kl_increase_steps, hp.learning_rate_decay_factor, hp.l2_gen_scale) == (1800, 0.98, 1.25e-7)


def test_printed_with_differences_on_top():
    text = repr(RunParams(**A, name="first_attempt"))
    lines = text.splitlines()
    assert lines[0] == '[param_YOs74u data_4MaTKO] RunParams "first_attempt"'
    first = "c_learning_rate_stop=0.001 c_batch_size=150 c_co_dim=0 c_ic_enc_dim=64 c_gen_dim=64 c_factors_dim=8"
    assert lines[1].strip() == first
    assert "  optimization" in lines and any(line.strip() == "c_keep_prob: 0.95" for line in lines)
    assert "default" in repr(RunParams()).splitlines()[1]
    assert "offsets: [...]" in repr(LabParams(offsets=list(range(6))))
