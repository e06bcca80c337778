"""Synthetic recordings whose true rates are known: the Lorenz system and rate networks.

Everything random comes from one seed (PCG64): the same settings give the same spikes on every machine. A session's
draws do not depend on how many sessions are asked for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lfads_tf2.files import atomic_path
from lfads_tf2.synthetic.presets import LorenzSettings, RnnSettings, check

LORENZ_STEP_MS = 1.0
LORENZ_DT = 0.006  # of the system's own time, one step
LORENZ_BURN_IN = 500  # steps


class Recording(NamedTuple):
    """One session, trials ordered by condition. C conditions, N trials, T bins, D channels, L latents, I inputs."""

    data: np.ndarray  # N x T x D, counts a bin, or float32 values
    conditions: np.ndarray  # N, 0 .. C-1
    truth: np.ndarray  # C x T x D float32, expected spikes a bin (or mean value) of every trial of the condition
    latents: np.ndarray  # C x T x L float32
    readout_matrix: np.ndarray  # L x D
    readout_bias: np.ndarray  # D
    ext_input: np.ndarray | None = None  # C x T x I float32, given to the model
    true_input: np.ndarray | None = None  # C x T x I float32, kept from the model: what it should infer
    alignment_matrix: np.ndarray | None = None  # D x F
    alignment_bias: np.ndarray | None = None  # D


def _generators(seed: int, sessions: int) -> list[np.random.Generator]:
    """One stream for the dynamics and one a session."""
    seeds = np.random.SeedSequence(seed).spawn(1 + sessions)
    return [np.random.Generator(np.random.PCG64(s)) for s in seeds]


def lorenz_step(state: np.ndarray, dt: float = LORENZ_DT) -> np.ndarray:
    """One Euler step of the Lorenz system with sigma 10, rho 28, beta 8/3. state: ... x 3."""
    x, y, z = np.moveaxis(state, -1, 0)
    slope = np.stack([10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z], axis=-1)
    return state + dt * slope


def lorenz_latents(rng: np.random.Generator, conditions: int, steps: int) -> np.ndarray:
    """Lorenz trajectories, conditions x steps x 3, each with time mean 0 and maximum 1 (one step lasts 1 ms)."""
    state = rng.standard_normal((conditions, 3)) + np.array([0.0, 0.0, 25.0])
    for _ in range(LORENZ_BURN_IN):
        state = lorenz_step(state)
    path = np.empty((conditions, steps, 3))
    for step in range(steps):
        path[:, step] = state
        state = lorenz_step(state)
    path -= path.mean(axis=1, keepdims=True)
    highest = path.max(axis=1, keepdims=True)
    return path / np.where(highest > 0, highest, 1.0)  # a single step is its own mean


def lorenz_recordings(settings: LorenzSettings) -> list[Recording]:
    """Sessions whose channels' log-rates are linear in one set of Lorenz trajectories. Raises ValueError (check)."""
    check(settings)
    dynamics, *streams = _generators(settings.seed, settings.sessions)
    latents = lorenz_latents(dynamics, settings.conditions, settings.bins * settings.bin_ms)
    return [_lorenz_session(rng, latents, settings) for rng in streams]


def _lorenz_session(rng: np.random.Generator, latents: np.ndarray, settings: LorenzSettings) -> Recording:
    channels = int(rng.integers(settings.channels_min, settings.channels_max, endpoint=True))
    trials = int(rng.integers(settings.trials_min, settings.trials_max, endpoint=True))
    weights = (rng.random((channels, 3)) + 1.0) * np.sign(rng.standard_normal((channels, 3)))
    weights = weights[np.argsort(weights[:, 0])].T
    bias = np.full(channels, np.log(settings.mean_rate * LORENZ_STEP_MS / 1000.0))
    shape = (settings.bins, settings.bin_ms, channels)
    counts, truth = [], []
    for path in latents:
        rate = np.exp(np.clip(path @ weights + bias, -20.0, 20.0)).reshape(shape)
        # A neuron fires at most once a millisecond: with probability P(Poisson(rate) > 0).
        probability = -np.expm1(-rate)
        truth.append(probability.sum(axis=1))
        counts.append((rng.random((trials, *shape), dtype=np.float32) < probability).sum(axis=2, dtype=np.uint16))
    binned = latents.reshape(len(latents), settings.bins, settings.bin_ms, 3).mean(axis=2)
    conditions = np.repeat(np.arange(len(latents)), trials)
    return Recording(np.concatenate(counts), conditions, np.float32(truth), binned.astype(np.float32), weights, bias)


