"""What hyperparameters and sessions must agree on, warnings, and the resolved model."""

import numpy as np
import pytest

from lfads_tf2.data import DataError, check_against, read_sessions, resolve, unwise, warnings_about
from lfads_tf2.hyperparameters import NO_LIMIT, HyperParameters
from lfads_tf2.types import Session, SessionShape, Trials

from .malformed import D, N, T, counts, good, write_session


def session(name="a.h5", channels=D, bins=T, valid=True, **fields):
    """A session in memory."""
    train, held_out = counts(N, bins, channels), counts(3, bins, channels)
    return Session(name, f"data/{name}", Trials(train), Trials(held_out) if valid else None, **fields)


def test_resolve_takes_bins_channels_names_and_alignment_from_the_sessions():
    hp = HyperParameters(factors_dim=3)
    sessions = [session(alignment_matrix=np.ones((D, 3), np.float32)), session("b.h5", channels=9)]
    spec = resolve(hp, sessions)
    assert spec.hyperparameters is hp and spec.num_bins == T and spec.max_channels == 9
    assert spec.sessions == (SessionShape("a.h5", D, True), SessionShape("b.h5", 9, False))


def test_resolve_refuses_what_contradicts():
    with pytest.raises(DataError, match="no session given"):
        resolve(HyperParameters(), [])
    with pytest.raises(DataError, match=r"data/a\.h5: train_ext_input: missing, but --ext_input_dim=1"):
        resolve(HyperParameters(ext_input_dim=1), [session()])


@pytest.mark.parametrize(
    "settings",
    [
        {"num_steps_for_gen_ic": NO_LIMIT},
        {"controller_input_lag": T - 1},
        {"controller_input_lag": T, "co_dim": 0},
    ],
)
def test_fine_settings_are_left_alone(settings):
    assert check_against(HyperParameters(**settings), [session()]) == []


def test_rates_that_are_never_fed_back_may_have_many_sessions():
    sessions = [session(), session("b.h5")]
    rates = {"feedback_factors_or_rates": "rates"}
    assert check_against(HyperParameters(co_dim=0, **rates), sessions) == []
    assert check_against(HyperParameters(do_feed_factors_to_controller=False, **rates), sessions) == []
    assert len(check_against(HyperParameters(**rates), sessions)) == 1
    assert check_against(HyperParameters(**rates), sessions[:1]) == []


def test_bias_without_a_matrix_is_allowed():
    assert check_against(HyperParameters(), [session(alignment_bias=np.zeros(D, np.float32))]) == []


def test_silent_channels_are_named_once(tmp_path, caplog):
    data = counts()
    data[..., [0, 2]] = 0
    write_session(tmp_path, **good(train_data=data))
    read_sessions(HyperParameters(data_dir=str(tmp_path), batch_size=2))
    (record,) = caplog.records
    assert record.name == "lfads_tf2" and record.levelname == "WARNING"
    assert "a.h5: 2 of 4 channels are zero" in record.message and "(counted from 0: 0, 2)" in record.message


def test_unwanted_external_inputs_are_left_out_and_said(tmp_path, caplog):
    inputs = {"train_ext_input": np.ones((N, T, 2)), "valid_ext_input": np.ones((3, T, 2))}
    write_session(tmp_path, **good(**inputs))
    (found,) = read_sessions(HyperParameters(data_dir=str(tmp_path), batch_size=2))
    assert found.train.ext_input is None and found.valid.ext_input is None
    assert "ignored because --ext_input_dim is 0; --ext_input_dim=2 uses them" in caplog.text
    caplog.clear()
    (found,) = read_sessions(HyperParameters(data_dir=str(tmp_path), batch_size=2, ext_input_dim=2))
    assert found.valid.ext_input.shape == (3, T, 2) and not caplog.records


def test_small_sets_and_missing_validation_are_warned_of_in_training_only():
    hp = HyperParameters(batch_size=7)
    small, lacking = warnings_about(hp, [session(valid=False)])
    assert "fewer training trials (6) than --batch_size=7: the batch will be the whole set" in small
    assert "largest useful --batch_size is 6" in small
    assert "no validation data in data/a.h5: no lowest-validation checkpoint" in lacking
    assert warnings_about(HyperParameters(batch_size=7, kind="posterior_push_mean"), [session(valid=False)]) == []
    assert warnings_about(HyperParameters(batch_size=6), [session()]) == []


def test_one_of_two_sessions_without_validation_is_said_differently():
    twin, only = warnings_about(HyperParameters(batch_size=2), [session(), session("b.h5", valid=False)])
    assert "holds the same training trials as" in twin
    assert "no validation data in data/b.h5: the validation cost is that of the other sessions" in only


def test_a_warm_up_of_hundreds_of_epochs_is_said():
    (said,) = unwise(HyperParameters(), [session()])
    assert "over 900 steps, which are 900 epochs of these data" in said and "--preset=auto" in said
    assert unwise(HyperParameters(kl_increase_steps=200), [session()]) == []
    assert unwise(HyperParameters(batch_size=1), [session()]) == []
    assert unwise(HyperParameters(kl_increase_epochs=400), [session()]) == []
