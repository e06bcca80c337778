"""Copies, units that contradict each other, and conditions in several spellings."""

from __future__ import annotations

import logging
import shutil
import tracemalloc

import h5py
import numpy as np
import pytest

from lfads_tf2.data import DataError, read_sessions
from lfads_tf2.data.extras import condition_names
from lfads_tf2.data.plausibility import layout_warnings
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.types import Session, Trials


def write(path, seed=0, width=None, **keys):
    random = np.random.default_rng(seed)
    with h5py.File(path, "w") as f:
        f["train_data"], f["valid_data"] = random.poisson(0.5, (40, 8, 4)), random.poisson(0.5, (8, 8, 4))
        if width is not None:
            f.attrs["bin_width_ms"] = width
        for key, value in keys.items():
            f[key] = value


def read(folder):
    return read_sessions(HyperParameters(data_dir=str(folder), batch_size=20))


@pytest.mark.parametrize(
    "copy", ["a.h5.bak", "a.h5~", "a (copy).h5", "a (1).h5", "a copy.h5", "a - copy 2.h5", "a.bak.h5", "a.old.hdf5"]
)
def test_copies_are_passed_over(tmp_path, copy, caplog):
    write(tmp_path / "a.h5"), write(tmp_path / "a1.h5", seed=1)
    shutil.copy(tmp_path / "a.h5", tmp_path / copy)
    with caplog.at_level(logging.WARNING):
        names = [session.name for session in read(tmp_path)]
    if copy == "a.old.hdf5":  # of another ending: a session, but one that is there twice
        assert "holds the same training trials as" in caplog.text
        return
    assert names == ["a.h5", "a1.h5"] and f"Passed over as copies: {copy}" in caplog.text


def test_a_name_that_only_looks_like_a_copy_is_a_session(tmp_path):
    write(tmp_path / "monday (1).h5"), write(tmp_path / "monday (2).h5", seed=1)
    assert [session.name for session in read(tmp_path)] == ["monday (1).h5", "monday (2).h5"]


def test_sessions_that_hold_the_same_trials(tmp_path, caplog):
    for name in ("a.h5", "b.h5"):
        write(tmp_path / name)
    read(tmp_path)
    assert "b.h5 holds the same training trials as" in caplog.text


def test_bin_widths_that_differ(tmp_path):
    write(tmp_path / "a.h5", width=5.0), write(tmp_path / "b.h5", seed=1, width=20.0)
    with pytest.raises(DataError, match=r"sessions differ in their bin width: .*a.h5 has 5 ms and .*b\.h5 20 ms"):
        read(tmp_path)


@pytest.mark.parametrize(
    "width, truth, said",
    [
        (0.01, None, "would be 5.*e[+]04 spikes/s; is bin_width_ms in seconds"),
        (10.0, 50.0, r"the true rates are on average .* times the counts; .*\(conversion_factor=0.0"),
        (10.0, 0.5, None),
        (0.7, None, None),
    ],
)
def test_units(tmp_path, caplog, width, truth, said):
    keys = {} if truth is None else {f"{h}_truth": np.full((n, 8, 4), truth) for h, n in (("train", 40), ("valid", 8))}
    write(tmp_path / "a.h5", width=width, **keys)
    read(tmp_path)
    if said is None:
        assert not caplog.records
    else:
        import re

        assert re.search(said, caplog.text)


@pytest.mark.parametrize(
    "values, names",
    [
        (np.array([0, 1]), ["0", "1"]),
        (np.array([0.0, 1.0, np.nan, 0.5]), ["0", "1", "", "0.5"]),
        (np.array(["left ", ""], object), ["left", ""]),
        (np.array([b"left", b"1"]), ["left", "1"]),
        (np.array([[True], [False]]), ["1", "0"]),
    ],
)
def test_names_of_conditions(values, names):
    assert condition_names(values).tolist() == names


def layout(data):
    return layout_warnings(Session("a", "a.h5", Trials(data.astype(np.uint16)), None))


def recorded(trials=40, bins=30, channels=12, seed=0):
    """Neurons of very different rates that follow one slow signal."""
    random = np.random.default_rng(seed)
    signal = np.sin(np.arange(bins) / 5 + random.uniform(0, 6, (trials, 1)))[..., None]
    return random.poisson(random.gamma(0.7, 2.0, channels) * np.exp(0.5 * signal))


@pytest.mark.parametrize("seed", range(5))
def test_a_sound_layout_warns_of_nothing(seed):
    assert layout(recorded(seed=seed)) == []
    # Nor do neurons that are all alike, fire together, or hardly fire.
    random = np.random.default_rng(seed)
    assert layout(random.poisson(0.3, (40, 30, 12))) == []
    assert layout(random.poisson(np.exp(np.sin(np.arange(30) / 4))[:, None] * np.ones((40, 1, 12)))) == []
    assert layout(random.poisson(0.005, (40, 30, 12))) == []


def test_swapped_axes():
    (said,) = layout(recorded().swapaxes(1, 2))
    assert "are bins and channels swapped?" in said


def test_rates_spike_times_and_copies():
    (said,) = layout(recorded() * 40)
    assert "are they rates in spikes/s?" in said
    times = np.sort(np.random.default_rng(0).integers(0, 900, (20, 8, 4)), axis=1)
    assert any("are they spike times?" in said for said in layout(times))
    twice = recorded()
    twice[..., 7] = twice[..., 2] = recorded(seed=3)[..., 1] + 1
    (said,) = layout(twice)
    assert "identical counts (counted from 0): 2 = 7;" in said


def test_a_wide_and_long_session_is_looked_at_in_little_memory():
    counts = np.random.default_rng(0).integers(0, 3, (64, 400, 400), np.uint8)
    tracemalloc.start()
    try:
        assert layout_warnings(Session("a", "a.h5", Trials(counts), None)) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # In double precision all of it is 82 MB, of which several copies would be made.
    assert peak < 2.5e8
