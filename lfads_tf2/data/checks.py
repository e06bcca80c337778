"""What hyperparameters and sessions must agree on, and what the sessions decide for the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from lfads_tf2.data import batches, storage
from lfads_tf2.data.errors import DataError, by, listing
from lfads_tf2.data.plausibility import bin_width_problems, layout_warnings, twins, unit_warnings
from lfads_tf2.hyperparameters import HyperParameters, augmentation_names
from lfads_tf2.types import ModelSpec, Session, SessionShape, Trials

# Epochs of warm-up above which a line says so.
LONGEST_WARM_UP = 250


def check_against(hp: HyperParameters, sessions: Sequence[Session]) -> list[str]:
    """Everything that is wrong between the hyperparameters and the sessions; empty when all is well."""
    found = [problem for session in sessions for problem in _session_problems(hp, session)]
    if hp.kind == "train":
        found += bin_width_problems(sessions)
    bins = {session.path: session.train.data.shape[1] for session in sessions}
    targets = {session.path: session.train.target.shape[1] for session in sessions}
    if len(set(bins.values())) > 1 or len(set(targets.values())) > 1:
        counts = listing(
            f"{path} has {number}" for path, number in (bins if len(set(targets.values())) == 1 else targets).items()
        )
        found.append(f"sessions differ in their number of bins: {counts}; cut all trials to the same length")
    if hp.ic_enc_seq_len and hp.ic_enc_seq_len >= min(bins.values(), default=np.inf):
        found.append(
            f"--ic_enc_seq_len={hp.ic_enc_seq_len}: the encoders' data have only {min(bins.values())} bins, so "
            "nothing would be left to reconstruct from; use fewer bins or longer trials"
        )
    bins = {path: number - hp.ic_enc_seq_len for path, number in bins.items()}
    if hp.co_dim > 0 and hp.controller_input_lag >= min(bins.values(), default=np.inf):
        fits = min(bins.values()) - 1
        smaller = f"--controller_input_lag={fits}, " if fits < hp.controller_input_lag else ""
        found.append(
            f"--controller_input_lag={hp.controller_input_lag}: trials have only {min(bins.values())} bins, so the "
            f"controller would never read the data; use {smaller}--co_dim=0 (no controller), or longer trials"
        )
    moving = [name for name in ("spike_jitter", "temporal_shift") if name in augmentation_names(hp)]
    for session in sessions if moving and hp.kind == "train" else ():
        if session.train.recon is not None and not _is_nested(session.train):
            found.append(
                f"{session.path}: --augmentations: {moving[0]} moves target and encoders' data alike, so the encoders' "
                "data must be the first bins and channels of the target; store them so, or leave it out"
            )
    if hp.kind == "train" and sessions and all(session.valid is None for session in sessions):
        needing = {
            "--learning_rate_schedule=plateau": hp.learning_rate_schedule == "plateau",
            "--early_stopping_patience": hp.early_stopping_patience > 0,
            "--select_by=held_out_bps": hp.select_by == "held_out_bps",
        }
        found += [
            f"{flag} needs validation data; store some trials as valid_data" for flag, on in needing.items() if on
        ]
    elif hp.kind == "train" and hp.select_by == "held_out_bps" and not any_validation_spike(sessions):
        found.append(
            "--select_by=held_out_bps needs validation trials with spikes, and these have none; store others as "
            "valid_data, or use --select_by=valid_cost"
        )
    widths = {session.path: session.train.data.shape[2] for session in sessions}
    if hp.read_in == "identity" and len(set(widths.values())) > 1:
        counts = listing(f"{path} has {number}" for path, number in widths.items())
        found.append(f"--read_in=identity needs sessions of the same channels: {counts}; use --read_in=linear")
    feeds_rates = hp.feedback_factors_or_rates == "rates" and hp.do_feed_factors_to_controller and hp.co_dim > 0
    if feeds_rates and len(sessions) > 1:
        found.append(
            f"--feedback_factors_or_rates=rates needs a single session, got {len(sessions)}: "
            f"{listing(bins)}; use --feedback_factors_or_rates=factors, or narrow --data_filename_stem to one session"
        )
    return found


def any_validation_spike(sessions: Sequence[Session]) -> bool:
    """Whether any validation trial holds any count that is not zero."""
    return any(session.valid is not None and storage.any_entry(session.valid.target) for session in sessions)


def _session_problems(hp: HyperParameters, session: Session) -> list[str]:
    found = []
    halves = {"train": session.train, "valid": session.valid}
    channels = session.train.target.shape[2]
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
    if hp.kind == "train" and hp.output_dist == "poisson" and not storage.any_entry(session.train.target):
        found.append(
            f"{session.path}: every count of the training trials is 0; check what was exported, and of which units"
        )
    matrix = session.alignment_matrix
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
    start = session.readout_matrix
    if start is not None and start.shape != (hp.factors_dim, channels):
        found.append(
            f"{session.path}: alignment_readout_matrix_fxc: is {by(start.shape)}, needs factors x channels, "
            f"{hp.factors_dim} x {channels}; compute it for these factors and channels"
        )
    for key, bias in (
        ("alignment_bias_c", session.alignment_bias),
        ("alignment_readout_bias_c", session.readout_bias),
    ):
        if bias is not None and bias.size != channels:
            found.append(
                f"{session.path}: {key}: has {bias.size} entries and the data {channels} channels; "
                "store one entry for each channel"
            )
    return found


def warnings_about(hp: HyperParameters, sessions: Sequence[Session]) -> list[str]:
    """What is odd but usable, one sentence each."""
    found = twins(sessions)
    for session in sessions:
        if hp.output_dist == "poisson":
            found += unit_warnings(session) + layout_warnings(session)
        silent = np.flatnonzero(~storage.any_by_channel(session.train.target))
        if silent.size:
            found.append(
                f"{session.path}: {silent.size} of {session.train.target.shape[2]} channels are zero in every training "
                f"trial (counted from 0: {listing(silent)}); better left out of the data"
            )
    if hp.kind != "train":
        return found
    fewest = min((len(session.train.data) for session in sessions), default=hp.batch_size)
    if fewest < hp.batch_size:
        which = "the whole set" if len(sessions) == 1 else "as many trials as the smallest session has"
        found.append(
            f"fewer training trials ({fewest}) than --batch_size={hp.batch_size}: the batch will be {which}; "
            f"largest useful --batch_size is {fewest}, and --preset=auto takes one that fits"
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


def unwise(hp: HyperParameters, sessions: Sequence[Session]) -> list[str]:
    """Settings that can be used and that these data make unwise: a warm-up, given in steps, of very many epochs."""
    settled, an_epoch = _epochs_as_steps(hp, sessions), _steps_an_epoch(hp, sessions)
    steps = settled.kl_start_step + settled.kl_increase_steps
    epochs = steps / an_epoch if sessions else 0.0
    if epochs <= LONGEST_WARM_UP or hp.kl_increase_epochs:
        return []
    return [
        f"the KL cost rises over {steps} steps, which are {epochs:.0f} epochs of these data; until then no "
        f"lowest-validation checkpoint is made. A new training with --preset=auto chooses what fits these data "
        "(by hand: --kl_increase_epochs and --l2_increase_epochs)"
    ]


def resolve(hp: HyperParameters, sessions: Sequence[Session]) -> ModelSpec:
    """The hyperparameters together with what the sessions decide: bins, channels, names, alignment.

    Raises ``DataError`` when there is no session, or when hyperparameters and sessions contradict each other.
    """
    problems = check_against(hp, sessions) if sessions else ["no session given; at least one is needed"]
    if problems:
        raise DataError(problems)
    shapes = tuple(_shape(session) for session in sessions)
    halves = [half for session in sessions for half in (session.train, session.valid) if half is not None]
    data_bins, target_bins = (array.shape[1] for array in (halves[0].data, halves[0].target))
    separate = any(half.recon is not None for half in halves)
    return ModelSpec(
        _epochs_as_steps(hp, sessions),
        target_bins - hp.ic_enc_seq_len,
        shapes,
        None if data_bins == target_bins else data_bins,
        separate,
        separate and any(bool(_unobserved(half.target).any()) for half in halves),
    )


def _epochs_as_steps(hp: HyperParameters, sessions: Sequence[Session]) -> HyperParameters:
    """Ramps that are given in epochs, in steps; everything else as it is."""
    steps_an_epoch, steps = _steps_an_epoch(hp, sessions), {}
    for cost in ("kl", "l2"):
        for name, steps_name in (("start_epoch", "start_step"), ("increase_epochs", "increase_steps")):
            epochs = getattr(hp, f"{cost}_{name}")
            if epochs:
                steps[f"{cost}_{steps_name}"] = epochs * steps_an_epoch
    return dataclasses.replace(hp, **steps) if steps else hp


def _steps_an_epoch(hp: HyperParameters, sessions: Sequence[Session]) -> int:
    return batches.steps_an_epoch([len(session.train.data) for session in sessions], hp.batch_size)


def _shape(session: Session) -> SessionShape:
    data, target = session.train.data, session.train.target
    encoded = None if data.shape[2] == target.shape[2] else data.shape[2]
    share = 1.0 if session.train.recon is None else 1.0 - float(np.mean(_unobserved(target)))
    return SessionShape(session.name, target.shape[2], session.alignment_matrix is not None, encoded, share)


def _unobserved(target: np.ndarray) -> np.ndarray:
    return np.isnan(target) if target.dtype.kind == "f" else np.zeros(1, bool)


def _is_nested(half: Trials) -> bool:
    """Whether the encoders' data are the first bins and channels of the target (0 where that was not observed)."""
    inner = half.target[:, : half.data.shape[1], : half.data.shape[2]]
    return bool(np.all((inner == half.data) | (np.isnan(inner) if inner.dtype.kind == "f" else False)))
