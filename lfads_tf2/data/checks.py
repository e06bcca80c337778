"""What hyperparameters and sessions must agree on, and what the sessions decide for the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lfads_tf2.data import storage
from lfads_tf2.data.errors import DataError, by, listing
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.types import ModelSpec, Session, SessionShape


def check_against(hp: HyperParameters, sessions: Sequence[Session]) -> list[str]:
    """Everything that is wrong between the hyperparameters and the sessions; empty when all is well."""
    found = [problem for session in sessions for problem in _session_problems(hp, session)]
    steps = {session.path: session.train.data.shape[1] for session in sessions}
    if len(set(steps.values())) > 1:
        counts = listing(f"{path} has {number}" for path, number in steps.items())
        found.append(f"sessions differ in their number of bins: {counts}; cut all trials to the same length")
    if hp.co_dim > 0 and hp.controller_input_lag >= min(steps.values(), default=np.inf):
        found.append(
            f"--controller_input_lag={hp.controller_input_lag}: trials have only {min(steps.values())} bins, so the "
            "controller would never read the data; use a smaller lag, --controller_input_lag=1, or longer trials"
        )
    feeds_rates = hp.feedback_factors_or_rates == "rates" and hp.do_feed_factors_to_controller and hp.co_dim > 0
    if feeds_rates and len(sessions) > 1:
        found.append(
            f"--feedback_factors_or_rates=rates needs a single session, got {len(sessions)}: "
            f"{listing(steps)}; use --feedback_factors_or_rates=factors, or narrow --data_filename_stem to one session"
        )
    return found


def _session_problems(hp: HyperParameters, session: Session) -> list[str]:
    found = []
    halves = {"train": session.train, "valid": session.valid}
    channels = session.train.data.shape[2]
    for half, trials in halves.items():
        if trials is None or hp.ext_input_dim == 0:
            continue
        key = f"{session.path}: {half}_ext_input"
        if trials.ext_input is None:
            found.append(
                f"{key}: missing, but --ext_input_dim={hp.ext_input_dim}; --ext_input_dim is for measured inputs "
                "stored in the file, inferred inputs are --co_dim; use --ext_input_dim=0 or store the inputs"
            )
        elif trials.ext_input.shape[2] != hp.ext_input_dim:
            width = trials.ext_input.shape[2]
            found.append(
                f"{key}: has {width} inputs a bin (shape {by(trials.ext_input.shape)}), but "
                f"--ext_input_dim={hp.ext_input_dim}; use --ext_input_dim={width} or store {hp.ext_input_dim} inputs"
            )
    matrix, bias = session.alignment_matrix, session.alignment_bias
    if matrix is not None and matrix.shape != (channels, hp.factors_dim):
        key = f"{session.path}: alignment_matrix_cxf"
        text = f"is {by(matrix.shape)}, needs channels x factors, {channels} x {hp.factors_dim}"
        if matrix.shape == (hp.factors_dim, channels):
            advice = "transpose it"
        elif matrix.shape[0] == channels:
            advice = f"use --factors_dim={matrix.shape[1]} or compute the matrix for {hp.factors_dim} factors"
        else:
            advice = f"compute the matrix for the {channels} channels of this session"
        found.append(f"{key}: {text} (the data have {channels} channels, --factors_dim={hp.factors_dim}); {advice}")
    if bias is not None and bias.size != channels:
        found.append(
            f"{session.path}: alignment_bias_c: has {bias.size} entries and the data {channels} channels; "
            "store one entry for each channel"
        )
    return found


def warnings_about(hp: HyperParameters, sessions: Sequence[Session]) -> list[str]:
    """What is odd but usable, one sentence each."""
    found = []
    for session in sessions:
        silent = np.flatnonzero(~storage.any_by_channel(session.train.data))
        if silent.size:
            found.append(
                f"{session.path}: {silent.size} of {session.train.data.shape[2]} channels are zero in every training "
                f"trial (counted from 0: {listing(silent)}); better left out of the data"
            )
    carriers = [session.path for session in sessions if session.train.ext_input is not None]
    if carriers and hp.ext_input_dim == 0:
        found.append(
            f"external inputs in {listing(carriers)} are ignored because --ext_input_dim is 0; "
            f"--ext_input_dim={next(s for s in sessions if s.path == carriers[0]).train.ext_input.shape[2]} uses them"
        )
    if hp.kind != "train":
        return found
    fewest = min((len(session.train.data) for session in sessions), default=hp.batch_size)
    if fewest < hp.batch_size:
        which = "the whole set" if len(sessions) == 1 else "as many trials as the smallest session has"
        found.append(
            f"fewer training trials ({fewest}) than --batch_size={hp.batch_size}: the batch will be {which}; "
            f"largest useful --batch_size is {fewest}"
        )
    lacking = [session.path for session in sessions if session.valid is None]
    if lacking and len(lacking) == len(sessions):
        found.append(
            f"no validation data in {listing(lacking)}: no lowest-validation checkpoint will be made; "
            "store some trials as valid_data"
        )
    elif lacking:
        found.append(f"no validation data in {listing(lacking)}: the validation cost is that of the other sessions")
    return found


def resolve(hp: HyperParameters, sessions: Sequence[Session]) -> ModelSpec:
    """The hyperparameters together with what the sessions decide: bins, channels, names, alignment.

    Raises ``DataError`` when there is no session, or when hyperparameters and sessions contradict each other.
    """
    problems = check_against(hp, sessions) if sessions else ["no session given; at least one is needed"]
    if problems:
        raise DataError(problems)
    shapes = tuple(SessionShape(s.name, s.train.data.shape[2], s.alignment_matrix is not None) for s in sessions)
    return ModelSpec(hp, sessions[0].train.data.shape[1], shapes)
