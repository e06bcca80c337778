"""The estimator takes what the files take, and refuses what they refuse."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest

from lfads_tf2.data import DataError, check_against, read_sessions
from lfads_tf2.errors import LFADSError, SettingsError
from lfads_tf2.estimator import Estimator
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.settings import run_folder
from lfads_tf2.types import Session

SMALL = {"gen_dim": 6, "factors_dim": 3, "ic_dim": 4, "ic_enc_dim": 5, "co_dim": 0, "batch_size": 8, "max_epochs": 1}
COUNTS = np.random.default_rng(3).poisson(1.0, (15, 8, 4))
WITH_GAPS = np.where(COUNTS > 2, np.nan, COUNTS)
CASES = {
    "counts": COUNTS, "counts as numbers": COUNTS * 1.0, "yes and no": COUNTS > 1, "zeros": np.zeros((15, 8, 4)),
    "values": COUNTS - 0.5, "positive": COUNTS + 0.5, "gaps": WITH_GAPS, "infinite": np.where(COUNTS > 2, np.inf, 1.0),
    "huge": COUNTS * 1e300, "large": COUNTS * 2**33, "small": np.full((15, 8, 4), 0.25),
}  # fmt: skip
MODELS = {
    "poisson": {}, "gaussian": {"output_dist": "gaussian"}, "gamma": {"output_dist": "gamma", "gamma_loc": 0.3},
    "zero-inflated": {"output_dist": "zero_inflated_gamma"}, "gaps": {"augmentations": "selective_backprop"},
    "gamma with gaps": {"output_dist": "gamma", "augmentations": "selective_backprop"},
}  # fmt: skip


def outcome(call):
    try:
        return call()
    except (ValueError, DataError) as error:
        return str(error)


def checked_array(array, settings):
    """Trials as ``fit`` checks them."""
    estimator = Estimator(**settings)
    trials = estimator._trials(array, None)
    found = check_against(estimator.hyperparameters, [Session("session", "the arrays", trials, trials)])
    if found:
        raise ValueError("\n".join(found))
    return trials


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("case", CASES)
def test_one_check_for_files_and_arrays(tmp_path, model, case):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["train_data"] = f["valid_data"] = CASES[case]
    hp = HyperParameters(data_dir=str(tmp_path), **(SMALL | MODELS[model]))
    from_file = outcome(lambda: read_sessions(hp)[0].train)
    from_array = outcome(lambda: checked_array(CASES[case], SMALL | MODELS[model]))
    if isinstance(from_file, str):
        assert isinstance(from_array, str), "refused in a file, taken as an array"
        said = {
            line.removeprefix(f"{tmp_path / 'a.h5'}: ") for line in from_file.splitlines() if "valid_data" not in line
        }
        said = {line.removeprefix("train_data: ") for line in said}
        assert said == {line.removeprefix("spikes: ").removeprefix("the arrays: ") for line in from_array.splitlines()}
    else:
        for one, other in ((from_file.data, from_array.data), (from_file.target, from_array.target)):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([COUNTS[0], COUNTS[1][:5]], "trials of unequal length"),
        (COUNTS.astype(str), "must be numbers"),
        (np.full((2, 3, 4), None), "must be one array of numbers|NaN"),
        (COUNTS[0], r"trials x bins x channels, .* of shape \(8, 4\)"),
        (COUNTS[:0], "at least one entry"),
        (COUNTS * 1j, "must be numbers"),
    ],
)
def test_what_is_no_array_of_numbers(array, message):
    with pytest.raises(ValueError, match=message):
        Estimator(**SMALL).fit(array)


def test_a_folder_is_a_run_folder_and_keeps_its_model(tmp_path):
    fitted = Estimator(save_dir=tmp_path, **SMALL).fit(COUNTS.astype(object))
    record = run_folder.read(tmp_path)
    assert record.sessions["session"].channels == 4 and record.hyperparameters["gen_dim"] == 6
    assert fitted.transform(COUNTS).shape == COUNTS.shape
    with pytest.raises(SettingsError, match="--gen_dim=7 does not fit the model in"):
        Estimator(save_dir=tmp_path, **(SMALL | {"gen_dim": 7})).fit(COUNTS)
    with pytest.raises(LFADSError, match="session session has 3 channels, the model has 4"):
        Estimator(save_dir=tmp_path, **SMALL).fit(COUNTS[..., :3])


def test_fitting_around_gaps():
    rates = Estimator(augmentations="selective_backprop", **SMALL).fit_transform(WITH_GAPS)
    assert rates.shape == COUNTS.shape and np.isfinite(rates).all()


@pytest.mark.parametrize("setting", ["output_dist", "co_prior", "augmentations"])
@pytest.mark.parametrize("part", ["spec", "facts"])
def test_code_that_a_saved_folder_names_is_not_run(fitted_folder, tmp_path, monkeypatch, setting, part):
    folder = shutil.copytree(fitted_folder, tmp_path / "saved")
    content = json.loads((folder / "saved_model.json").read_text())
    (content["spec"]["hyperparameters"] if part == "spec" else content["facts"])[setting] = "evil:Part"
    (folder / "saved_model.json").write_text(json.dumps(content))
    (tmp_path / "evil.py").write_text("raise SystemExit('this ran')\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=f"{setting}=evil:Part: import evil first, if you trust this code"):
        Estimator.load(folder)


@pytest.fixture(scope="module")
def fitted_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    Estimator(save_dir=folder, **SMALL).fit(COUNTS)
    return folder
