"""--preset=auto: what it must obey whatever the data, and how it is given, recorded and overruled."""

from __future__ import annotations

import itertools
import math

import h5py
import pytest
from small_runs import write_spikes

from lfads_tf2.data import read_sessions
from lfads_tf2.data.batches import epoch_batches
from lfads_tf2.data.facts import Facts, described, facts_of
from lfads_tf2.hyperparameters import HyperParameters, problems
from lfads_tf2.program.auto_settings import AutoSettings, auto_settings
from lfads_tf2.program.command_line import run_lfads
from lfads_tf2.program.run_lock import run_lock
from lfads_tf2.settings import auto, flags, run_folder

FACTS = [
    Facts(trials_of=(trials,) * sessions, bins=bins, channels=channels, spikes=0.2)
    for trials, bins, channels, sessions in itertools.product(
        (1, 20, 96, 1040, 20000), (1, 9, 100), (1, 20, 300), (1, 5)
    )
]


@pytest.mark.parametrize("facts", FACTS, ids=str)
def test_always_a_sound_set(facts):
    chosen = auto.settled(facts, {})
    hp = HyperParameters(**chosen)
    assert problems(hp) == []
    assert hp.batch_size <= facts.fewest_trials
    assert hp.factors_dim < max(facts.channels, 2)
    assert 0 < hp.kl_increase_epochs < hp.max_epochs / 2
    an_epoch = sum(math.ceil(trials / hp.batch_size) for trials in facts.trials_of)
    steps = an_epoch * hp.max_epochs
    assert auto.FEWEST_STEPS - 400 <= steps <= max(auto.MOST_STEPS + 700, 60 * an_epoch)
    assert all(choice.reason for choice in auto.choose(facts, {}))


def test_what_is_given_stays_and_is_reckoned_with():
    facts = Facts(trials_of=(96,), bins=50, channels=20, spikes=0.3)
    plain, given = auto.settled(facts, {}), {"batch_size": 16, "co_dim": 3, "kl_increase_steps": 7}
    chosen = auto.settled(facts, given)
    assert {name: chosen[name] for name in given} == given
    assert "kl_increase_epochs" not in chosen and chosen["l2_increase_epochs"] > 0
    # Twice the steps an epoch: half the epochs.
    assert chosen["max_epochs"] == pytest.approx(plain["max_epochs"] / 2, abs=1)
    original = auto.settled(facts, {"learning_rate_schedule": "original"})
    assert "max_epochs" not in original
    short = auto.settled(facts, {"max_epochs": 10})
    assert short["kl_increase_epochs"] == 2


def test_epochs_given_by_hand_that_may_be_too_few():
    facts = Facts(trials_of=(96,), bins=50, channels=20, spikes=0.3)
    enough = auto.settled(facts, {})["max_epochs"]
    for epochs, told in ((10, True), (enough, False), (0, False), (2 * enough, False)):
        said = "\n".join(map(str, auto.choose(facts, {"max_epochs": epochs})))
        assert (f"{epochs} epochs may be too few: without --max_epochs it would take {enough}" in said) is told


def test_facts_that_decide():
    facts = Facts(trials_of=(50, 50, 50), bins=30, channels=40, spikes=0.3, ext_inputs=2)
    assert auto.settled(facts, {})["ext_input_dim"] == 2
    assert auto.settled(facts._replace(aligned_factors=7), {})["factors_dim"] == 7


def test_each_session_has_a_last_batch_of_its_own():
    facts = Facts(trials_of=(33,) * 10, bins=30, channels=40, spikes=0.3)
    batch, epochs = (auto.settled(facts, {})[name] for name in ("batch_size", "max_epochs"))
    steps = len(epoch_batches(facts.trials_of, batch, 0, 0)[0])
    said = "\n".join(map(str, auto.choose(facts, {})))
    assert steps == 20 and f"{steps} steps an epoch from 330 trials" in said and f"{epochs * steps} steps" in said


def test_facts_of_files(tmp_path):
    write_spikes(tmp_path / "a.h5", train=20)
    write_spikes(tmp_path / "b.h5", train=12, seed=1, valid_data=None, valid_truth=None)
    sessions = read_sessions(HyperParameters(data_dir=str(tmp_path)))
    facts = facts_of(sessions)
    counts = sum(float(s.train.data.sum()) for s in sessions) / sum(s.train.data.size for s in sessions)
    assert facts == Facts((20, 12), 9, 7, pytest.approx(counts))
    first, second = described(sessions)
    highest = sessions[0].train.data.max()
    assert first.startswith("a.h5: 20 training + 6 validation trials x 9 bins x 7 channels,")
    assert first.endswith(f"counts from 0 to {highest}")
    assert "12 training + 0 validation" in second


def test_flag_waits_for_the_data():
    given, _ = flags.parse(["--preset=auto", "--data_dir=x", "--gen_dim=9"])
    assert given == {"preset": "auto", "data_dir": "x", "gen_dim": 9}


def test_a_run_folder_keeps_its_settings(tmp_path):
    assert isinstance(auto_settings({"preset": "auto"}, None), AutoSettings)
    assert auto_settings({"gen_dim": 9}, None) is None
    assert auto_settings({"preset": "auto"}, run_folder.RunRecord({}, {}, 9)) is None


def test_from_the_command_line(tmp_path, caplog):
    caplog.set_level("INFO", "lfads_tf2")
    write_spikes(tmp_path / "data" / "a.h5")
    shared = [f"--data_dir={tmp_path / 'data'}", f"--lfads_save_dir={tmp_path / 'run'}", "--device=cpu:0", "--noreport"]
    own = ["--preset=auto", "--gen_dim=6", "--max_epochs=3", "--seed=1"]
    assert run_lfads(["--kind=train", *shared, *own]) == 0
    assert "a.h5: 20 training + 6 validation trials" in caplog.text
    chose = caplog.text.split("chose:")[1].split("\n")
    assert any("co_dim=1" in line for line in chose) and not any(" gen_dim" in line for line in chose)
    recorded = run_folder.read(tmp_path / "run").hyperparameters
    assert (recorded["gen_dim"], recorded["max_epochs"], recorded["batch_size"]) == (6, 3, 20)
    assert "batch_size=20" in (tmp_path / "run" / "auto.txt").read_text()
    # Inference says what kind of rates these are.
    assert run_lfads(["--kind=posterior_push_mean", *shared]) == 0
    with h5py.File(tmp_path / "run" / "model_runs_a.h5_valid_posterior_push_mean") as f:
        found = dict(f.attrs)
    assert f"a.h5: Verdict: {found['verdict']}." in caplog.text
    # Three epochs; whatever else is wrong, the rates do not reach the truth.
    assert found["held_out_bps"] < found["held_out_bps_ceiling"] and found["held_out_bps_error"] > 0
    assert found["verdict"] != "good" and "bps_read" in found


def test_nothing_is_written_where_another_command_works(tmp_path):
    write_spikes(tmp_path / "data" / "a.h5")
    (tmp_path / "run").mkdir()
    with run_lock(tmp_path / "run", "the first"):
        given = [f"--data_dir={tmp_path / 'data'}", f"--lfads_save_dir={tmp_path / 'run'}", "--preset=auto"]
        assert run_lfads(["--kind=train", "--device=cpu:0", "--noreport", *given]) == 2
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lfads_lock"]
