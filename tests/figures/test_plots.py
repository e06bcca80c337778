"""Every figure is written, shows something, and copes with the smallest and oddest data."""

import base64
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from lfads_tf2.figures import drawing as plot_parts
from lfads_tf2.figures import trials as plots
from lfads_tf2.figures.report import write_report
from lfads_tf2.types import Session, Trials


def make_half(trials=12, bins=20, channels=6, conditions=3, inputs=2, gaussian=False, truth=True, zero=False):
    """One half's data and results, with random numbers of the right shapes."""
    rng = np.random.default_rng(trials)
    rates = np.zeros((trials, bins, channels)) if zero else rng.gamma(2.0, 0.2, size=(trials, bins, channels))
    data = rng.normal(rates).astype(np.float32) if gaussian else rng.poisson(rates).astype(np.uint8)
    half = Trials(
        data,
        truth=rates.astype(np.float32) if truth else None,
        conditions=np.arange(trials) % conditions if conditions else None,
    )
    result = {
        "output_dist_params": np.concatenate([rates, np.ones_like(rates)], axis=2) if gaussian else 1.1 * rates,
        "factors": rng.normal(size=(trials, bins, 4)) * (not zero),
        "gen_ics": rng.normal(size=(trials, 5)),
        "post_g0_mean": rng.normal(size=(trials, 3)),
    }
    if inputs:
        result["controller_outputs"] = rng.normal(size=(trials, bins, inputs)) * (not zero)
    return half, result


def partly_observed(half):
    """The same with NaN in half of the bins of some trials, and a channel that was never seen."""
    target = half.data.astype(np.float32)
    target[::2, 10:] = np.nan
    target[:, :, 0] = np.nan
    return half._replace(data=np.nan_to_num(target), recon=target)


def make_log(epochs=60, valid=True):
    falling = 100 + 50 * np.exp(-np.arange(epochs) / 10)
    log = {"epoch": np.arange(epochs), "step": 4 * np.arange(1, epochs + 1), "l2": np.ones(epochs)}
    log |= {name: np.ones(epochs) for name in ("kl_weight", "l2_weight")}
    for half in ("train", "valid") if valid else ("train",):
        log |= {f"{cost}_{half}": falling for cost in ("total", "recon", "kl")}
    return log


@pytest.fixture
def quickly(monkeypatch):
    """Draw coarsely and without laying out, which takes half of the time."""
    save = plots.save

    def save_coarsely(figure, path):
        figure.set_layout_engine("none")
        savefig = figure.savefig
        figure.savefig = lambda *args, **kwargs: savefig(*args, **kwargs | {"dpi": 60})
        save(figure, path)

    monkeypatch.setattr(plots, "save", save_coarsely)


