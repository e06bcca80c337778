"""What people do with an estimator: copy, search, pickle, save, open again, continuous recordings, callbacks."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from lfads_tf2.data.continuous import validation_windows, window_offsets, windows_of
from lfads_tf2.errors import LFADSError, RunError, SettingsError
from lfads_tf2.estimator import Estimator, NotFitted
from lfads_tf2.metrics.held_out import channel_means
from lfads_tf2.metrics.rates import bits_per_spike

SMALL = {"gen_dim": 6, "factors_dim": 3, "ic_dim": 4, "ic_enc_dim": 5, "co_dim": 0, "batch_size": 8, "max_epochs": 1}
RANDOM = np.random.default_rng(3)
COUNTS = RANDOM.poisson(1.0, (15, 8, 4))
RECORDING = RANDOM.poisson(1.0, (203, 4))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return Estimator(save_dir=tmp_path_factory.mktemp("fitted"), num_samples=3, **SMALL).fit(COUNTS)


def test_parameters():
    one = Estimator(num_samples=7, **SMALL)
    params = one.get_params()
    assert params["gen_dim"] == 6 and params["keep_prob"] == 0.95 and params["num_samples"] == 7
    assert Estimator(**params).get_params() == params
    assert one.set_params(gen_dim=9, num_samples=8) is one
    assert one.hyperparameters.gen_dim == 9 and one.num_samples == 8
    for wrong in ({"gen_dim": 0}, {"gen_dimm": 3}, {"num_samples": 0}):
        with pytest.raises((SettingsError, TypeError, ValueError)):
            one.set_params(seed=5, **wrong)
        assert one.get_params() == params | {"gen_dim": 9, "num_samples": 8}, "nothing is changed"
    assert repr(Estimator(gen_dim=6, seed=2, keep_prob=0.95)) == "Estimator(gen_dim=6, seed=2)"
    assert eval(repr(one)).get_params() == one.get_params()


def test_cloned_and_not_fitted():
    base = pytest.importorskip("sklearn.base", reason="scikit-learn is not installed")
    from sklearn.utils.validation import check_is_fitted

    copied = base.clone(Estimator(num_samples=7, window=5, **SMALL))
    assert copied.get_params()["window"] == 5 and copied.hyperparameters.gen_dim == 6
    with pytest.raises(NotFitted):
        copied.transform(RECORDING)
    with pytest.raises(Exception, match="not fitted"):
        check_is_fitted(copied)


def test_pipelines_and_searches():
    selection = pytest.importorskip("sklearn.model_selection", reason="scikit-learn is not installed")
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    lfads = Estimator(window=20, overlap=10, num_samples=1, **SMALL)
    decoder = make_pipeline(lfads, Ridge())
    search = selection.GridSearchCV(decoder, {"estimator__gen_dim": [5]}, cv=2, refit=False, error_score="raise")
    search.fit(RECORDING, RECORDING[:, :2] @ [1.0, -1.0])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_copies_infer_the_same(fitted):
    assert check_fitted(fitted)
    rates = fitted.transform(COUNTS)
    for again in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        np.testing.assert_allclose(again.transform(COUNTS), rates, rtol=1e-6)
        assert again.get_params() == fitted.get_params() and again.step == fitted.step


def check_fitted(estimator):
    return estimator.__sklearn_is_fitted__() and not Estimator(**SMALL).__sklearn_is_fitted__()


AGAIN = """
import sys, numpy as np
from lfads_tf2 import Estimator
estimator = Estimator.load(sys.argv[1])
np.save(sys.argv[2], estimator.transform(np.load(sys.argv[3])))
"""


def test_saved_and_opened_in_another_program(fitted, tmp_path):
    rates = fitted.transform(COUNTS)
    np.save(tmp_path / "counts.npy", COUNTS)
    saved = fitted.save(tmp_path / "saved")
    command = [sys.executable, "-c", AGAIN, saved, tmp_path / "rates.npy", tmp_path / "counts.npy"]
    subprocess.run(command, check=True, cwd=ROOT, timeout=300)
    np.testing.assert_allclose(np.load(tmp_path / "rates.npy"), rates, rtol=1e-6)
    # So is the folder that it was trained in, and with other arguments.
    opened = Estimator.load(fitted.save_dir, num_samples=1)
    assert opened.num_samples == 1 and opened.transform(COUNTS).shape == COUNTS.shape
    with pytest.raises(RunError, match="holds no saved model"):
        Estimator.load(tmp_path)
    with pytest.raises(NotFitted, match="call fit"):
        Estimator(**SMALL).save(tmp_path / "nothing")
    (saved / "saved_model.json").write_text(json.dumps({"format_version": 1}))
    with pytest.raises(RunError, match="is damaged"):
        Estimator.load(saved)
    with pytest.raises(LFADSError, match="the data are not those that the model"):
        fitted.fit(COUNTS + 1)


def test_trials_of_another_length(fitted):
    rates = fitted.transform(np.tile(COUNTS[:2], (1, 2, 1)))
    assert rates.shape == (2, 16, 4) and np.isfinite(rates).all()
    with pytest.raises(ValueError, match="spikes must be trials x 8 x 4"):
        fitted.transform(COUNTS[..., :3])
    with pytest.raises(ValueError, match="give what is reconstructed as target="):
        fitted.fit(COUNTS, COUNTS)


def test_windows():
    np.testing.assert_array_equal(window_offsets(25, 10, 4), [0, 6, 12, 15])
    np.testing.assert_array_equal(window_offsets(20, 10, 0), [0, 10])
    np.testing.assert_array_equal(windows_of(np.arange(25)[:, None], np.array([0, 15]), 10)[1, :, 0], np.arange(15, 25))
    for length, window, overlap in ((1003, 20, 15), (203, 20, 10), (90, 20, 19), (4000, 7, 0)):
        offsets = window_offsets(length, window, overlap)
        trains, validates = validation_windows(offsets, window, length)
        bins = [{b for o in offsets[chosen] for b in range(o, o + window)} for chosen in (trains, validates)]
        assert bins[0] and not bins[0] & bins[1], "no bin is in both"
        assert len(bins[1]) / length < 0.25 and (bins[1] or window > length / 5)
    with pytest.raises(LFADSError, match="has 5 bins and window=10"):
        window_offsets(5, 10, 0)


def test_a_continuous_recording():
    epochs = []
    model = Estimator(window=20, overlap=13, num_samples=2, callbacks=[epochs.append], **SMALL).fit(RECORDING)
    rates = model.transform(RECORDING)
    assert rates.shape == RECORDING.shape and np.isfinite(rates).all() and (rates > 0).all()
    windows = model._arrays.trials(RECORDING, None)[0]
    masked = model._inference(windows).held_out_rates(0, windows, channel_means(windows.data))
    assert model.score(RECORDING) == pytest.approx(bits_per_spike(masked, windows.data))
    everything = model.infer(RECORDING)
    assert everything["factors"].shape == (203, 3) and len(everything["costs"]) == len(window_offsets(203, 20, 13))
    # A window alone is what the model says of it as a trial.
    np.testing.assert_allclose(model.transform(RECORDING[:20]), model.transform(RECORDING[None, :20])[0], rtol=1e-5)
    assert len(epochs) == 1 and epochs[0]["epoch"] == 0
    assert all(isinstance(value, int | float) for value in epochs[0].values())


def test_trials_of_unequal_length():
    trials = [COUNTS[n][: 5 + n % 4] for n in range(15)]
    with pytest.raises(ValueError, match=r"cut trials of unequal length .* or set augmentations='selective_backprop'"):
        Estimator(**SMALL).fit(trials)
    rates = Estimator(augmentations="selective_backprop", num_samples=1, **SMALL).fit_transform(trials)
    assert [len(one) for one in rates] == [len(one) for one in trials]


def test_unequal_trials_whose_first_bins_serve_the_initial_condition(monkeypatch):
    trials = [COUNTS[n][: 5 + n % 4] for n in range(15)]
    settings = SMALL | {"augmentations": "selective_backprop", "ic_enc_seq_len": 2}
    model = Estimator(num_samples=1, **settings).fit(trials)
    rates = model.transform(trials)
    assert [len(one) for one in rates] == [len(one) - 2 for one in trials]
    # Other lengths than in fit, and a list of equal ones.
    shorter = model.transform([trial[:4] for trial in trials])
    assert [one.shape for one in shorter] == [(2, COUNTS.shape[2])] * 15
    # Masked entries get the mean of what there is of their channel.
    given, inference = [], type(model._inference(model._arrays.trials(trials, None)[0]))
    score_of = inference.held_out_rates
    monkeypatch.setattr(inference, "held_out_rates", lambda *words: given.append(words[-1]) or score_of(*words))
    score = model.score(trials)
    np.testing.assert_allclose(given[0], np.concatenate(trials).mean(axis=0), rtol=1e-6)
    assert model.set_params(ic_enc_seq_len=0).score(trials) == score


def test_a_recording():
    """Its halves and held-out units are those of the cut."""
    from lfads_tf2.estimator.arrays import Arrays
    from lfads_tf2.recordings import Recording

    times = {name: np.sort(RANDOM.uniform(0, 20, 300)) for name in ("a", "b", "c")}
    cut = Recording.of(times).cut(chop=500, overlap=0, bin_ms=20)
    cut.num_encoded = 2
    model = Estimator(**SMALL)
    train, valid = Arrays(model.hyperparameters, None, 0).halves(cut, None)
    np.testing.assert_array_equal(train.data, cut.counts[cut.half == 0][..., :2])
    np.testing.assert_array_equal(valid.target, cut.counts[cut.half == 1])
    with pytest.raises(ValueError, match="is a whole recording; cut it first"):
        model.fit(Recording.of(times))


def test_preset_auto_chooses_what_is_not_given():
    trials = RECORDING[:200].reshape(10, 20, -1)
    given = {name: value for name, value in SMALL.items() if name != "batch_size"} | {"max_epochs": 2}
    model = Estimator(preset="auto", num_samples=2, **given)
    assert model.get_params()["preset"] == "auto"
    model.fit(trials)
    chosen = model.model.spec.hyperparameters
    assert (chosen.batch_size, chosen.learning_rate_schedule) == (8, "cosine")
    assert chosen.gen_dim == given["gen_dim"]
    with pytest.raises(ValueError, match="preset must be 'auto' or None, got 'lorenz'"):
        Estimator(preset="lorenz")
