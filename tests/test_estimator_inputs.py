"""Measured external inputs in an estimator: the checks that files pass, and what they do."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from lfads_tf2.data import DataError, read_sessions
from lfads_tf2.estimator import Estimator
from lfads_tf2.hyperparameters import HyperParameters

SMALL = {"gen_dim": 6, "factors_dim": 3, "ic_dim": 4, "ic_enc_dim": 5, "co_dim": 1, "ci_enc_dim": 4, "con_dim": 4}
SMALL |= {"batch_size": 8, "max_epochs": 1, "num_samples": 2}
RANDOM = np.random.default_rng(3)
COUNTS, INPUTS = RANDOM.poisson(1.0, (15, 8, 4)), RANDOM.standard_normal((15, 8, 2))


@pytest.fixture(scope="module")
def fitted():
    return Estimator(ext_input_dim=2, inject_ext_input_to_gen=True, **SMALL).fit(COUNTS, ext_input=INPUTS)


def test_inputs_act(fitted):
    rates = fitted.transform(COUNTS, ext_input=INPUTS)
    assert rates.shape == COUNTS.shape
    changed = INPUTS.copy()
    changed[:, 4:] += 3.0
    others = fitted.transform(COUNTS, ext_input=changed)
    np.testing.assert_allclose(others[:, :4], rates[:, :4], rtol=1e-5)
    assert np.abs(others[:, 5:] - rates[:, 5:]).max() > 1e-4
    assert np.isfinite(fitted.score(COUNTS, ext_input=INPUTS))
    longer = fitted.transform(np.tile(COUNTS[:2], (1, 2, 1)), ext_input=np.tile(INPUTS[:2], (1, 2, 1)))
    assert longer.shape == (2, 16, 4)


def test_the_same_model_as_from_files(tmp_path, fitted):
    """Halves, inputs and so the weights are those of the file with the same trials."""
    valid = np.arange(15) % 5 == 4
    with h5py.File(tmp_path / "session.h5", "w") as f:
        for half, rows in (("train", ~valid), ("valid", valid)):
            f[f"{half}_data"], f[f"{half}_ext_input"] = COUNTS[rows], INPUTS[rows]
    hp = HyperParameters(data_dir=str(tmp_path), ext_input_dim=2)
    session = read_sessions(hp)[0]
    train, held = fitted._arrays.halves(COUNTS, None, INPUTS)
    for one, other in ((session.train, train), (session.valid, held)):
        assert other.ext_input.dtype == np.float32
        np.testing.assert_array_equal(one.ext_input, other.ext_input)
        np.testing.assert_array_equal(one.data, other.data)


def test_samples_from_the_prior(fitted):
    found = fitted.sample(4, ext_input=INPUTS[:2])
    assert found["output_dist_params"].shape == (4, 8, 4) and (found["output_dist_params"] > 0).all()
    np.testing.assert_array_equal(fitted.sample(4, ext_input=INPUTS[:2])["factors"], found["factors"])
    assert np.abs(fitted.sample(4, ext_input=-INPUTS[:2])["factors"] - found["factors"]).max() > 1e-4
    for words, message in (
        ({"number": 0}, "number must be at least 1"), ({"number": 2}, "ext_input is missing, but ext_input_dim=2"),
        ({"number": 2, "ext_input": INPUTS[:, :5]}, r"ext_input must be trials x 8 bins x inputs, got \(15, 5, 2\)"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            fitted.sample(**words)
    plain = Estimator(**SMALL).fit(COUNTS)
    assert plain.sample(3)["prior_zs_ar_con"].shape == (3, 8, 1)
    with pytest.raises(ValueError, match="the generator has no external inputs"):
        plain.sample(3, ext_input=INPUTS)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (None, "ext_input is missing, but ext_input_dim=2"),
        (INPUTS[..., :1], "ext_input has 1 inputs a bin, but ext_input_dim=2; .* ext_input_dim=1"),
        (INPUTS[:, :5], r"with the trials and bins of spikes or target, got \(15, 5, 2\)"),
        (INPUTS[:7], r"with the trials and bins of spikes or target, got \(7, 8, 2\)"),
        (INPUTS[..., 0], r"ext_input must be numbers, trials x bins x inputs"),
        (np.where(INPUTS > 1, np.nan, INPUTS), "ext_input: NaN"),
        (INPUTS * 1e300, "ext_input: too large for 32-bit"),
        (INPUTS.astype(str), "ext_input must be numbers"),
    ],
)
def test_what_does_not_fit(fitted, inputs, message):
    fresh = Estimator(ext_input_dim=2, inject_ext_input_to_gen=True, **SMALL)
    for call in (fresh.fit, fitted.transform, fitted.score):
        with pytest.raises((ValueError, DataError), match=message):
            call(COUNTS, ext_input=inputs)
    assert fresh.model is None


def test_inputs_that_nothing_takes():
    with pytest.raises(ValueError, match="ext_input has 2 inputs a bin, but ext_input_dim=0"):
        Estimator(**SMALL).fit(COUNTS, ext_input=INPUTS)
    with pytest.raises(ValueError, match="ext_input is missing, but ext_input_dim=2"):
        Estimator(ext_input_dim=2, **SMALL).fit(COUNTS, ext_input=INPUTS, valid=COUNTS)


def test_targets_with_further_bins(caplog):
    """Inputs end with the encoders' data, or are known for all bins of the target."""
    seen = COUNTS[:, :6, :3]
    model = Estimator(ext_input_dim=2, **SMALL).fit(seen, target=COUNTS, ext_input=INPUTS)
    assert model.transform(seen, ext_input=INPUTS).shape == COUNTS.shape and not caplog.text
    rates = model.transform(seen, ext_input=INPUTS[:, :6])
    assert rates.shape == COUNTS.shape and "ext_input has 6 bins and the target 8: it is taken to be 0" in caplog.text
    ended = np.where(np.arange(8)[:, None] < 6, INPUTS, 0.0)
    np.testing.assert_allclose(rates, model.transform(seen, ext_input=ended), rtol=1e-6)


def test_continuous_recordings_and_auto():
    recording, inputs = RANDOM.poisson(1.0, (203, 4)), RANDOM.standard_normal((203, 1))
    given = {name: value for name, value in SMALL.items() if name != "batch_size"}
    model = Estimator(preset="auto", window=20, overlap=13, **given).fit(recording, ext_input=inputs)
    assert model.model.spec.hyperparameters.ext_input_dim == 1
    assert model.transform(recording, ext_input=inputs).shape == recording.shape
    with pytest.raises(ValueError, match=r"ext_input must be bins x inputs with the bins of spikes, got \(202, 1\)"):
        model.transform(recording, ext_input=inputs[1:])
