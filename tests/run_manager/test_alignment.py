"""Alignment matrices: known subspaces, brute-force least squares, scikit-learn's ridge, the original's quirks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import subspace_angles

from lfads_tf2.figures.drawing import save
from lfads_tf2.metrics.ridge import LAMBDAS, ridge_cv
from lfads_tf2.run_manager.preparation import alignment as al
from lfads_tf2.run_manager.preparation.alignment_figure import alignment_figure

FACTORS = 3


def smooth_latents(rng, conditions, bins):
    time = np.linspace(0, 2 * np.pi, bins)
    amplitude = rng.standard_normal((2, conditions, 1, FACTORS))
    frequency = np.array([1.0, 1.7, 2.6])
    waves = np.sin(time[:, None] * frequency), np.cos(time[:, None] * frequency)
    return amplitude[0] * waves[0] + amplitude[1] * waves[1]


def poisson_sessions(seed=0, conditions=60, bins=40, trials=20, channels=(30, 24, 36)):
    """Latents, each session's weights F x C and noise-free averages, and averages of Poisson counts."""
    rng = np.random.default_rng(seed)
    latents = smooth_latents(rng, conditions, bins)
    weights = [rng.uniform(-0.25, 0.25, (FACTORS, c)) for c in channels]
    true = [np.maximum(2.0 + latents @ w, 0.02) for w in weights]
    counts = [rng.poisson(np.repeat(rate, trials, axis=0)) for rate in true]
    ids = np.repeat(np.arange(conditions), trials)
    noisy = [al.condition_averages([c[:100], c[100:]], ids, np.arange(conditions)) for c in counts]
    return latents, weights, true, noisy


def flat(values):
    return values.reshape(-1, values.shape[-1])


def angle(a, b):
    """Angle between two lines in degrees; the sign of a component is arbitrary."""
    return np.degrees(np.arccos(np.clip(abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b), 0, 1)))


@pytest.mark.parametrize("approach", al.APPROACHES)
def test_known_alignment_is_recovered(approach):
    latents, weights, true, noisy = poisson_sessions(bins=100, trials=25)
    found = al.align(noisy, FACTORS, approach)
    # Each matrix reads from the space in which the latents drive the channels.
    for matrix, weight in zip(found.matrices, weights, strict=True):
        assert np.degrees(subspace_angles(matrix, weight.T)).max() < 5
    # The same latents are read as the same factors in every session, and as those of the noise-free rates.
    read = [(flat(rate) - flat(rate).mean(axis=0)) @ matrix for rate, matrix in zip(true, found.matrices, strict=True)]
    noise_free = flat(al.align(true, FACTORS, approach).global_pcs)
    for own in read:
        assert max(angle(own[:, f], noise_free[:, f]) for f in range(FACTORS)) < 5
    assert found.r2().min() > 0.75  # the averages that are reconstructed are noisy themselves
    assert latents.shape[0] == 60


def test_equals_brute_force_least_squares():
    _, _, _, noisy = poisson_sessions(conditions=8, bins=10, trials=5, channels=(6, 9))
    found = al.align(noisy, 4)
    together = np.concatenate([flat(a) for a in noisy], axis=1)
    means = together.mean(axis=0)
    _, _, rows = np.linalg.svd(together - means, full_matrices=False)
    loadings = rows[:4].T
    loadings = loadings * np.sign(loadings[np.abs(loadings).argmax(axis=0), np.arange(4)])
    scores = (together - means) @ loadings
    start = 0
    for average, matrix, bias in zip(noisy, found.matrices, found.biases, strict=True):
        x = flat(average) - flat(average).mean(axis=0)
        expected = np.linalg.solve(x.T @ x, x.T @ scores)
        np.testing.assert_allclose(matrix, expected, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(bias, means[start : start + len(bias)])
        start += len(bias)
    np.testing.assert_allclose(flat(found.global_pcs), scores, atol=1e-10)


@pytest.mark.parametrize("normalize_each", [False, True])
def test_ridge_equals_scikit_learn_on_the_same_folds(normalize_each):
    sklearn = pytest.importorskip("sklearn")
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, KFold

    assert sklearn
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((83, 12)) * rng.uniform(0.2, 3, 12)
        y = x[:, :3] @ rng.standard_normal((3, 4)) + (0.5 + 3 * seed) * rng.standard_normal((83, 4))
        found = ridge_cv(y, x, normalize_each=normalize_each)
        scaled = x / x.std(axis=0 if normalize_each else None, ddof=1)
        search = GridSearchCV(
            Ridge(solver="cholesky"), {"alpha": LAMBDAS}, cv=KFold(10), scoring="neg_mean_squared_error"
        )
        search.fit(scaled, y)
        assert found.penalty == search.best_params_["alpha"]
        np.testing.assert_allclose(found.losses, -search.cv_results_["mean_test_score"], rtol=1e-8)
        weights = search.best_estimator_.coef_.T / np.reshape(found.scale, (-1, 1))
        np.testing.assert_allclose(found.weights, weights, rtol=1e-6, atol=1e-9)


def test_compatible_cross_validation_is_the_originals():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((57, 5)), rng.standard_normal((57, 2))
    found = ridge_cv(y, x, cv="compatible")
    scaled = x / x.std(ddof=1)
    design = np.column_stack([np.ones(57), scaled])
    spared = np.diag([0.0, *np.ones(5)])
    losses = []
    for penalty in np.logspace(-5, 2, 15):
        errors = []
        for fold in range(1, 11):
            # MATLAB's rows count from 1: the tenth that is left out elsewhere is the one that is fitted.
            fitted = np.array([row % 10 == fold % 10 for row in range(1, 58)])
            a = design[fitted]
            b = np.linalg.solve(a.T @ a + penalty * spared, a.T @ y[fitted])
            errors.append(np.mean((design[~fitted] @ b - y[~fitted]) ** 2))
        losses.append(np.mean(errors))
    np.testing.assert_allclose(found.losses, losses, rtol=1e-7)
    assert found.penalty == LAMBDAS[np.argmin(losses)]


def test_silent_channel_with_normalize_each():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 4))
    x[:, 2] = 0
    found = ridge_cv(x[:, :1], x, normalize_each=True)
    assert np.isfinite(found.weights).all() and found.weights[2, 0] == 0


