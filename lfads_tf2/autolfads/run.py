"""One search from configuration to results; ``lfads auto`` and notebooks both start here."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lfads_tf2.autolfads import planning
from lfads_tf2.autolfads.config import Search, SearchConfig, with_data
from lfads_tf2.autolfads.generations import score_of
from lfads_tf2.autolfads.population import Executor, Population, SearchFailed
from lfads_tf2.autolfads.records import FIT_LOG, DamagedRecord, Records, read_fit_log
from lfads_tf2.autolfads.timing import measured
from lfads_tf2.data import DataError, epoch_batches, read_sessions
from lfads_tf2.data.checks import any_validation_spike
from lfads_tf2.data.facts import facts_of
from lfads_tf2.data.fingerprint import fingerprints
from lfads_tf2.errors import RunError, one_of
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.program.run_lock import run_lock
from lfads_tf2.settings.run_folder import BEST_MODEL, OF_A_SEARCH, command
from lfads_tf2.training.scalars import HELD_OUT, SMOOTHED
from lfads_tf2.types import Session

log = logging.getLogger("lfads_tf2")

MODES = ("auto", "serial", "batched", "ray")


class Result(NamedTuple):
    """What a search found."""

    reason: str  # "max_epochs", "no improvement" or "interrupted"
    best: dict | None  # worker, generation, score and searched values of the best model; None if there is none yet
    folder: Path
    population: Population


def run_search(
    config: SearchConfig, save_dir: str | Path = "", mode: str = "auto", resume: bool = False, ray_address: str = ""
) -> Result:
    """Searches, and writes the best model, its outputs, the logs and the figures.

    Args:
        config: as ``read_config``, ``read_preset`` or ``config_from`` give it, with ``data_dir``.
        save_dir: the run folder; empty: ``lfads_save_dir`` of the configuration, or autolfads_output inside data_dir.
        mode: ``serial``: in this process, one worker after the other; ``batched``: in this process, all workers in one
            program; ``ray``: on Ray's workers; ``auto``: Ray where it is installed.
        resume: go on with the search in the folder.
        ray_address: of a running cluster, ``auto`` for the one of this machine; empty: Ray on this machine alone.

    Raises:
        SettingsError, DataError: the configuration or the data cannot be used.
        SearchFailed: the folder holds a search already (or none, to resume), or every model diverged.
    """
    started = time.monotonic()
    for note in config.notes:
        log.warning(note)
    reading = _reading(config)
    sessions = read_sessions(reading, None if config.budget is None else _settle(config))
    _check_validation(sessions)
    search = None if config.budget is not None else _search(config, sessions)
    folder = Path(save_dir or reading.lfads_save_dir or Path(reading.data_dir) / OF_A_SEARCH)
    records = _records(folder, resume)
    try:
        with run_lock(folder, "a search"):
            if search is None:
                search = _planned(config, sessions, records, resume, started, mode, ray_address)
            seed = search.hyperparameters.seed
            seed = seed if seed >= 0 else secrets.randbelow(2**31)
            return _searched(search, sessions, records, seed, mode, ray_address)
    except (RunError, DamagedRecord) as error:
        raise SearchFailed(str(error)) from error


def _settle(config: SearchConfig) -> Callable[[list[Session]], HyperParameters]:
    """For the check of the data: settings of which a budget changes no more than how long they train."""

    def settle(sessions: list[Session]) -> HyperParameters:
        return _usual(config, sessions).hyperparameters if sessions else _reading(config)

    return settle


def _usual(config: SearchConfig, sessions: list[Session]) -> Search:
    """The search without a budget."""
    facts = facts_of(sessions)
    epochs = planning.own_epochs(facts, config)
    whole, _ = planning.planned(config, facts, planning.sizes(epochs, planning.TIMES * epochs))
    return _search(whole, sessions)


def _planned(
    config: SearchConfig, sessions: list[Session], records: Records, resume: bool, started: float, mode: str,
    address: str,
) -> Search:  # fmt: skip
    """The search that the budget allows; one that goes on keeps its size."""
    facts, budget = facts_of(sessions), config.budget
    epochs = planning.own_epochs(facts, config)
    size, expected = records.plan() if resume else None, None
    if size is None and budget.seconds is None:
        size = planning.sizes(epochs, budget.epochs or planning.TIMES * epochs)
    elif size is None:
        usual = _usual(config, sessions)
        speed = measured(usual, lambda: _executor(mode, usual, sessions, address)[0])
        size, expected = planning.affordable(epochs, budget.seconds - (time.monotonic() - started), speed)
    whole, choices = planning.planned(config, facts, size)
    search = _search(whole, sessions)
    records.write_plan(size)
    for line in planning.described(search, choices, epochs, expected):
        log.info(line)
    return search


def _searched(search: Search, sessions: list[Session], records: Records, seed: int, mode: str, address: str) -> Result:
    executor, device = _executor(mode, search, sessions, address)
    from lfads_tf2.autolfads.table import Boards, LiveTable, Several

    watcher = Several(LiveTable(), Boards(records.folder / "tensorboard"))
    try:
        population = Population(search, executor, records, seed, watcher, fingerprints(sessions))
        try:
            reason = population.run()
        except KeyboardInterrupt:
            log.warning("Interrupted: writing the best model so far; the same command with --resume goes on from here.")
            reason = "interrupted"
        except SearchFailed:
            _finish(population, sessions, device)
            raise
    finally:
        executor.close()
    return Result(reason, _finish(population, sessions, device), records.folder, population)


def _reading(config: SearchConfig) -> HyperParameters:
    """Hyperparameters enough to read the data."""
    values = {name: value for name, value in config.given.items() if name not in config.per_entry}
    return HyperParameters(**(values | {"kind": "train"}))


def _check_validation(sessions: list[Session]) -> None:
    if all(session.valid is None for session in sessions):
        raise DataError(
            [
                f"{sessions[0].path}: no validation trials, by which models are compared; store some trials as "
                "valid_data (or valid_encod_data)"
            ]
        )


def _check_metric(search: Search, sessions: list[Session]) -> None:
    if search.options.metric == HELD_OUT and not any_validation_spike(sessions):
        raise DataError(
            [
                f"{sessions[0].path}: the validation trials hold no spikes, by whose prediction models are compared; "
                f"store trials with spikes as valid_data, or set pbt.metric: {SMOOTHED}"
            ]
        )


def _search(config: SearchConfig, sessions: list[Session]) -> Search:
    bins, channels = sessions[0].train.target.shape[1], np.mean([s.train.target.shape[2] for s in sessions])
    encoded = sessions[0].train.data.shape[1], np.mean([s.train.data.shape[2] for s in sessions])
    batch_size = _reading(config).batch_size
    batches = len(epoch_batches([len(session.train.data) for session in sessions], batch_size, 0, 0)[0])
    search = with_data(config, bins, float(channels), batches, encoded)
    _check_metric(search, sessions)
    return search


def _records(folder: Path, resume: bool) -> Records:
    there = (folder / "population" / "population.json").exists()
    if there and not resume:
        raise SearchFailed(
            f"--lfads_save_dir: {folder} holds a search already; give --resume to go on with it, or another folder"
        )
    if resume and not there:
        raise SearchFailed(f"--resume: there is no search in {folder}; leave --resume out to start one")
    try:
        return Records(folder)
    except OSError as error:
        raise SearchFailed(f"--lfads_save_dir: cannot make the folder {folder}: {error.strerror}") from error


def ray_is_there() -> bool:
    """Whether Ray is installed."""
    return importlib.util.find_spec("ray") is not None


def _executor(mode: str, search: Search, sessions: list[Session], ray_address: str) -> tuple[Executor, object]:
    if mode not in MODES:
        raise SearchFailed(f"--population_mode must be {one_of(MODES, mode)}")
    if ray_address and mode in ("serial", "batched"):
        raise SearchFailed(
            f"--ray_address={ray_address} needs --population_mode=ray, got {mode}; leave one of them out"
        )
    if (mode == "ray" or ray_address) and not ray_is_there():
        raise SearchFailed("--population_mode=ray needs Ray, which is not installed: pip install 'lfads-tf2[ray]'")
    from lfads_tf2.program import devices

    if mode == "ray" or ray_address or (mode == "auto" and ray_is_there()):
        from lfads_tf2.autolfads.ray_slots import RayExecutor

        # The GPUs are the workers': this process only writes results.
        device = devices.configure(dataclasses.replace(search.hyperparameters, device="/cpu:0"))
        return RayExecutor(search, sessions, ray_address), device
    from lfads_tf2.autolfads.batched import BatchedExecutor
    from lfads_tf2.autolfads.slot import SerialExecutor

    if mode == "batched":
        device = devices.configure(dataclasses.replace(search.hyperparameters, jit_compile="false"))
        return BatchedExecutor(search, sessions, device), device
    device = devices.configure(search.hyperparameters)
    return SerialExecutor(search, sessions, device), device


def _finish(population: Population, sessions: list[Session], device) -> dict | None:
    """Writes everything that the search leaves, however it ended."""
    from lfads_tf2.autolfads.outputs import write_best_model, write_outputs

    best, folder = population.best_now(), population.records.folder
    if best is None:
        log.warning("No worker has finished a generation yet: there is no model to write.")
        return None
    model, step = write_best_model(population, sessions, device, best)
    values = ", ".join(f"{name} {value:.4g}" for name, value in best["values"].items())
    metric = population.options.metric
    log.info("Best model: worker %d, %s %.6g, %s.", best["worker"], metric, score_of(best["score"], metric), values)
    written = write_outputs(model, step, sessions, folder, device)
    log.info("Wrote %s and %s", folder / BEST_MODEL, ", ".join(str(path) for path in written))
    data_dir = population.search.hyperparameters.data_dir
    log.info("For its results and their report: %s", command(folder / BEST_MODEL, data_dir))
    if (folder / FIT_LOG).exists():
        try:
            _figures(population, best)
        except Exception:
            # The model is written; a figure that fails must not make the command fail.
            log.exception("The figures could not be drawn; everything else is complete.")
    return best


def _figures(population: Population, best: dict) -> None:
    from lfads_tf2.autolfads.figures import write_figures
    from lfads_tf2.objective import UNITS

    folder, searched = population.records.folder, population.search.searched
    columns = read_fit_log(folder / FIT_LOG)
    unit = UNITS[population.search.hyperparameters.recon_reduce]
    write_figures(folder / "figures", columns, population.history, best, searched, population.options.metric, unit)
