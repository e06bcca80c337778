"""A run folder is never mixed with other data, other settings or another command's work without a word."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest
from small_runs import write_spikes

from lfads_tf2.data import read_sessions
from lfads_tf2.errors import LFADSError, RunError, SettingsError
from lfads_tf2.estimator import Estimator
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.program import resuming
from lfads_tf2.program.kinds import KINDS
from lfads_tf2.program.run_lock import run_lock
from lfads_tf2.settings import run_folder
from lfads_tf2.settings.combination import combine
from lfads_tf2.training.fit_log import read

MODEL = {
    "co_dim": 0, "factors_dim": 3, "gen_dim": 6, "ic_dim": 4, "ic_enc_dim": 5, "batch_size": 8, "seed": 1,
    "kl_increase_steps": 0, "l2_increase_steps": 0, "report": False,
}  # fmt: skip


def command(folder, kind="train", **given):
    hp, record = combine({"kind": kind, "data_dir": str(folder), "report": False} | given)
    KINDS[kind](hp, read_sessions(hp), record)
    return folder / "lfads_output"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_spikes(folder / "a.h5")
    command(folder, **MODEL, max_epochs=2)
    return folder


@pytest.fixture
def trained(run, tmp_path):
    """A data folder with a run of two epochs."""
    return shutil.copytree(run, tmp_path / "data")


def epochs(folder):
    return list(read(folder / "fitlog.csv")["epoch"])


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_other_data_are_refused_in_training_and_said_in_inference(trained, caplog):
    output, before = trained / "lfads_output", files(trained / "lfads_output")
    write_spikes(trained / "a.h5", seed=5)
    with pytest.raises(RunError) as error:
        command(trained, max_epochs=4)
    for part in ("are not those that the model in", "session a.h5: the same shapes", "new --lfads_save_dir", "never"):
        assert part in str(error.value)
    assert files(output) == before
    command(trained, "posterior_push_mean")
    assert "These are not the data that the model was trained on: session a.h5" in caplog.text
    # The ways out.
    write_spikes(trained / "a.h5")
    command(trained, max_epochs=3)
    assert epochs(output) == [0, 1, 2]
    caplog.clear()
    write_spikes(trained / "a.h5", seed=5, train=21)
    with pytest.raises(RunError, match="train 20 x 9 x 7 then, 21 x 9 x 7 now"):
        command(trained, max_epochs=4)
    command(trained, max_epochs=1, resume="never", **(MODEL | {"gen_dim": 7}))
    assert epochs(output) == [0] and epochs(output / "earlier_1") == [0, 1, 2]
    assert run_folder.read(output / "earlier_1").hyperparameters["gen_dim"] == 6
    assert run_folder.read(output).hyperparameters["gen_dim"] == 7
    hp = combine({"data_dir": str(trained), "resume": "never"})[0]
    resuming.prepare(output, hp, None, {})
    assert epochs(output / "earlier_2") == [0]


def with_bins_of(path, width):
    with h5py.File(path, "a") as f:
        f.attrs["bin_width_ms"] = width


def test_bins_of_another_width_are_refused_in_inference(tmp_path, caplog):
    write_spikes(tmp_path / "a.h5")
    with_bins_of(tmp_path / "a.h5", 10.0)
    before = files(command(tmp_path, **MODEL, max_epochs=1))
    write_spikes(tmp_path / "a.h5", seed=5)
    with_bins_of(tmp_path / "a.h5", 20.0)
    for kind in ("posterior_push_mean", "posterior_sample_and_average", "prior_sample"):
        with pytest.raises(
            RunError, match=r"was trained on bins of 10 ms, and those of session a\.h5 are 20 ms wide; .*"
        ):
            command(tmp_path, kind)
    assert files(tmp_path / "lfads_output") == before
    # The same counts, whose width was said wrongly before.
    write_spikes(tmp_path / "a.h5")
    with_bins_of(tmp_path / "a.h5", 20.0)
    command(tmp_path, "posterior_push_mean")
    assert "bin width ms 10.0 then, 20.0 now" in caplog.text


def test_there_must_be_a_run(tmp_path):
    write_spikes(tmp_path / "a.h5")
    with pytest.raises(RunError, match="--resume=must: there is no checkpoint in"):
        command(tmp_path, **MODEL, max_epochs=1, resume="must")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"], "not even an empty folder is left"
    command(tmp_path, **MODEL, max_epochs=1, resume="auto")
    command(tmp_path, max_epochs=2, resume="must")
    assert epochs(tmp_path / "lfads_output") == [0, 1]
    assert combine({"data_dir": str(tmp_path)})[0].resume == "auto", "each command's own"


def test_changed_settings_are_said(trained, caplog):
    def prepared(**given):
        caplog.clear()
        hp, record = combine({"data_dir": str(trained)} | given)
        assert resuming.prepare(trained / "lfads_output", hp, record, record.data)
        return caplog.text

    assert "other settings than before: max_epochs 3 (was 2)." in prepared(max_epochs=3)
    assert prepared() == "" == prepared(device="cpu:0", report=True, num_threads=1)
    text = prepared(max_epochs=4, keep_prob=0.5, batch_size=4)
    assert "batch_size 4 (was 8), max_epochs 4 (was 2), keep_prob 0.5 (was 0.95)" in text


@pytest.mark.parametrize("kind", ["train", "posterior_push_mean", "write_model_params"])
def test_two_commands_in_one_folder(trained, kind):
    before = files(trained / "lfads_output")
    with run_lock(trained / "lfads_output", "the first"), pytest.raises(RunError, match="is in use by the first"):
        command(trained, kind)
    assert files(trained / "lfads_output") == before


def test_the_estimator_too(tmp_path):
    spikes = np.random.default_rng(0).poisson(1.0, (15, 8, 4))
    settings = {name: value for name, value in MODEL.items() if name not in ("seed", "report")} | {"max_epochs": 1}
    Estimator(tmp_path, **settings).fit(spikes)
    with pytest.raises(LFADSError, match="not those that the model in"):
        Estimator(tmp_path, **settings).fit(spikes + 1)
    assert Estimator(tmp_path, resume="never", **settings).fit(spikes + 1).step > 0
    with run_lock(tmp_path, "the first"), pytest.raises(RunError, match="in use by the first"):
        Estimator(tmp_path, **settings).fit(spikes + 1)


EVIL = """
raise SystemExit("this ran")
"""


@pytest.mark.parametrize(
    ("setting", "value"),
    [("output_dist", "evil:Dist"), ("co_prior", "evil:Prior"), ("augmentations", "evil:Augmentation")],
)
def test_code_that_a_folder_names_is_not_run(trained, setting, value, monkeypatch):
    path = next((trained / "lfads_output").glob("hyperparameters-*.txt"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {setting: value}))
    (trained / "evil.py").write_text(EVIL)
    monkeypatch.chdir(trained)
    export = str(trained / "lfads_output" / "model_params")
    for given in ({}, {"kind": "posterior_push_mean"}, {"lfads_save_dir": "new", "model_params_file": export}):
        with pytest.raises(SettingsError, match=rf"--{setting}: the run folder .* names code .*--allow_own_parts"):
            combine({"data_dir": str(trained)} | given)
    assert getattr(combine({"data_dir": str(trained), setting: value})[0], setting) == value
    hp, _ = combine({"data_dir": str(trained), "allow_own_parts": True})
    assert getattr(hp, setting) == value


def test_a_folder_cannot_allow_itself(trained):
    path = next((trained / "lfads_output").glob("hyperparameters-*.txt"))
    content = json.loads(path.read_text()) | {"co_prior": "evil:Prior", "allow_own_parts": "true"}
    path.write_text(json.dumps(content))
    with pytest.raises(SettingsError, match="names code"):
        combine({"data_dir": str(trained)})


def test_nothing_of_a_session_is_lost_in_the_record(trained):
    record = run_folder.read(trained / "lfads_output")
    facts = record.data["a.h5"]
    assert (facts["train"], facts["valid"], len(facts["hash"])) == ([20, 9, 7], [6, 9, 7], 32)
    with h5py.File(trained / "a.h5", "r+") as f:
        f.attrs["bin_width_ms"] = 5.0
    with pytest.raises(RunError, match=r"bin width ms none then, 5\.0 now"):
        command(trained, max_epochs=3)
    assert HyperParameters(**record.hyperparameters).resume == "auto"


def test_what_is_left_of_a_run_is_not_written_over(trained):
    output = trained / "lfads_output"
    for path in [*output.glob("*ckpt-*"), *output.glob("checkpoint*")]:
        path.unlink()
    before = files(output)
    with pytest.raises(RunError, match=r"holds the log of a training .* but none of its checkpoints.*--resume=never"):
        command(trained, max_epochs=3)
    assert files(output) == before
    # A training that was killed in its first epoch has lost nothing.
    for text in ("", "epoch,0, step,3, total,1.00\n", "epoch,0, st"):
        (output / "fitlog.csv").write_text(text)
        hp, record = combine({"data_dir": str(trained)})
        assert not resuming.prepare(output, hp, record, {})


def test_litter_of_killed_commands_goes(trained):
    output = trained / "lfads_output"
    (output / "lfads_vae.ckpt-9_temp").mkdir()
    for name in (".fitlog.csv.1.ab.tmp", "lfads_vae.ckpt-9_temp/part-00000", "lfads_vae.ckpt-9.index.tempstate1"):
        (output / name).write_text("x")
    before = set(files(output)) - {".fitlog.csv.1.ab.tmp", "lfads_vae.ckpt-9.index.tempstate1"}
    hp, record = combine({"data_dir": str(trained)})
    assert resuming.prepare(output, hp, record, record.data)
    assert set(files(output)) == before and not (output / "lfads_vae.ckpt-9_temp").exists()
