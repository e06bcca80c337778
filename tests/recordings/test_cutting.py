"""Windows, counts, halves and what is left out, against brute force and pynapple."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from lfads_tf2 import Recording
from lfads_tf2.data import read_sessions
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.recordings import RecordingError
from lfads_tf2.recordings.binning import window_counts
from lfads_tf2.recordings.command import parser
from lfads_tf2.recordings.expressions import chosen
from lfads_tf2.recordings.halves import NEITHER, TRAIN, VALID
from lfads_tf2.recordings.recording import Table, unit_table
from lfads_tf2.recordings.unit_selection import crosstalk, rates_and_presence, select_units
from lfads_tf2.session_results.recording_link import read_link
from recordings.made import SECONDS, TRIALS, nwb_file, phy_folder, spikes


def brute_force(times, start, bins, width):
    """Counts of one window by comparing every spike with every bin, in exact thousandths of a bin."""
    place = np.floor(np.round((times - start) / width * 1e4) / 1e4)
    return np.array([(place == n).sum() for n in range(bins)])


def test_counts_equal_brute_force_and_pynapple():
    nap = pytest.importorskip("pynapple", reason="pynapple is not installed")
    recording, starts = Recording(unit_table(5), spikes()), np.array([0.0, 3.3, 17.013, 55.0])
    found = window_counts(recording, starts, 40, 0.05, np.arange(5))
    group = nap.TsGroup({n: nap.Ts(t) for n, t in enumerate(spikes())})
    for row, start in enumerate(starts):
        expected = group.count(0.05, nap.IntervalSet(start, start + 2.0)).values
        np.testing.assert_array_equal(found[row], expected[:40])
        np.testing.assert_array_equal(found[row, :, 2], brute_force(spikes()[2], start, 40, 0.05))


@pytest.mark.parametrize("start", [0.0, 0.1, 3.2, 123.456])
def test_spikes_on_the_grid_fall_into_the_bin_that_they_begin(start):
    times = np.round(start * 1000 + np.arange(2000)) / 1000.0
    found = window_counts(Recording(unit_table(1), [times]), np.array([start]), 2000, 0.001, np.array([0]))
    assert (found == 1).all()


def test_aligned_windows_of_an_nwb_file(tmp_path):
    path = nwb_file(tmp_path / "monday.nwb", columns={"quality": ["good", "good", "mua", "good", "good"]})
    recording = Recording.read(path, behavior=["hand_vel"])
    cut = recording.cut(
        align="go", window=(-200.0, 800.0), where="result == 'R'", units="quality == 'good'", condition="target",
        behavior=("hand_vel",), lag=100.0, bin_ms=20.0,
    )  # fmt: skip
    written = cut.write(tmp_path / "data")
    (session,) = read_sessions(HyperParameters(data_dir=str(tmp_path / "data")))
    assert session.bin_width_ms == 20.0 and len(session.train.data) + len(session.valid.data) == TRIALS // 2
    counts, go = np.zeros((TRIALS // 2, 50, 4), int), 1.7 + 2.2 * np.arange(0, TRIALS, 2)
    for channel, times in enumerate(np.array(spikes(), object)[[0, 1, 3, 4]]):
        for n, start in enumerate(go - 0.2):
            counts[n, :, channel] = brute_force(times, start, 50, 0.02)
    np.testing.assert_array_equal(session.train.data, counts[session.train.indices])
    np.testing.assert_array_equal(session.valid.data, counts[session.valid.indices])
    assert session.train.conditions.tolist() == [int(n) * 2 % 3 for n in session.train.indices]
    with h5py.File(written) as f:
        group = f["recording"]
        assert group.attrs["source_format"] == "nwb" and group.attrs["align"] == "go"
        assert group.attrs["session_start_time"] == "2020-01-02T03:04:05+00:00"
        assert group.attrs["window_ms"].tolist() == [-200.0, 800.0]
        np.testing.assert_allclose(group["train_start_s"], go[session.train.indices] - 0.2)
        np.testing.assert_allclose(group["train_align_s"], go[session.train.indices])
        assert group["train_trial_index"][:].tolist() == (2 * session.train.indices).tolist()
        assert group["unit_index"][:].tolist() == [0, 1, 3, 4]
        centres = go[session.train.indices][:, None] - 0.2 + 0.02 * (np.arange(50) + 0.5) + 0.1
        np.testing.assert_allclose(group["train_behavior"][..., 1], centres, rtol=1e-5)
        np.testing.assert_allclose(group["train_behavior"][..., 0], np.sin(centres), atol=1e-4)
        what = [w.decode() for w in group["dropped_what"]]
        assert what.count("trial") == TRIALS // 2 and what.count("unit") == 1
    assert "12 trials (not result == 'R')" in cut.report() and "1 unit (--units): 2" in cut.report()


def test_whole_trials_that_differ_in_length_are_the_users_choice(tmp_path):
    rows = [{"start_time": float(n), "stop_time": n + 0.9} for n in range(10)]
    rows += [{"start_time": 11.0, "stop_time": 11.05}, {"start_time": 12.0, "stop_time": np.nan}]
    recording = Recording.read(nwb_file(tmp_path / "a.nwb", trials=rows, series=False))
    with pytest.raises(RecordingError, match="intervals last from 50 to 900 ms; give --window"):
        recording.cut()
    leave, shortest, padded = (recording.cut(lengths=one) for one in ("leave", "cut", "pad"))
    assert leave.counts.shape[:2] == (10, 90) and shortest.counts.shape[:2] == (11, 5)
    assert padded.counts.shape[:2] == (11, 90) and np.isnan(padded.counts[-1, 5:]).all()
    assert np.isfinite(padded.counts[-1, :5]).all() and "selective_backprop" in padded.report()
    for cut in (leave, shortest, padded):
        assert "1 trial (stop_time is not known or not after the start): 11" in cut.report()
    links = [read_link(cut.write(tmp_path / "data", "a")) for cut in (leave, padded)]
    assert links[0].bins == {}
    for half, rows in links[1].trial_index.items():
        assert links[1].bins[half].tolist() == [5 if row == 10 else 90 for row in rows]


def test_padded_trials_at_the_end_of_counts():
    counts = np.random.default_rng(0).poisson(0.5, (1000, 3))
    recording = Recording.of(counts, bin_ms=10.0, axes="time,units")
    columns = {"start_time": np.array([0.0, 4.0, 9.5]), "stop_time": np.array([2.0, 5.0, 10.0])}
    recording.tables["trials"] = Table(columns, np.arange(3))
    cut = recording.cut(lengths="pad", bin_ms=20.0)
    assert cut.counts.shape == (3, 100, 3)
    for n, (start, bins) in enumerate(((0, 100), (400, 50), (950, 25))):
        expected = counts[start : start + 2 * bins].reshape(bins, 2, 3).sum(axis=1)
        np.testing.assert_array_equal(cut.counts[n, :bins], expected)
        assert np.isnan(cut.counts[n, bins:]).all()


@pytest.mark.parametrize(
    "options, said",
    [
        ({"align": "gone", "window": (0, 100)}, "has no column 'gone'; did you mean go"),
        ({"table": "trial"}, "has no table of intervals 'trial'; it has trials"),
        ({"window": (0, 100), "where": "resul == 'R'"}, "has no column 'resul'; did you mean result"),
        ({"window": (0, 100), "where": "__import__('os')"}, "Call is not understood"),
        ({"window": (0, 105)}, "must be a whole number of bins"),
        ({"window": (100, 0)}, r"--window must be two numbers that rise, such as -250 450, got \(100, 0\)"),
        ({"window": (-np.inf, 100)}, "--window must be two numbers that rise"),
        ({"window": (0, np.inf)}, "--window must be two numbers that rise"),
        ({"window": (np.nan, 100)}, "--window must be two numbers that rise"),
        ({"chop": np.inf}, "--chop must be above 0, such as 1000, got inf"),
        ({"chop": np.nan}, "--chop must be above 0"),
        ({"chop": 0.0}, "--chop must be above 0"),
        ({"chop": 1000.0, "min_rate": np.nan}, "--min-rate must be 0 or above, got nan"),
        ({"chop": 1000.0, "min_presence": np.nan}, "--min-presence must be from 0 to 1, got nan"),
        ({"chop": 1000.0, "min_presence": 90.0}, "--min-presence must be from 0 to 1, got 90"),
        ({"window": (90000, 90100)}, "no window is left .*beyond the recording"),
        ({"chop": 1000.0, "overlap": 1000.0}, "--overlap must be from 0 to less than --chop"),
        ({"chop": 1e6}, "less than a window"),
        ({"window": (0, 100), "condition": "targt"}, "did you mean target"),
        ({"window": (0, 100), "units": "quality == 'good'"}, "has no column 'quality'; it has"),
        ({"window": (0, 100), "min_rate": 1e6}, "no unit is left"),
        ({"window": (0, 100), "halves": "column"}, "the table has no column 'split'"),
        ({"window": (0, 100), "behavior": ("gone",)}, "'gone' was not read"),
        ({"bin_ms": 0.0}, "--bin-ms must be above 0"),
        ({"chopp": 1000.0}, "there is no option 'chopp'; did you mean chop"),
        ({"chop": 1000.0, "halves": "block"}, "--halves must be one of .*, got 'block'"),
        ({"lengths": "padd"}, "--lengths must be one of pad, cut, leave, got 'padd'"),
        ({"window": (0, 100), "behavior_how": "median"}, "--behavior-how must be one of"),
        ({"chop": 1000.0, "overlap": np.nan}, "--overlap must be 0 or above"),
        ({"chop": 1000.0, "seed": -1}, "--seed must be 0 or above"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, said):
    recording = Recording.read(nwb_file(tmp_path / "a.nwb"))
    with pytest.raises(RecordingError, match=said):
        recording.cut(**options)


def test_chopped_windows_reach_the_end_and_share_no_bin_between_the_halves():
    recording = Recording(unit_table(5), spikes(), tables={"session": Table({"stop_time": np.array([60.0])}, [0])})
    cut = recording.cut(chop=1000.0, overlap=400.0, bin_ms=20.0)
    starts = cut.windows.start_s
    assert starts[0] == 0 and starts[-1] == pytest.approx(59.0) and np.diff(starts)[:-1] == pytest.approx(0.6)
    for n in np.flatnonzero(cut.half == TRAIN):
        assert (np.abs(starts[cut.half == VALID] - starts[n]) >= 1.0 - 1e-9).all()
    left_out = int((cut.half == NEITHER).sum())
    assert 0 < left_out < 0.3 * len(starts) and f"{left_out} windows (shares bins" in cut.report()
    whole = brute_force(spikes()[1], 0.0, 3000, 0.02)
    np.testing.assert_array_equal(cut.counts[3, :, 1], whole[90:140])


@pytest.mark.parametrize("policy, trials, units", [("nan", 20, 3), ("drop-unit", 20, 2), ("drop-trial", 10, 3)])
def test_a_unit_that_was_lost_is_not_silent(policy, trials, units):
    times = spikes()[:3]
    observed = [np.array([[0.0, 40.0]])] * 2 + [np.array([[0.0, 10.5], [10.5, 20.0]])]
    times[2] = times[2][times[2] < 20]
    cut = Recording(unit_table(3), times, observed=observed).cut(chop=2000.0, unobserved=policy, halves="every")
    assert cut.counts.shape == (trials, 200, units)
    if policy == "nan":
        assert np.isnan(cut.counts[10:, :, 2]).all() and np.isfinite(cut.counts[:10]).all()
    else:
        assert cut.counts.dtype.kind == "u" and "not observed" in cut.report()


@pytest.mark.parametrize("policy, trials, units", [("nan", 20, 3), ("drop-unit", 20, 2), ("drop-trial", 17, 3)])
def test_what_padded_trials_do_not_have_is_not_unobserved(policy, trials, units):
    """Unit 2 is lost in the trials from 15 to 18 s, and in the padding of that from 14 s."""
    observed = [np.array([[0.0, 60.0]])] * 2 + [np.array([[0.0, 14.5], [18.0, 60.0]])]
    starts = np.arange(20.0)
    table = Table({"start_time": starts, "stop_time": starts + np.where(starts % 2, 1.0, 0.5)}, np.arange(20))
    recording = Recording(unit_table(3), spikes()[:3], tables={"trials": table}, observed=observed)
    cut = recording.cut(lengths="pad", unobserved=policy, halves="every")
    assert cut.counts.shape == (trials, 100, units)
    own = np.where(cut.windows.index % 2, 100, 50)
    lost = np.isin(cut.windows.index, [15, 16, 17])[:, None, None] & (cut.units == 2)
    np.testing.assert_array_equal(np.isnan(cut.counts), (np.arange(100) >= own[:, None])[:, :, None] | lost)
    assert (policy == "nan") != ("observed in" in cut.report())


def test_presence_and_rate_are_those_of_the_time_in_which_a_unit_was_observed():
    regular = np.concatenate([np.arange(0.5, 100.0), np.arange(900.5, 1000.0)])
    whole = np.array([[900.0, 1000.0], [0.0, 60.0], [40.0, 100.0]])  # 200 s: out of order, and two that overlap
    observed = [whole, whole, np.zeros((0, 2))]
    times = [regular, np.concatenate([regular[:100], [500.0]]), regular]
    recording = Recording(unit_table(3), times, observed=observed)
    rates, presence = rates_and_presence(recording)
    assert rates == pytest.approx([1.0, 0.5, 0.0]) and presence == pytest.approx([1.0, 0.5, 0.0])
    assert select_units(recording, np.ones(3, bool), 0.1, 0.6, 1.0)[0].tolist() == [0]
    # Of trials on a made-up clock it is the trials' time, however few there are.
    few = Recording.of([[np.arange(0.05, 1.0, 0.1), np.array([0.0, 1.0])]] * 3)
    assert rates_and_presence(few)[0] == pytest.approx([10.0, 2.0])
    assert rates_and_presence(few)[1] == pytest.approx([1.0, 0.4])


def test_all_reasons_name_trials_as_their_table_does():
    columns = {"start_time": np.arange(12.0), "ok": np.arange(12) != 3}
    observed = [np.array([[0.0, 5.0], [6.0, 60.0]]), np.array([[0.0, 5.0], [6.0, 8.5], [9.5, 60.0]])]
    times = [one[one < 10.5] for one in spikes()[:2]]
    tables = {"trials": Table(columns, np.arange(100, 112))}
    recording = Recording(unit_table(2), times, tables=tables, observed=observed)
    cut = recording.cut(window=(0, 1000), where="ok == True", unobserved="drop-trial", halves="every")
    report = cut.report()
    assert "1 trial (not ok == True): 103" in report and "1 trial (not observed): 105" in report
    assert "2 trials (a unit was not observed in it): 108, 109" in report
    assert cut.windows.index.tolist() == [0, 1, 2, 4, 6, 7, 10, 11], "the file has the rows"
    last = max(one[-1] for one in times)
    assert f"1 trials begin after the last spike ({last:.6g} s): 111" in report
    report = recording.cut(window=(0, 1200), halves="blocks").report()
    assert "left out: 4 windows (shares bins with the other half, or is of neither): 101, 103, 107, 109" in report
    counts = Recording.of(np.ones((4, 10, 2), int), bin_ms=10.0, axes="trials,time,units")
    counts.tables["trials"] = Table({"ok": np.array([True, False, True, True])}, np.arange(20, 24))
    assert "1 trial (not ok == True): 21" in counts.cut(where="ok == True").report()


def test_units_that_share_their_spikes():
    random, times = np.random.default_rng(3), spikes()
    double = np.sort(np.concatenate([times[4][::2] + 1e-5, random.uniform(0, SECONDS, 100)]))
    shares = crosstalk([times[3], times[4], double], (0.0, SECONDS))
    bins = [set((t * 1000).astype(int)) for t in (times[3], times[4], double)]
    expected = len(bins[1] & bins[2]) / len(bins[2]) - len(bins[1]) / (SECONDS * 1000)
    assert shares[2, 1] == pytest.approx(expected) and abs(shares[0, 1]) < 0.05
    cut = Recording(unit_table(6), [*times, double]).cut(chop=1000.0)
    assert cut.units.tolist() == [0, 1, 2, 3, 4] and "spikes beyond chance with unit 4" in cut.report()
    assert Recording(unit_table(6), [*times, double]).cut(chop=1000.0, max_crosstalk=1.0).counts.shape[2] == 6


def test_held_out_units_and_a_split_column(tmp_path):
    words = ["train", "val", "test", "none"]
    rows = [{"start_time": 1.0 + n, "stop_time": 1.9 + n, "result": words[n % 4]} for n in range(12)]
    path = nwb_file(
        tmp_path / "a.nwb", columns={"heldout": [False, True, False, True, False]}, trials=rows, series=False
    )
    cut = Recording.read(path).cut(halves="column", halves_column="result", lengths="cut")
    assert cut.units.tolist() == [0, 2, 4, 1, 3] and cut.num_encoded == 3
    assert cut.half.tolist() == [TRAIN, VALID, VALID, NEITHER] * 3
    cut.write(tmp_path / "data", "monday")
    (session,) = read_sessions(HyperParameters(data_dir=str(tmp_path / "data")))
    assert session.train.data.shape == (3, 90, 3) and session.train.target.shape == (3, 90, 5)


def test_stratified_halves_take_of_every_condition():
    table = Table({"start_time": np.arange(30.0), "kind": np.repeat(["a", "b", "c"], 10)}, np.arange(30))
    recording = Recording(unit_table(5), spikes(), tables={"trials": table})
    cut = recording.cut(window=(0.0, 900.0), condition="kind", seed=1)
    for kind in "abc":
        assert (cut.half[cut.conditions == kind] == VALID).sum() == 2


@pytest.mark.parametrize(
    "expression, rows",
    [
        ("x > 1 and name != 'b'", [2]), ("not x > 1", [0, 1]), ("name in ['a', 'c'] or x == 1", [0, 1, 2]),
        ("0 <= x < 2", [0, 1]), ("x == -1 or flag", [1]), ("", [0, 1, 2]),
        ("x not in [1, 5.5]", [0, 2]), ("name not in ('a', 'bb')", [1, 2]), ("name in []", []),
        ("x not in []", [0, 1, 2]),
    ],
)  # fmt: skip
def test_conditions(expression, rows):
    table = Table(
        {"x": np.arange(3), "name": np.array(list("abc")), "flag": np.array([False, True, False])}, np.arange(3)
    )
    if "flag" in expression:
        assert np.flatnonzero(chosen("x == -1 or flag == True", table, "t")).tolist() == rows
    else:
        assert np.flatnonzero(chosen(expression, table, "t")).tolist() == rows


@pytest.mark.parametrize("bad", [
    "x.real > 0", "x + 1", "name > 1", "lambda: 1", "x > ", "[v for v in x]", "1" * 2000, "x in ['1']",
    "name in [1, 2]", "x not in ['1']", "x in [1, '2']", "name not in [1, 'a']", "x in name", "x in 'abc'",
])  # fmt: skip
def test_conditions_that_are_none(bad):
    table = Table({"x": np.arange(3), "name": np.array(list("abc"))}, np.arange(3))
    with pytest.raises(RecordingError):
        chosen(bad, table, "the table")


@pytest.mark.parametrize("scale, stored_ms, noted", [(1, 10.0, False), (1000, 10.0, True), (1, 0.1, True)])
def test_rates_that_no_neuron_has_are_noted(scale, stored_ms, noted):
    counts = scale * np.random.default_rng(0).poisson(0.2, (20, 100, 4))
    recording = Recording.of(counts, bin_ms=stored_ms, axes="trials,time,units")
    report = recording.cut(bin_ms=2 * stored_ms).report()
    assert ("spikes/s a unit on average, more than neurons fire: are these counts" in report) == noted


def test_leave_keeps_what_nine_in_ten_reach():
    lasting = np.array([0.3] + [0.5] * 4 + [0.8] * 15)
    table = Table({"start_time": 2.0 * np.arange(20), "stop_time": 2.0 * np.arange(20) + lasting}, np.arange(20))
    cut = Recording(unit_table(5), spikes(), tables={"trials": table}).cut(lengths="leave", bin_ms=20.0)
    assert cut.counts.shape[:2] == (19, 25) and "1 trial (shorter than 25 bins): 0" in cut.report()
    said = " ".join(parser().format_help().split())
    assert "leave: of the longest length that 90 % of them reach, shorter ones are left out and the others cut" in said


def test_a_sorted_folder(tmp_path):
    folder = phy_folder(tmp_path / "sorted")
    good = Recording.read(folder, groups=["good"])
    assert good.units.ids.tolist() == [3, 8] and Recording.read(folder).units.ids.tolist() == [3, 8, 11]
    times, clusters = np.load(folder / "spike_times.npy").ravel(), np.load(folder / "spike_clusters.npy")
    np.testing.assert_allclose(good.spike_times[1], times[clusters == 8] / 30000.0)
    assert good.cut(chop=1000.0).counts.shape == (60, 100, 2)


def test_trials_that_were_cut_elsewhere_have_no_clock(tmp_path):
    trials = np.random.default_rng(0).poisson(1.0, (20, 50, 4))
    written = Recording.of(trials, bin_ms=10.0, axes="trials,time,units").cut(bin_ms=20.0).write(tmp_path, "a")
    link = read_link(written)
    assert link.start_s == {} and link.mode == "trials"
    both = np.concatenate([link.trial_index["train"], link.trial_index["valid"]])
    assert sorted(both.tolist()) == list(range(20))


def test_columns_of_units_may_have_any_name(tmp_path):
    columns = {name: np.arange(5) * 10 + n for n, name in enumerate(("index", "ids", "columns", "quality"))}
    recording = Recording(unit_table(["a", "b", "c", "d", "e"], columns), spikes())
    written = recording.cut(chop=1000.0, units="index > 0").write(tmp_path, "a")
    link = read_link(written)
    assert link.unit_ids.tolist() == ["b", "c", "d", "e"] and link.unit_index.tolist() == [1, 2, 3, 4]
    assert {name: values.tolist() for name, values in link.unit_columns.items()} == {
        name: values[1:].tolist() for name, values in columns.items()
    }
    # As they were written before.
    with h5py.File(written, "a") as file:
        del file["recording/unit_columns"]
        file["recording/unit_columns"], file["recording/unit_quality"] = np.ones(4), np.zeros(4)
    assert read_link(written).unit_columns.keys() == {"columns", "quality"}


@pytest.mark.parametrize("halves, said", [("every", True), ("blocks", False)])
def test_windows_that_both_halves_see_are_said(halves, said):
    cut = Recording(unit_table(5), spikes()).cut(chop=1000.0, overlap=400.0, bin_ms=20.0, halves=halves)
    assert ("validation windows share bins with training windows" in cut.report()) == said


def test_windows_within_intervals(tmp_path):
    """Of a table: none reaches over an interval's ends, and each interval's last window ends where it ends."""
    path = nwb_file(tmp_path / "a.nwb")
    pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed")
    with pynwb.NWBHDF5IO(str(path), "a") as writer:
        file = writer.read()
        for start, stop, tags in ((20.0, 33.33, ["wake"]), (0.0, 20.0, ["sleep", "rem"]), (33.33, 34.0, ["wake"])):
            file.add_epoch(start_time=start, stop_time=stop, tags=tags)
        writer.write(file)
    recording = Recording.read(path)
    assert recording.tables["epochs"].columns["tags"].tolist() == ["wake", "sleep, rem", "wake"]
    options = {"chop": 1000.0, "overlap": 400.0, "bin_ms": 10.0, "table": "epochs"}
    awake = recording.cut(where="tags == 'wake'", **options)
    starts = awake.windows.start_s
    assert starts[0] == 20.0 and starts[-1] == pytest.approx(32.33) and np.diff(starts).max() == pytest.approx(0.6)
    brute = [[brute_force(times, start, 100, 0.01) for times in spikes()] for start in starts]
    np.testing.assert_array_equal(awake.counts, np.swapaxes(brute, 1, 2))
    report = awake.report()
    assert "left out: 1 interval (not tags == 'wake'): 1" in report
    assert "left out: 1 interval (shorter than a window): 2" in report
    both = recording.cut(condition="tags", **options)
    assert (both.windows.start_s < 20.0).sum() == 33 and not (
        (both.windows.start_s > 19.0) & (both.windows.start_s < 20)
    ).any()
    assert set(both.conditions[both.windows.start_s < 20.0]) == {"sleep, rem"}
    with pytest.raises(RecordingError, match=r"no interval is left \(3 not start_time > 99\)"):
        recording.cut(where="start_time > 99", **options)
    with pytest.raises(RecordingError, match="--condition=target: windows over the whole recording have none"):
        recording.cut(chop=1000.0, condition="target")
    assert set(recording.cut(chop=500.0, condition="target", where="target > 0").conditions) == {1, 2}
