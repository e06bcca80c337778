"""What a search leaves: the best model in a run folder of its own, and its view of every session."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path

import h5py
import numpy as np
import tensorflow as tf

from lfads_tf2.autolfads.population import Population
from lfads_tf2.autolfads.records import best_epoch
from lfads_tf2.autolfads.slot import Snapshot
from lfads_tf2.data.fingerprint import fingerprints
from lfads_tf2.files import atomic_path, hdf5
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.inference import Inference, crop_channels, named_outputs
from lfads_tf2.program import model_files as model_io
from lfads_tf2.program import results
from lfads_tf2.program.devices import Device
from lfads_tf2.program.model_building import model_spec, new_model
from lfads_tf2.settings.run_folder import BEST_MODEL, RunRecord
from lfads_tf2.training.held_out_score import HeldOutScore
from lfads_tf2.training.scalars import HELD_OUT
from lfads_tf2.training.trainer import Trainer
from lfads_tf2.types import Session, Trials

log = logging.getLogger("lfads_tf2")

SAMPLES = 50  # posterior samples averaged, unless num_samples_posterior says otherwise
HDF5_ENDINGS = (".h5", ".hdf5")


def write_best_model(population: Population, sessions: list[Session], device: Device, best: dict):
    """Writes ``best_model/``: checkpoint, hyperparameters and ``model_params``, a run folder for every other command.

    Args:
        population: that found it.
        sessions: the data.
        device: to work on.
        best: as ``Population.best_now`` gives it.

    Returns:
        The model, and its training step.
    """
    folder = population.records.folder
    target, making, old = (folder / name for name in (BEST_MODEL, f".{BEST_MODEL}.new", f".{BEST_MODEL}.old"))
    for leftover in (making, old):
        shutil.rmtree(leftover, ignore_errors=True)
    making.mkdir()
    hp = best_hyperparameters(population, best, target)
    state = Snapshot.from_bytes(population.records.model_state(best["state"]))
    with tf.device(device.name):
        spec = model_spec(hp, sessions)
        model = new_model(spec, sessions, 0, device.native)
        trainer = Trainer(model, sessions, making, hp.seed, show_progress=False)
        _say_lead(population, trainer, HeldOutScore(trainer.epochs, sessions), state)
        state.restore(model, trainer.optimizer)
        trainer.state.epoch = best_epoch(population.history, best)
        trainer.save(trainer.lowest_validation)
        values = model_io.parameters(model, model_io.Loaded(state.step, hp.learning_rate_init))
    results.write_params(results.params_path(making, ""), values)
    RunRecord.of(spec, fingerprints(sessions)).write(making, state.step)
    if target.exists():
        target.rename(old)
    making.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return model, state.step


def _say_lead(population: Population, trainer: Trainer, held_out: HeldOutScore, best: Snapshot) -> None:
    """How much better the best model is, trial by trial, than the best of the first worker, which kept its settings."""
    first = population.state.get("first")
    if first is None or population.options.metric != HELD_OUT:
        return
    gains = []
    for state in (best, Snapshot.from_bytes(population.records.model_state(first["state"]))):
        state.restore(trainer.model, trainer.optimizer)
        gains.append(held_out.gains())
    log.info(
        "Held-out bits/spike: the best model %s, the best with the settings that the search started from %s; "
        "above that by %s.",
        gains[0].score(), gains[1].score(), gains[0].above(gains[1]),
    )  # fmt: skip


def best_hyperparameters(population: Population, best: dict, folder: Path) -> HyperParameters:
    """All settings of the best model, as those of an ordinary run in ``folder``."""
    applied = population.search.hyperparameters_of(best["values"])
    applied |= {"lfads_save_dir": str(folder), "seed": population.seed}
    if applied.get("cd_rate") == 0:
        # Nothing leaves the input, and there is nothing to pass.
        applied["cd_pass_rate"] = 0.0
    return dataclasses.replace(population.search.hyperparameters, **applied)


def write_outputs(model, step: int, sessions: list[Session], folder: Path, device: Device) -> list[Path]:
    """Writes ``lfads_output_<session>.h5`` for each session: a copy of its data file, and what the model makes of it.

    Added for either half: ``output_params`` (distribution parameters, rates in spikes/bin for counts), ``factors``,
    ``gen_states``, ``gen_init``, ``gen_inputs``, and the posterior's ``co_means``, ``co_stds``, ``ic_mean`` and
    ``ic_std``, all trial-major and averaged over posterior samples. Parts that the model lacks are absent.
    """
    hp, written = model.spec.hyperparameters, []
    samples = hp.num_samples_posterior or SAMPLES
    run = Inference(model, max(hp.seed, 0), step, averaged_outputs)
    with tf.device(device.name):
        for index, session in enumerate(sessions):
            path = folder / f"lfads_output_{stem_of(session.name)}.h5"
            with atomic_path(path) as temporary:
                shutil.copyfile(session.path, temporary)
                with hdf5.writing(temporary, "r+") as f:
                    for half in ("train", "valid"):
                        if getattr(session, half) is not None:
                            _add_half(
                                f, half, session, run.posterior_average(index, getattr(session, half), samples), run
                            )
                    f.attrs["lfads_num_samples"], f.attrs["lfads_checkpoint_step"] = samples, step
            written.append(path)
    return written


def stem_of(session: str) -> str:
    """A session's name without the ending of an HDF5 file; other dots stay, so that no two names become one."""
    return next((session[: -len(end)] for end in HDF5_ENDINGS if session.lower().endswith(end)), session)


def averaged_outputs(model, outputs) -> dict[str, tf.Tensor]:
    """What ``Inference`` averages here: its usual outputs and the posterior of the inferred inputs."""
    named = named_outputs(model, outputs)
    if outputs.decoded.co_mean is not None:
        named["co_means"] = outputs.decoded.co_mean
        named["co_stds"] = tf.exp(0.5 * outputs.decoded.co_logvar)
    return named


def _add_half(f: h5py.File, half: str, session: Session, found: dict[str, np.ndarray], run: Inference) -> None:
    model, trials = run.model, getattr(session, half)
    channels = session.train.target.shape[2]
    named = {
        "output_params": crop_channels(found["output_dist_params"], channels, model.observation.num_reported),
        "factors": found["factors"],
        "gen_states": found["gen_states"],
        "gen_init": found["gen_ics"],
        "gen_inputs": _generator_inputs(model, found, trials),
        "co_means": found.get("co_means"),
        "co_stds": found.get("co_stds"),
        "ic_mean": found.get("post_g0_mean"),
        "ic_std": np.exp(0.5 * found["post_g0_logvar"]) if "post_g0_logvar" in found else None,
    }
    for name, value in named.items():
        if value is None:
            continue
        key = f"{half}_{name}"
        if key in f:
            del f[key]
        f.create_dataset(
            key, data=value.astype(np.float32), compression="gzip", compression_opts=1, shuffle=True, fletcher32=True
        )
        if name == "output_params" and model.spec.hyperparameters.output_dist == "poisson":
            f[key].attrs["units"] = "spikes/bin"


def _generator_inputs(model, found: dict[str, np.ndarray], trials: Trials) -> np.ndarray | None:
    """What drives the generator, N x T x inputs: inferred inputs, then injected external ones."""
    parts = [found["controller_outputs"]] if "controller_outputs" in found else []
    parts += [trials.ext_input[:, model.first_bin :]] if model.injects_ext_input else []
    return np.concatenate(parts, axis=2) if parts else None
