"""scikit-learn's checks of estimators, all that it has for one of these tags; those that must fail say why."""

from __future__ import annotations

import functools

import pytest

from lfads_tf2.estimator import Estimator

checks = pytest.importorskip("sklearn.utils.estimator_checks", reason="scikit-learn is not installed")
SMALL = {"gen_dim": 3, "factors_dim": 2, "ic_dim": 2, "ic_enc_dim": 2, "co_dim": 0, "batch_size": 8, "max_epochs": 1}
# The checks hand over samples x features, which are a continuous recording of values.
CONTINUOUS = Estimator(output_dist="gaussian", window=5, num_samples=1, device="cpu:0", **SMALL)

# How each fails that does not hold here, and why it does not.
NO_SCORE = "bits a spike need counts"  # the score is one of counts, and the checks have values
FAILING = {
    "check_no_attributes_set_in_init": "hyperparameters",  # settings are checked when they are given, not at the fit
    "check_do_not_raise_errors_in_init_or_set_params": "settings",  # likewise
    "check_fit_score_takes_y": NO_SCORE,
    "check_pipeline_consistency": NO_SCORE,
    "check_dtype_object": "must be one array of numbers",  # ours is a ValueError where a TypeError is asked for
    "check_estimators_empty_data_messages": "with at least one entry",  # in our own words
    "check_fit2d_predict1d": "with at least one entry",  # likewise
    "check_fit2d_1sample": "it needs at least one window",  # likewise
    "check_transformer_preserve_dtypes": "does not preserve dtype",  # the model computes in float32
    "check_methods_sample_order_invariance": "is not invariant",  # bins follow each other in time
    "check_methods_subset_invariance": "it needs at least one window",  # likewise
}
# Those that do not fit a model take no time.
QUICK = {
    "check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types", "check_estimator_repr",
    "check_no_attributes_set_in_init", "check_do_not_raise_errors_in_init_or_set_params", "check_mixin_order",
    "check_complex_data", "check_estimators_empty_data_messages", "check_estimator_sparse_tag", "check_fit1d",
    "check_estimator_sparse_array", "check_estimator_sparse_matrix", "check_estimators_unfitted", "check_set_params",
    "check_transformers_unfitted", "check_parameters_default_constructible", "check_get_params_invariance",
    "check_fit2d_1sample", "check_array_api_input",
}  # fmt: skip


def cases():
    for _, check in checks.estimator_checks_generator(CONTINUOUS, mark=None):
        name = check.func.__name__
        marks = () if name in QUICK else (pytest.mark.slow,)
        yield pytest.param(check, id="-".join([name, *map(str, check.keywords)]), marks=marks)


@pytest.mark.parametrize("check", cases())
@pytest.mark.filterwarnings("ignore")
def test_check(check: functools.partial):
    message = FAILING.get(check.func.__name__)
    if message is None:
        check(CONTINUOUS)
    else:
        with pytest.raises((AssertionError, TypeError, ValueError), match=message):
            check(CONTINUOUS)


def test_every_check_that_is_named_is_there():
    names = {case.values[0].func.__name__ for case in cases()}
    assert FAILING.keys() | QUICK <= names and len(names) > 40
