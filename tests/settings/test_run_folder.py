"""What a run folder records, and which settings a command takes from there."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from golden_case import FOLDER

from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import NO_LIMIT, HyperParameters, declared
from lfads_tf2.settings.combination import NOT_REMEMBERED, combine
from lfads_tf2.settings.run_folder import RecordedSession, RunRecord, command, read
from lfads_tf2.types import ModelSpec, SessionShape

# The encoders read all channels of the first, five of the eight of the second.
SESSIONS = {"a.h5": RecordedSession(10, 10, True), "b.h5": RecordedSession(8, 5, False)}


def run_folder(tmp_path, **values):
    hp = HyperParameters(**({"data_dir": str(tmp_path / "data"), "gen_dim": 12, "seed": 7} | values))
    (tmp_path / "run").mkdir(exist_ok=True)
    RunRecord(dataclasses.asdict(hp), SESSIONS, 20).write(tmp_path / "run", 30)
    return {"data_dir": str(tmp_path / "data"), "lfads_save_dir": str(tmp_path / "run")}


def test_our_hyperparameters_come_back(tmp_path):
    where = run_folder(tmp_path, report=False, keep_prob=0.5, device="cpu:0", batch_size=17)
    record = read(tmp_path / "run")
    assert record.sessions == SESSIONS and record.num_bins == 20
    hp, again = combine(where | {"kind": "posterior_push_mean"})
    assert (hp.gen_dim, hp.seed, hp.report, hp.keep_prob, hp.batch_size) == (12, 7, False, 0.5, 17)
    assert hp.kind == "posterior_push_mean" and again == record
    assert hp.device == "/gpu:0", "the device is each command's own"


def test_booleans_are_stored_as_the_words_of_the_original(tmp_path):
    run_folder(tmp_path)
    content = json.loads((tmp_path / "run" / "hyperparameters-30.txt").read_text())
    original = json.loads((FOLDER / "tf1_checkpoint" / "run" / "hyperparameters-200.txt").read_text())
    for name, field in declared().items():
        if isinstance(field.default, bool):
            assert content[name] == str(field.default).lower()
    for key in ("dataset_names", "dataset_dims", "num_steps", "ndatasets"):
        assert type(content[key]) is type(original[key]), key
    # What later stages rely on; the rest of the original's keys are debug flags or gone for good reason.
    assert set(original) <= set(content)


def test_the_newest_hyperparameters_file_counts(tmp_path):
    where = run_folder(tmp_path)
    (tmp_path / "run" / "hyperparameters-4.txt").write_text("{}")
    (tmp_path / "run" / "hyperparameters-99x.txt").write_text("no JSON")
    assert combine(where)[0].gen_dim == 12
    RunRecord({"gen_dim": 13}, {}, 20).write(tmp_path / "run", 100)
    assert combine(where)[0].gen_dim == 13


def test_the_originals_hyperparameters(tmp_path):
    shutil.copytree(FOLDER / "tf1_checkpoint" / "run", tmp_path / "run")
    where = {"data_dir": str(tmp_path), "lfads_save_dir": str(tmp_path / "run"), "kind": "posterior_push_mean"}
    hp, record = combine(where)
    assert (hp.co_dim, hp.factors_dim, hp.gen_dim, hp.ic_dim, hp.con_dim) == (2, 4, 12, 5, 6)
    assert hp.do_train_prior_ar_atau is True and hp.do_causal_controller is False
    assert hp._clip_value == 80.0 and hp.l2_con_scale == 10.0
    assert hp.data_filename_stem == "toy", "so that the original's stem needs not be given again"
    assert record.sessions == {"a": RecordedSession(10, 10), "b": RecordedSession(8, 8)} and record.num_bins == 20
    assert hp.ps_nexamples_to_process == NO_LIMIT, "what to process is each command's own"
    # The file of the model is as good as its folder.
    prefix = str(tmp_path / "run" / "lfads_vae.ckpt-168")
    assert combine({"data_dir": str(tmp_path / "other"), "model_params_file": prefix})[0].gen_dim == 12


def test_a_changed_architecture_shows_both_values(tmp_path):
    where = run_folder(tmp_path)
    with pytest.raises(SettingsError) as error:
        combine(where | {"gen_dim": 99, "do_causal_controller": True, "batch_size": 3})
    assert len(error.value.problems) == 2
    assert f"--gen_dim=99 does not fit the model in {tmp_path / 'run'}, which has gen_dim=12" in str(error.value)
    assert "--do_causal_controller=True" in str(error.value) and "do_causal_controller=False" in str(error.value)
    assert "leave the flag out, or train in a new --lfads_save_dir" in str(error.value)


@pytest.mark.parametrize("name", [n for n, f in declared().items() if f.metadata.get("architecture")])
def test_every_size_of_the_model_is_guarded(tmp_path, name):
    where = run_folder(tmp_path, ext_input_dim=1)
    stored = getattr(HyperParameters(gen_dim=12, ext_input_dim=1), name)
    choices = declared()[name].metadata.get("choices")
    other = choices[1] if choices else (not stored) if isinstance(stored, bool) else 3
    with pytest.raises(SettingsError, match=f"--{name}={other} does not fit"):
        combine(where | {name: other})
    combine(where | {name: stored})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 3), ("num_samples_posterior", 5), ("device", "cpu:0"), ("max_epochs", 9), ("keep_prob", 0.5),
        ("learning_rate_init", 0.02), ("l2_gen_scale", 0.0), ("seed", 99), ("report", False), ("kl_ic_weight", 2.0),
    ],
)  # fmt: skip
def test_other_settings_override_the_run_folder(tmp_path, name, value):
    assert getattr(combine(run_folder(tmp_path) | {name: value})[0], name) == value


def test_no_limit_on_first_bins_is_the_same_as_all_bins(tmp_path):
    where = run_folder(tmp_path, num_steps_for_gen_ic=20)
    assert combine(where | {"num_steps_for_gen_ic": NO_LIMIT})[0].gen_dim == 12
    with pytest.raises(SettingsError, match="--num_steps_for_gen_ic=19 does not fit"):
        combine(where | {"num_steps_for_gen_ic": 19})


def test_what_a_command_decides_for_itself_is_not_read(tmp_path):
    where = run_folder(
        tmp_path,
        kind="write_model_params",
        output_filename_stem="x",
        do_reset_learning_rate=True,
        model_params_file="m",
    )
    hp, _ = combine(where)
    for name in set(NOT_REMEMBERED) - {"data_dir", "lfads_save_dir"}:
        assert getattr(hp, name) == declared()[name].default, name


def test_the_run_folder_defaults_to_one_inside_the_data(tmp_path):
    hp, record = combine({"data_dir": str(tmp_path)})
    assert hp.lfads_save_dir == str(tmp_path / "lfads_output") and record is None


def test_inference_without_a_model_is_refused(tmp_path):
    for kind in ("posterior_sample_and_average", "posterior_push_mean", "prior_sample", "write_model_params"):
        with pytest.raises(
            SettingsError,
            match=r"no trained model in .*lfads_output; train one: lfads train .* \(run_lfads.py: --kind=train\)",
        ):
            combine({"data_dir": str(tmp_path), "kind": kind})


def model_in(folder, data_dir):
    """What a search or a training leaves, as far as it is looked for."""
    folder.mkdir(parents=True)
    (folder / "lfads_vae_lve.ckpt-10.index").touch()
    RunRecord({"data_dir": str(data_dir)}, {}, 9).write(folder, 10)
    return folder


@pytest.mark.parametrize(
    ("place", "given"),
    [
        ("search/best_model", {"data_dir": "data", "lfads_save_dir": "search"}),
        ("search/best_model", {"data_dir": "search"}),
        ("search/best_model", {"data_dir": "search/best_model"}),
        ("data/autolfads_output/best_model", {"data_dir": "data"}),
        ("data/autolfads_output/best_model", {"data_dir": "data/autolfads_output"}),
        ("run", {"data_dir": "run"}),
    ],
)
def test_a_model_that_lies_elsewhere_is_named_with_its_command(tmp_path, monkeypatch, place, given):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    model_in(tmp_path / place, "data")
    for kind, name in (("posterior_sample_and_average", "infer"), ("write_model_params", "export-params")):
        with pytest.raises(SettingsError, match="no trained model in") as error:
            combine({"kind": kind} | given)
        assert f"there is one in {place}: lfads {name} data --lfads_save_dir={place}" in str(error.value)
    hp, _ = combine({"kind": "posterior_push_mean", "data_dir": "data", "lfads_save_dir": place})
    assert hp.data_dir == "data"


def test_commands_are_fit_for_a_shell(tmp_path):
    assert command(tmp_path / "a b", "my data") == f"lfads infer 'my data' '--lfads_save_dir={tmp_path}/a b'"
    assert command(Path("d/lfads_output"), "d", "train") == "lfads train d"
    assert command(tmp_path) == f"lfads infer DATA --lfads_save_dir={tmp_path}", "no record there"


def test_data_dir_is_required():
    with pytest.raises(SettingsError, match=r"no data folder is given: lfads train DATA"):
        combine({"kind": "train"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a readable hyperparameters file"),
        ("", "is not a readable hyperparameters file"),
        ("[1]", "is not a readable hyperparameters file"),
        ('{"dataset_names": ["a"], "dataset_dims": {}}', "is not a readable hyperparameters file"),
        ('{"dataset_names": ["a"]}', "is not a readable hyperparameters file"),
        ('{"gen_dim": "many"}', "--gen_dim must be a whole number, got 'many'"),
        ('{"gen_dim": -3}', "--gen_dim must be at least 1, got -3"),
        ('{"keep_prob": NaN}', "--keep_prob must be"),
        ('{"num_steps": "x"}', "is not a readable hyperparameters file"),
        ('{"num_steps": Infinity}', "is not a readable hyperparameters file"),
        ('{"dataset_names": ["a"], "dataset_dims": {"a": 1e999}}', "is not a readable hyperparameters file"),
        ("[" * 100000, "is not a readable hyperparameters file"),
        ('{"a": ' * 100000, "is not a readable hyperparameters file"),
    ],
)
def test_broken_hyperparameters_files(tmp_path, content, message):
    (tmp_path / "hyperparameters-3.txt").write_text(content)
    with pytest.raises(SettingsError) as error:
        read(tmp_path)
    assert message in str(error.value) and "hyperparameters-3.txt" in str(error.value)


def test_a_folder_without_hyperparameters(tmp_path):
    assert read(tmp_path) is None and read(tmp_path / "gone") is None
    assert read(ROOT / "run_lfads.py") is None


def test_the_record_of_a_model_comes_back(tmp_path):
    shapes = (SessionShape("a.h5", 10, True), SessionShape("b.h5", 8, False, num_encoded=5))
    spec = ModelSpec(HyperParameters(data_dir="d", gen_dim=12, report=False), 20, shapes, encoded_bins=15)
    path = RunRecord.of(spec).write(tmp_path, 7)
    found = read(tmp_path)
    assert path == found.path == tmp_path / "hyperparameters-7.txt"
    assert found.sessions == SESSIONS and list(found.sessions) == ["a.h5", "b.h5"]
    assert HyperParameters(**found.hyperparameters) == spec.hyperparameters and found.num_bins == 20


def test_files_of_earlier_versions_have_no_encoded_channels(tmp_path):
    RunRecord.of(ModelSpec(HyperParameters(), 20, (SessionShape("a", 10),))).write(tmp_path, 7)
    content = json.loads((tmp_path / "hyperparameters-7.txt").read_text())
    assert "dataset_encoded_dims" not in content, "as before where all channels are read"
    assert read(tmp_path).sessions == {"a": RecordedSession(10, 10, False)}


def test_a_changed_file_is_said(tmp_path, caplog):
    where = run_folder(tmp_path)
    assert combine(where)[0].keep_prob == 0.95 and not caplog.text
    path = tmp_path / "run" / "hyperparameters-30.txt"
    path.write_text(path.read_text().replace('"keep_prob": 0.95', '"keep_prob": 0.85'))
    assert combine(where)[0].keep_prob == 0.85
    assert "hyperparameters-30.txt was changed after it was written" in caplog.text