def test_missing_conditions():
    latents, _, true, noisy = poisson_sessions(conditions=30)
    noisy[0][3] = np.nan
    noisy[1][[7, 8]] = np.nan
    found = al.align(noisy, FACTORS)
    lacking = np.isnan(found.global_pcs).all(axis=(1, 2))
    assert list(np.flatnonzero(lacking)) == [3, 7, 8]
    for rate, matrix in zip(true, found.matrices, strict=True):
        read = (flat(rate) - flat(rate).mean(axis=0)) @ matrix
        assert np.degrees(subspace_angles(read, flat(latents) - flat(latents).mean(axis=0))).max() < 5
    assert all(np.isfinite(m).all() for m in found.matrices)
    # The bias is the mean over the session's own conditions, not over the shared ones.
    np.testing.assert_allclose(found.biases[0], np.nanmean(flat(noisy[0]), axis=0))


def test_sessions_without_common_conditions_are_refused():
    _, _, _, noisy = poisson_sessions(conditions=6, trials=2, channels=(5, 4))
    noisy[0][:3] = np.nan
    noisy[1][3:] = np.nan
    with pytest.raises(al.AlignmentError, match="no condition has trials in every session"):
        al.align(noisy, 2)


def test_one_session_is_padded_with_zeros():
    _, _, _, noisy = poisson_sessions(conditions=6, channels=(5,))
    found = al.align(noisy, 8, readout="pinv")
    matrix = found.matrices[0]
    assert matrix.shape == (5, 8) and not matrix[:, 5:].any()
    np.testing.assert_allclose(matrix[:, :5].T @ matrix[:, :5], np.eye(5), atol=1e-12)
    # Orthonormal columns: both read-outs are the same.
    np.testing.assert_allclose(found.readout_matrices[0], matrix.T, atol=1e-12)
    assert (matrix[np.abs(matrix[:, :5]).argmax(axis=0), np.arange(5)] > 0).all()


def test_read_out():
    _, _, _, noisy = poisson_sessions(conditions=6, channels=(5, 7))
    noisy[0][:, :, 1] = 0
    default, other = al.align(noisy, 3), al.align(noisy, 3, readout="pinv", bias="meanCount")
    np.testing.assert_allclose(default.readout_matrices[1], default.matrices[1].T)
    np.testing.assert_allclose(other.readout_matrices[1], np.linalg.pinv(other.matrices[1]))
    np.testing.assert_allclose(default.readout_biases[1], np.log(default.biases[1]))
    assert default.readout_biases[0][1] == np.log(al.SMALLEST_MEAN)
    np.testing.assert_allclose(other.readout_biases[0], other.biases[0])


def test_condition_ids():
    assert list(al.all_conditions([np.array([3.0, np.nan]), np.array([1, 3])])) == [1, 3]
    assert list(al.all_conditions([np.array(["b", ""]), np.array(["a"], object)])) == ["a", "b"]
    with pytest.raises(al.AlignmentError, match="numbers in all sessions or text in all"):
        al.all_conditions([np.array([1]), np.array(["a"])])
    counts = np.arange(12.0).reshape(3, 2, 2)
    averages = al.condition_averages([counts], np.array(["x", "", "x"]), np.array(["x", "y"]))
    np.testing.assert_allclose(averages[0], (counts[0] + counts[2]) / 2)
    assert np.isnan(averages[1]).all()


@pytest.mark.parametrize(("changes", "words"), [
    ({"approach": "pca"}, "approach must be one of"), ({"readout": "inv"}, "readout must be one of"),
    ({"bias": "none"}, "bias must be one of"), ({"factors_dim": 0}, "at least 1"),
])  # fmt: skip
def test_wrong_choices(changes, words):
    with pytest.raises(al.AlignmentError, match=words):
        al.align([np.ones((2, 3, 4))], **({"factors_dim": 2} | changes))


def test_figure(tmp_path):
    _, _, _, noisy = poisson_sessions(conditions=9, channels=(5, 7), trials=4)
    noisy[0][2] = np.nan
    figure = alignment_figure(al.align(noisy, 9), ["a", "b"], list(range(9)), bin_ms=10.0)
    save(figure, tmp_path / "alignment.png")
    assert (tmp_path / "alignment.png").stat().st_size > 10_000