def shows_something(path: Path) -> None:
    assert path.stat().st_size > 2000
    pixels = imread(path)[..., :3]
    height, width, _ = pixels.shape
    assert height >= 150 and width >= 250
    inked = (pixels < 0.95).any(axis=2)
    assert inked.mean() > 0.005
    # Ink in all quarters but at most one (a figure may lack a panel).
    quarters = [
        inked[a:b, c:d].any()
        for a, b in ((0, height // 2), (height // 2, height))
        for c, d in ((0, width // 2), (width // 2, width))
    ]
    assert sum(quarters) >= 3


def report(folder, train, valid=None, log=None, name="s", bin_width_ms=None, chosen=None):
    session = Session(name, "", train[0], valid[0] if valid else None, bin_width_ms=bin_width_ms)
    results = {name: {"train": train[1]} | ({"valid": valid[1]} if valid else {})}
    return write_report(folder, [session], results, log, chosen)


def test_a_full_report(tmp_path):
    written = report(tmp_path, make_half(30), make_half(9), make_log(), bin_width_ms=10.0, chosen=100)
    kinds = ["fit", "s_trials", "s_traces", "s_psth", "s_factors", "s_inputs", "s_truth", "s_initial_conditions"]
    assert [p.name for p in written] == [f"{kind}.png" for kind in kinds] + ["index.html"]
    for path in written[:-1]:
        shows_something(path)
    page = written[-1].read_text(encoding="utf-8")
    # The pictures are inside, so that the page can be mailed.
    inside = [base64.b64decode(text) for text in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    assert inside == [path.read_bytes() for path in written[:-1]]
    assert "<td>30</td>" in page and "<td>9</td>" in page
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == sorted(p.name for p in written)


@pytest.mark.parametrize(
    "odd",
    [
        {"trials": 1, "bins": 1, "channels": 1, "inputs": 1},
        {"bins": 1, "conditions": 0, "truth": False},
        {"trials": 40, "conditions": 30, "inputs": 0},
        {"channels": 1, "zero": True},
        {"trials": 1, "gaussian": True},
    ],
    ids=str,
)
def test_odd_data_do_not_stop_the_report(tmp_path, quickly, odd):
    written = report(tmp_path, make_half(**odd))
    names = [p.stem for p in written]
    assert ("s_psth" in names) == (odd.get("conditions") != 0)
    assert ("s_inputs" in names) == (odd.get("inputs") != 0)
    assert ("s_truth" in names) == odd.get("truth", True)
    for path in written[:-1]:
        shows_something(path)


@pytest.mark.filterwarnings("error")
def test_what_was_not_observed_is_not_drawn(tmp_path, quickly):
    half, result = make_half(conditions=3)
    gaps = partly_observed(half)
    written = report(tmp_path, (gaps, result))
    assert {"s_trials", "s_traces", "s_psth"} <= {path.stem for path in written}
    for path in written[:-1]:
        shows_something(path)
    figure = plots.traces_figure(gaps.target[:, :, 1:], result["output_dist_params"][:, :, 1:], plots.Scale(10.0))
    spikes = [path.vertices[:, 1] for axes in figure.axes for path in axes.collections[0].get_paths()]
    assert np.isfinite(spikes).all() and np.ptp(spikes, axis=1).max() > 0


@pytest.mark.parametrize("log", [make_log(1), make_log(2, valid=False), make_log(80, valid=False)])
def test_without_results_only_the_fit_is_drawn(tmp_path, log):
    train, _ = make_half()
    written = write_report(tmp_path, [Session("s", "", train, None)], {}, log, 4)
    assert [p.name for p in written] == ["fit.png", "index.html"]
    shows_something(written[0])


def test_nothing_to_show_is_said(tmp_path):
    (page,) = write_report(tmp_path / "new", [], {}, None, None)
    assert "nothing to show yet" in page.read_text()


def test_costs_that_are_not_numbers_and_a_learning_rate(tmp_path):
    log = make_log() | {"learning_rate": np.full(60, 0.01)}
    log["total_valid"] = np.full(60, np.nan)
    plots.save(plots.fit_figure(log, 8), tmp_path / "fit.png")
    shows_something(tmp_path / "fit.png")


def test_each_session_has_its_own_safely_named_files(tmp_path, quickly):
    half, result = make_half(3, 4, 2, inputs=0, truth=False)
    del result["factors"], result["post_g0_mean"], result["gen_ics"]
    names = ["../a b<c>.h5", ".._a_b_c_", "day 2"]
    sessions = [Session(name, "", half, None) for name in names]
    written = write_report(tmp_path, sessions, {name: {"train": result} for name in names}, None, None)
    assert len(set(written)) == len(written)
    assert all(p.parent == tmp_path / "report" and p.exists() for p in written)
    assert {p.name.rsplit("_", 1)[0] for p in written if p.stem.endswith("psth")} == {"a_b_c", "a_b_c_2", "day_2"}
    assert "a b&lt;c&gt;" in written[-1].read_text()


def test_fewer_trials_more_channels_and_text_conditions(tmp_path, quickly):
    half, result = make_half(10, truth=False)
    half = half._replace(conditions=np.array([b"left", "right"] * 5, dtype=object))
    few = {key: values[:4] for key, values in result.items()}
    del few["factors"]
    few["output_dist_params"] = np.concatenate([few["output_dist_params"]] * 2, axis=2)
    few["controller_outputs_sd"] = np.ones_like(few["controller_outputs"])
    written = report(tmp_path, (half, few))
    assert "<td>4</td>" in written[-1].read_text()


def test_many_inputs_are_cut_to_the_first(tmp_path, quickly):
    figure = plots.inputs_figure(make_half(2, 5, inputs=11)[1]["controller_outputs"], plots.Scale())
    assert figure.get_suptitle() == "Inferred inputs: the first 8 of 11"
    plots.save(figure, tmp_path / "inputs.png")
    shows_something(tmp_path / "inputs.png")


def test_results_of_other_data_are_refused(tmp_path):
    half, _ = make_half(4)
    _, result = make_half(5)
    with pytest.raises(ValueError, match=r"session s, train must be .* at most 4 trials .* got shape \(5, 20, 6\)"):
        report(tmp_path, (half, result))


def test_figures_can_be_drawn_in_threads(tmp_path):
    half, result = make_half(2, 5, 3)

    def draw(number):
        figure = plots.trials_figure(half.data, result["output_dist_params"], plots.Scale(20.0), half.truth)
        plots.save(figure, tmp_path / f"{number}.png")

    threads = [threading.Thread(target=draw, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shows_something(tmp_path / "0.png")
    shows_something(tmp_path / "1.png")


def test_units():
    assert plots.Scale(10.0).rates(0.2) == pytest.approx(20.0)
    assert plots.Scale().rates(0.2) == plots.Scale(10.0, gaussian=True).rates(0.2) == 0.2
    assert "spikes/s" in plots.Scale(10.0).rate_label and "spikes/bin" in plots.Scale().rate_label


def test_principal_components_are_those_of_the_svd():
    values = np.random.default_rng(0).normal(size=(50, 4)) * [1, 2, 3, 4]
    scores, explained = plot_parts.principal_components(values, 3)
    _, singular, _ = np.linalg.svd(values - values.mean(axis=0))
    np.testing.assert_allclose(np.linalg.norm(scores, axis=0), singular[:3])
    np.testing.assert_allclose(explained, singular[:3] ** 2 / np.sum(singular**2))
    wide, shares = plot_parts.principal_components(values[:, :1], 3)
    assert wide.shape == (50, 3) and list(shares) == [1.0, 0.0, 0.0]


def test_smoothing_keeps_constants_and_widths():
    scale = plots.Scale(10.0)
    np.testing.assert_allclose(plot_parts.smooth(np.ones((2, 9, 3)), scale), 1.0)
    impulse = np.zeros((1, 101, 1))
    impulse[0, 50] = 1.0
    smoothed = plot_parts.smooth(impulse, scale)[0, :, 0]
    assert np.sqrt(np.sum(smoothed * (np.arange(101) - 50) ** 2)) == pytest.approx(3.0, rel=1e-3)  # 30 ms


def test_condition_means():
    by = plot_parts.Conditions.of(np.array([2, 1, 2]))
    means = plot_parts.condition_means(np.array([[1.0], [5.0], [3.0]]), by)
    assert by.labels == ["1", "2"] and means.tolist() == [[5.0], [2.0]]
    gaps = plot_parts.condition_means(np.array([[1.0, np.nan], [5.0, np.nan], [np.nan, 4.0]]), by)
    np.testing.assert_array_equal(gaps, [[5.0, np.nan], [1.0, 4.0]])


def test_smoothing_around_gaps():
    values = np.full((1, 40, 1), 3.0)
    values[0, 10:20] = np.nan
    smoothed = plot_parts.smooth(values, plots.Scale(10.0))
    np.testing.assert_array_equal(np.isnan(smoothed), np.isnan(values))
    np.testing.assert_allclose(smoothed[~np.isnan(values)], 3.0)
