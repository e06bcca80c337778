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

from lfads_tf2.metrics.rates import bits_per_spike
from lfads_tf2.data.continuous import validation_windows, window_offsets, windows_of
from lfads_tf2.errors import LFADSError, RunError, SettingsError
from lfads_tf2.estimator import Estimator, NotFitted

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
    assert repr(Estimator(gen_dim=6, seed=2)) == "Estimator(seed=2, gen_dim=6)"
    assert eval(repr(one)).get_params() == one.get_params()


def test_scikit_learns_own_checks():
    base = pytest.importorskip("sklearn.base", reason="scikit-learn is not installed")
    from sklearn.utils import estimator_checks as checks
    from sklearn.utils.validation import check_is_fitted

    copied = base.clone(Estimator(num_samples=7, window=5, **SMALL))
    assert copied.get_params()["window"] == 5 and copied.hyperparameters.gen_dim == 6
    continuous = Estimator(output_dist="gaussian", window=5, num_samples=1, **SMALL)
    for check in (
        checks.check_estimator_cloneable, checks.check_estimator_repr,         checks.check_get_params_invariance, checks.check_set_params, checks.check_valid_tag_types,
        checks.check_estimators_unfitted, checks.check_no_attributes_set_in_init,         checks.check_mixin_order, checks.check_estimator_tags_renamed,
        checks.check_dict_unchanged, checks.check_readonly_memmap_input, checks.check_estimators_pickle, checks.check_estimators_dtypes, checks.check_transformer_general, checks.check_fit2d_predict1d, checks.check_methods_sample_order_invariance, checks.check_fit1d, checks.check_estimators_empty_data_messages, checks.check_estimators_nan_inf, checks.check_estimators_overwrite_params, checks.check_fit_idempotent, checks.check_estimators_fit_returns_self, checks.check_complex_data, checks.check_dtype_object, checks.check_estimator_sparse_array, checks.check_parameters_default_constructible, checks.check_fit_check_is_fitted, checks.check_transformer_preserve_dtypes, checks.check_estimators_unfitted, checks.check_fit_score_takes_y,
    ):  # fmt: skip
        import time, traceback; t=time.time()
        try:
            check("Estimator", copy.deepcopy(continuous)); print("ok", check.__name__, time.time()-t)
        except BaseException as error:
            print("FAIL", check.__name__, time.time()-t, type(error).__name__, str(error)[:300])
    assert 0