def run_network(state: np.ndarray, recurrent: np.ndarray, drive: np.ndarray, step: float) -> np.ndarray:
    """tanh of the states of tau dx/dt = -x + J tanh(x) + drive, by Euler steps.

    Args:
        state: C x N, initial x. recurrent: N x N, J (gain included), J[i, j] from unit j to unit i.
        drive: C x T x N, input to each unit. step: bin width over tau.

    Returns:
        C x T x N; the first bin is tanh of the initial state.
    """
    activity = np.empty(drive.shape)
    for t in range(drive.shape[1]):
        activity[:, t] = np.tanh(state)
        state = state + step * (-state + activity[:, t] @ recurrent.T + drive[:, t])
    return activity


def bound_network(rng: np.random.Generator, units: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rank-one network x = m k + bias whose one variable k integrates its input and settles at a bound, +1 or -1.

    The feedback is fitted so that tau dk/dt = 0.4 k^3 (1 - k^2) + input: flat near 0, attracting at the bounds.

    Returns:
        m (N), bias (N), feedback (N): J = outer(m, feedback).
    """
    weights, bias = 1.5 * rng.standard_normal(units), rng.standard_normal(units)
    grid = np.linspace(-1.5, 1.5, 301)
    features = np.tanh(np.outer(grid, weights) + bias)
    wanted = grid + 0.4 * grid**3 * (1.0 - grid**2)
    ridge = 1e-9 * len(grid) * np.eye(units)
    return weights, bias, np.linalg.solve(features.T @ features + ridge, features.T @ wanted)


def _network_activity(rng: np.random.Generator, s: RnnSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activity C x T x N, inputs C x T x 1 that act on the network, label C of each condition."""
    inputs = np.zeros((s.conditions, s.bins, 1))
    labels = np.zeros(s.conditions, dtype=np.int64)
    state = s.initial_sd * rng.standard_normal((s.conditions, s.units))
    if s.task == "integration_to_bound":
        weights, bias, feedback = bound_network(rng, s.units)
        inputs = s.input_sd * rng.standard_normal(inputs.shape)
        drive = inputs * weights + bias
        return run_network(state + bias, np.outer(weights, feedback), drive, s.bin_ms / s.tau_ms), inputs, labels
    if s.pulse:
        when = rng.integers(s.bins // 4, max(3 * s.bins // 4, s.bins // 4 + 1), size=s.conditions)
        inputs[np.arange(s.conditions), when, 0] = s.pulse
    drive = inputs * rng.standard_normal(s.units)
    if s.task == "labelled":
        labels = np.arange(s.conditions) % 2
    activity = np.empty((s.conditions, s.bins, s.units))
    for label in np.unique(labels):
        recurrent = s.gain / np.sqrt(s.units) * rng.standard_normal((s.units, s.units))
        of_label = labels == label
        activity[of_label] = run_network(state[of_label], recurrent, drive[of_label], s.bin_ms / s.tau_ms)
    return activity, inputs, labels


def rnn_recordings(settings: RnnSettings) -> list[Recording]:
    """Sessions that record units of one network. Raises ValueError (check)."""
    check(settings)
    dynamics, *streams = _generators(settings.seed, settings.sessions)
    activity, inputs, labels = _network_activity(dynamics, settings)
    order = dynamics.permutation(settings.units)
    recordings = []
    for number, rng in enumerate(streams):
        # Sessions share units only when there are not enough of them.
        places = np.arange(settings.channels) + number * settings.channels
        recordings.append(_record(rng, activity, order[places % settings.units], settings))
    if settings.task == "labelled":
        ext_input = np.broadcast_to(labels[:, None, None], inputs.shape).astype(np.float32)
        recordings = [r._replace(ext_input=ext_input) for r in recordings]
    if inputs.any():
        recordings = [r._replace(true_input=inputs.astype(np.float32)) for r in recordings]
    return align(recordings, settings.alignment_factors) if settings.alignment_factors else recordings


def _record(rng: np.random.Generator, activity: np.ndarray, units: np.ndarray, s: RnnSettings) -> Recording:
    # Spikes: activity -1 .. 1 becomes 0 .. max_rate; Gaussian values are the activity itself.
    scale, shift = (s.max_rate * s.bin_ms / 2000.0,) * 2 if s.observations == "poisson" else (1.0, 0.0)
    matrix = scale * np.eye(activity.shape[2])[:, units]
    bias = np.full(len(units), shift)
    truth = scale * activity[:, :, units] + bias
    conditions = np.repeat(np.arange(len(truth)), s.trials)
    if s.observations == "poisson":
        data = rng.poisson(truth[conditions]).astype(np.uint16)
    else:
        data = (truth[conditions] + s.noise_sd * rng.standard_normal((len(conditions), *truth.shape[1:]))).astype(
            np.float32
        )
    return Recording(data, conditions, truth.astype(np.float32), activity.astype(np.float32), matrix, bias)


def align(recordings: list[Recording], factors: int) -> list[Recording]:
    """Give sessions that share their conditions alignment matrices, by regression on common principal components.

    The condition averages of all sessions' channels together are reduced to ``factors`` principal components; each
    session's matrix maps its own averages, less their mean (the alignment bias), to these by least squares.
    """
    averages = []
    for recording in recordings:
        trials = len(recording.data) // len(recording.truth)
        by_condition = recording.data.reshape(len(recording.truth), trials, *recording.data.shape[1:])
        averages.append(by_condition.mean(axis=1).reshape(-1, recording.data.shape[2]))
    biases = [average.mean(axis=0) for average in averages]
    centred = [average - bias for average, bias in zip(averages, biases, strict=True)]
    together = np.concatenate(centred, axis=1)
    _, vectors = np.linalg.eigh(together.T @ together)
    components = together @ vectors[:, ::-1][:, :factors]
    return [
        recording._replace(
            alignment_matrix=np.linalg.lstsq(own, components, rcond=None)[0].astype(np.float32),
            alignment_bias=bias.astype(np.float32),
        )
        for recording, own, bias in zip(recordings, centred, biases, strict=True)
    ]


def write_recording(path: Path, recording: Recording, settings: dict[str, Any]) -> None:
    """Write one session as an LFADS input file (HDF5), atomically.

    Trials 0, r + 1, 2 (r + 1), ... are the validation half, with r = ``settings["train_to_valid"]``. Positions of
    trials are counted from 0. ``settings`` also goes into the attribute ``info`` as JSON, and its ``bin_ms`` into
    ``bin_width_ms``. Raises OSError when the file cannot be written.
    """
    from lfads_tf2.files import hdf5  # here, so that --help need not wait for h5py

    count = len(recording.data)
    is_valid = np.arange(count) % (settings["train_to_valid"] + 1) == 0
    number = np.int64 if recording.data.dtype.kind == "u" else np.float32
    by_condition = {"truth": recording.truth, "ext_input": recording.ext_input, "true_input": recording.true_input}
    arrays = {
        "latents": recording.latents,
        "readout_W": recording.readout_matrix,
        "readout_b": recording.readout_bias,
        "conversion_factor": 1.0,  # the truth is in the data's own unit
        "alignment_matrix_cxf": recording.alignment_matrix,
        "alignment_bias_c": recording.alignment_bias,
    }
    for half, trials in (("train", np.flatnonzero(~is_valid)), ("valid", np.flatnonzero(is_valid))):
        of_trial = recording.conditions[trials]
        arrays[f"{half}_data"] = recording.data[trials].astype(number)
        arrays[f"{half}_inds"], arrays[f"{half}_conditions"] = trials, of_trial
        for name, values in by_condition.items():
            arrays[f"{half}_{name}"] = None if values is None else values[of_trial]
    with atomic_path(path) as temporary, hdf5.writing(temporary) as file:
        for name, values in arrays.items():
            if values is not None:
                packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if np.size(values) > 1 else {}
                file.create_dataset(name, data=values, **packed)
        file.attrs["info"] = json.dumps(settings)
        file.attrs["bin_width_ms"] = float(settings["bin_ms"])
