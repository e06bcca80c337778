"""Results read back: made-up files of known content, and a run of the original program."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from conftest import ROOT

from lfads_tf2.program.results import runs_path, write_params, write_runs
from lfads_tf2.run_manager import RunFolder
from lfads_tf2.run_manager.loading import LoadError

from .small_sessions import SMALL, RunParams, collection, session

KIND = "posterior_sample_and_average"
LINES = [
    f"epoch,{e}, step,{4 * e + 4}, total,{t},{v}, recon,1.00,2.00, kl,1.00,1.00, l2,0.10, klweight,{w}, l2weight,1.00"
    for e, t, v, w in ((0, 9, 7, 0.5), (1, 8, 7.5, 1), (2, 7, 7.9, 1))
]


def make_results(run, offset=0.0, keep=None):
    """Result files whose every entry says which trial it is of; rates are the truth plus ``offset``."""
    for dataset in run.datasets:
        info = run.load_input_info(dataset.name)
        given = dataset.session_data()
        truth = given.truth.reshape(*given.truth.shape[:2], -1, 2).sum(-1).swapaxes(1, 2)
        for half, inds in (("train", info.train_inds), ("valid", info.valid_inds)):
            inds = inds[:keep]
            arrays = {
                "output_dist_params": truth[inds] + offset,
                "factors": np.broadcast_to(inds[:, None, None], (len(inds), 10, 3)).astype(np.float32),
                "gen_states": np.zeros((len(inds), 10, 6)), "gen_ics": np.zeros((len(inds), 6)),
            }  # fmt: skip
            arrays |= {name: inds.astype(float) for name in ("costs", "nll_bound_vaes", "nll_bound_iwaes")}
            path = runs_path(run.output_path, "", KIND, dataset.h5_name, half)
            write_runs(path, arrays, {"bin_width_ms": 2.0, "units": "spikes/bin"})
    (run.output_path / "fitlog.csv").write_text("\n".join(LINES) + "\n")
    weights = {"LFADS/gen/gen_2_fac/W:0": np.ones((6, 3)), "LFADS/global_step:0": np.array(12)}
    for d in run.datasets:
        channels = d.session_data().num_channels
        weights[f"LFADS/glm/fac_2_logrates_{d.h5_name}/W:0"] = np.ones((3, channels))
        weights[f"LFADS/glm/fac_2_logrates_{d.h5_name}/b:0"] = np.ones((1, channels))
    write_params(run.output_path / "model_params", weights)


@pytest.fixture
def run(tmp_path):
    runs = collection(tmp_path, specs=("all",))
    runs.prepare_for_lfads()
    return runs.runs[0, 0]


def test_posterior_means_in_trial_order(run):
    assert not run.check_posterior_means_exist()
    with pytest.raises(LoadError, match=r"no posterior means of day1\.h5"):
        run.load_posterior_means()
    make_results(run)
    assert run.check_posterior_means_exist() and run.run_collection.check_posterior_means_exist().all()
    means = run.load_posterior_means()["day1"]
    given = session()
    np.testing.assert_array_equal(means.factors[:, 0, 0], np.arange(40))
    np.testing.assert_array_equal(means.costs, np.arange(40))
    np.testing.assert_array_equal(np.flatnonzero(means.is_valid), np.arange(0, 40, 5))
    truth = given["truth"].reshape(40, 6, 10, 2).sum(-1).swapaxes(1, 2) * 500
    np.testing.assert_allclose(means.rates, truth, rtol=1e-5)  # spikes/s
    np.testing.assert_allclose(means.truth, truth, rtol=1e-5)
    np.testing.assert_array_equal(means.time_ms, np.arange(0, 20, 2))
    np.testing.assert_array_equal(means.conditions, given["condition_id"])
    np.testing.assert_array_equal(means.counts, given["counts"].reshape(40, 6, 10, 2).sum(-1).swapaxes(1, 2))
    np.testing.assert_array_equal(means.raw_counts, given["counts"])
    assert means.controller_outputs is None and means.external_inputs is None
    averages, conditions = means.condition_averages("factors")
    assert averages.shape == (5, 10, 3) and list(conditions) == [1, 2, 3, 4, 5]
    assert averages[1, 0, 0] == np.arange(8, 16).mean()
    assert run.load_posterior_means()["day1"] is means


def test_fewer_trials_than_prepared_are_nan(run):
    make_results(run, keep=2)
    means = run.load_posterior_means(["day2"], reload=True)["day2"]
    assert np.isfinite(means.rates).all(axis=(1, 2)).sum() == 4
    assert list(np.flatnonzero(np.isfinite(means.costs))) == [0, 1, 2, 5]
    with pytest.raises(LoadError, match="has no dataset 'day7'"):
        run.load_posterior_means(["day7"])


def test_same_results_without_the_run_manager(run):
    make_results(run)
    expected = run.load_posterior_means()["day2"]
    folder = RunFolder(run.path)
    found = folder.load_posterior_means()["day2"]
    np.testing.assert_array_equal(found.rates, expected.rates)
    for file in run.input_path.glob("inputInfo*"):
        file.unlink()
    bare = RunFolder(run.output_path, data_dir=run.input_path).load_posterior_means()["day2"]
    np.testing.assert_array_equal(bare.rates, expected.rates)
    np.testing.assert_array_equal(bare.conditions, expected.conditions)


def test_fit_log_and_parameters(run):
    make_results(run)
    fit = run.load_fit_log()
    assert list(fit.columns["step"]) == [4, 8, 12]
    assert fit.lowest_validation == 1
    params = run.load_trained_params()
    matrix, bias, of_channel = params.all_readouts()
    assert matrix.shape == (3, 11) and bias.shape == (11,)
    assert list(of_channel) == [0] * 6 + [1] * 5
    assert params.readin("day1.h5") is None and params.values["gen_gen_2_fac_W"].shape == (6, 3)


def test_comparison_and_export(tmp_path):
    runs = collection(tmp_path, specs=("all",), params=RunParams(**SMALL).generate_sweep("c_gen_dim", [4, 5, 6]))
    runs.prepare_for_lfads()
    for index, run in enumerate(runs.runs[0, :2]):
        make_results(run, offset=0.02 + 0.2 * index)
    compared = runs.compare()
    first, second, third = compared.rows
    assert first.r2_valid > second.r2_valid > 0.1 and third.epochs == 0
    assert (first.total_valid, first.epochs) == (7.5, 3)
    assert len(compared.table().splitlines()) == 4 and third.params in compared.table()
    assert len(compared.figure().axes) == 2
    path = runs.export_results_to_h5()
    with h5py.File(path) as file:
        for params in runs.params[:2]:
            group = file[f"param_{params.param_hash}/all"]
            assert group["posterior_means/day1/rates"].shape == (40, 10, 6)
            assert group["fit_log/total_valid"].shape == (3,)
            assert RunParams.from_json(group.attrs["parameters"]) == params
            assert "gen_gen_2_fac_W" in group["trained_params"]
        assert f"param_{runs.params[2].param_hash}/all" not in file
    with pytest.raises(LoadError, match="none of these runs has results"):
        runs.runs[0, 2].export()
    assert runs.runs[0, 0].export().name == "results.h5"


def test_results_of_the_original():
    original = ROOT / "tests" / "golden" / "tf1_checkpoint"
    folder = RunFolder(original / "run", data_dir=original / "data", data_filename_stem="toy", bin_ms=10.0)
    means = folder.load_posterior_means()
    assert set(means) == {"a", "b"}
    with h5py.File(original / "run" / "model_runs_a_valid_posterior_push_mean") as file:
        recorded = file["output_dist_params"][()]
    a = means["a"]
    # Only validation trials were inferred; without indices they come after the training trials.
    assert a.rates.shape == (80, 20, 10) and np.isnan(a.rates[:60]).all()
    np.testing.assert_allclose(a.rates[60:], recorded * 100, rtol=1e-6)
    assert (a.kind, a.is_valid.sum(), a.controller_outputs.shape) == ("posterior_push_mean", 20, (80, 20, 2))
    fit = folder.load_fit_log()
    assert len(fit.columns["epoch"]) == 25 and fit.columns["kl_weight"][fit.lowest_validation] == 1
    params = folder.load_trained_params()
    matrix, _, of_channel = params.all_readouts()
    assert matrix.shape == (4, 18) and list(np.bincount(of_channel)) == [10, 8]
    assert params.readin("b")[0].shape == (8, 4)
    assert not any("Adam" in key for key in params.values)
    assert len(RunFolder(original / "run").load_posterior_means()["b"].rates) == 20


def test_folder_of_the_matlab_run_manager(run):
    """The same tree with .mat notes, positions counted from 1, and no hints of ours in the files."""
    from scipy.io import savemat

    make_results(run)
    expected = run.load_posterior_means()["day1"]
    for dataset in run.datasets:
        info = run.load_input_info(dataset.name)
        counts = np.asarray(info.counts).transpose(1, 2, 0)
        content = {
            "trainInds": info.train_inds[:, None] + 1.0, "validInds": info.valid_inds[:, None] + 1.0,
            "paramInputDataHash": run.params.data_hash, "seq_timeVector": info.times[None], "seq_binSizeMs": 1.0,
            "conditionId": np.asarray(info.conditions, float)[:, None], "counts": counts,
        }  # fmt: skip
        for place in (run.data_path, run.input_path):
            (place / f"inputInfo_{dataset.name}.h5").unlink()
        savemat(run.data_path / f"inputInfo_{dataset.name}.mat", content)
        with h5py.File(run.data_path / f"lfads_{dataset.name}.h5", "r+") as file:
            for key in ("train_inds", "valid_inds", "train_conditions", "valid_conditions"):
                file.pop(key)
            file.attrs.clear()
    before = (run.data_path / "lfads_day1.h5").stat().st_mtime_ns
    for path in run.output_path.glob("model_runs_*"):
        with h5py.File(path, "r+") as file:
            file.attrs.clear()
    run.prepare_for_lfads()  # links what MATLAB wrote and leaves it as it is
    assert (run.data_path / "lfads_day1.h5").stat().st_mtime_ns == before
    means = run.load_posterior_means(reload=True)["day1"]
    np.testing.assert_allclose(means.rates, expected.rates)
    np.testing.assert_array_equal(means.conditions, expected.conditions)
    np.testing.assert_array_equal(means.raw_counts, expected.raw_counts)
    np.testing.assert_array_equal(means.time_ms, expected.time_ms)


def test_results_are_deleted_only_when_confirmed(run, monkeypatch):
    make_results(run)
    (run.path / "lfads.done").write_text("")
    monkeypatch.setattr("builtins.input", lambda _: "y")
    run.run_collection.delete_lfads_output()
    assert run.check_posterior_means_exist()
    run.run_collection.delete_lfads_output(confirmed=True)
    assert not run.output_path.exists() and not (run.path / "lfads.done").exists()
    assert (run.input_path / "lfads_day1.h5").exists()
