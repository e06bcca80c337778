"""Checkpoints are found, whatever became of the files beside them, and damage is said rather than passed over."""

from __future__ import annotations

import logging
import shutil

import pytest
import tensorflow as tf
from small_models import trainer_of
from small_runs import write_spikes

from lfads_tf2.settings import checkpoint_files
from lfads_tf2.training import checkpoints
from lfads_tf2.training.trainer import TrainingFailed


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Twelve epochs: rolling checkpoints after the first, the eleventh and the last, and some of lowest validation."""
    folder = tmp_path_factory.mktemp("whole")
    write_spikes(folder / "data" / "one.h5")
    trainer_of(folder, max_epochs=12).train()
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


def names(paths):
    return [path.name for path in paths]


STATES = {
    "gone": None, "empty": b"", "cut": 30, "no text": bytes(range(256)), "another's": b'model_checkpoint_path: "x"\n',
    "far away": b'model_checkpoint_path: "C:\\elsewhere\\lfads_vae.ckpt-36"\n',
}  # fmt: skip


@pytest.mark.parametrize("what", STATES)
def test_a_state_file_is_not_needed(folder, what, caplog):
    run, content = folder / "run", STATES[what]
    rolling, lowest = (checkpoint_files.saved_checkpoints(run / state) for state in ("checkpoint", "checkpoint_lve"))
    assert names(rolling) == ["lfads_vae.ckpt-3", "lfads_vae.ckpt-33", "lfads_vae.ckpt-36"] and lowest
    for state in ("checkpoint", "checkpoint_lve"):
        before = (run / state).read_bytes()
        (run / state).unlink()
        if content is not None:
            (run / state).write_bytes(before[:content] if isinstance(content, int) else content)
    assert checkpoint_files.newest(run, "checkpoint") == rolling[-1]
    if what != "far away":
        assert checkpoint_files.saved_checkpoints(run / "checkpoint_lve") == lowest
        assert checkpoint_files.for_inference(run, "") == lowest[-1]
    caplog.set_level(logging.INFO, "lfads_tf2")
    log = (run / "fitlog.csv").read_text()
    trainer_of(folder, max_epochs=12)
    assert "Resuming from" in caplog.text and "after epoch 12" in caplog.text
    assert (run / "fitlog.csv").read_text() == log


def test_what_is_no_checkpoint_is_not_taken_for_one(folder):
    run = folder / "run"
    (run / "checkpoint").unlink()
    for name in ("notes.index", "x.ckpt-best.index", "lfads_vae.ckpt-99.data-00000-of-00001"):
        (run / name).write_bytes(b"")
    assert checkpoint_files.newest(run, "checkpoint").name == "lfads_vae.ckpt-36"


@pytest.mark.parametrize("ending", ["index", "data*"])
def test_the_one_before_a_damaged_one_is_taken_and_gives_the_same_numbers(folder, whole, ending, caplog):
    caplog.set_level(logging.INFO, "lfads_tf2")
    for path in (folder / "run").glob(f"*ckpt-36.{ending}"):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    trainer = trainer_of(folder, max_epochs=12)
    assert trainer.step < 36 and "ckpt-36 is damaged" in caplog.text
    assert all(len(record.getMessage()) < 500 for record in caplog.records)
    if ending == "index":
        trainer.train()
        assert (folder / "run" / "fitlog.csv").read_text() == (whole / "run" / "fitlog.csv").read_text()


def test_no_checkpoint_can_be_read(folder):
    for path in (folder / "run").glob("*.ckpt-*.index"):
        path.write_bytes(b"nothing")
    with pytest.raises(TrainingFailed, match=r"every checkpoint in .* is damaged") as error:
        trainer_of(folder)
    assert "--resume=never" in str(error.value) and len(str(error.value)) < 700


def test_a_lost_lowest_validation_checkpoint_is_not_passed_over(folder):
    for path in (folder / "run").glob("*_lve.ckpt-*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="its files are gone; give --checkpoint_pb_load_name=checkpoint"):
        checkpoint_files.for_inference(folder / "run", "")
    assert checkpoint_files.for_inference(folder / "run", "checkpoint").name == "lfads_vae.ckpt-36"


@pytest.mark.parametrize("name", ["monkey [v1]", "a*b? 'ä' {x,y}\\c\nd"])
def test_folders_of_any_name(whole, tmp_path, name):
    folder = shutil.copytree(whole, tmp_path / name)
    trainer = trainer_of(folder, max_epochs=13)
    assert trainer.step == 36
    trainer.train()
    prefix = checkpoint_files.newest(folder / "run", "checkpoint")
    assert prefix.name == "lfads_vae.ckpt-39" and not checkpoints.is_original(prefix)
    with checkpoints.readable(prefix) as path:
        assert tf.train.list_variables(path)


def test_a_training_that_failed_stays_failed(folder, monkeypatch):
    trainer = trainer_of(folder, max_epochs=20, learning_rate_stop=6e-3)

    class Bad:
        first_bad = -1

    monkeypatch.setattr(trainer, "_train_epoch", lambda: trainer._roll_back(Bad))
    with pytest.raises(TrainingFailed, match="again and again"):
        trainer.train()
    again = trainer_of(folder, max_epochs=20)
    with pytest.raises(TrainingFailed, match="again and again"):
        again.train()
    assert again.step == 36
    reset = trainer_of(folder, max_epochs=13, do_reset_learning_rate=True)
    reset.train()
    assert reset.step == 39


def test_a_newer_checkpoint_is_not_passed_over_without_a_word(folder, caplog):
    run = folder / "run"
    lowest = checkpoint_files.saved_checkpoints(run / "checkpoint_lve")
    assert len(lowest) > 1 and checkpoint_files.for_inference(run, "") == lowest[-1] and not caplog.text
    # The state file names an older one only, as after a changed digit.
    whole = (run / "checkpoint_lve").read_text()
    (run / "checkpoint_lve").write_text(f'model_checkpoint_path: "{lowest[0].name}"\n')
    assert checkpoint_files.for_inference(run, "") == lowest[0]
    assert f"{lowest[-1].name} is passed over" in caplog.text and "does not name it" in caplog.text
    (run / "checkpoint_lve").write_text(whole)
    caplog.clear()
    lowest[-1].with_name(lowest[-1].name + ".index").unlink()
    assert checkpoint_files.for_inference(run, "") == lowest[-2]
    assert f"{lowest[-1].name} is passed over: its files are gone" in caplog.text
