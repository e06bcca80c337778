"""The five kinds of command: what each reads, runs and leaves in the run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from lfads_tf2 import __version__
from lfads_tf2.data import storage, unwise
from lfads_tf2.data.fingerprint import fingerprints
from lfads_tf2.errors import RunError
from lfads_tf2.figures import trials as plots
from lfads_tf2.figures.drawing import pixels
from lfads_tf2.figures.fit import fit_columns
from lfads_tf2.figures.report import MOST_SESSIONS, write_report
from lfads_tf2.files import write_text
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.inference import Inference, session_results
from lfads_tf2.metrics.verdict import fit_of
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.objective import UNITS
from lfads_tf2.program import devices, results, resuming
from lfads_tf2.program import model_files as model_io
from lfads_tf2.program.assessment import against_masked_spikes, against_truth, is_scored
from lfads_tf2.program.behavior_decoding import decoded_behavior
from lfads_tf2.program.model_building import model_spec, new_model, trained_model
from lfads_tf2.program.recording_labels import recording_labels
from lfads_tf2.program.run_lock import run_lock
from lfads_tf2.session_results import inferred_from, load_session
from lfads_tf2.settings import auto
from lfads_tf2.settings.checkpoint_files import LOWEST_VALIDATION, newest, step_of
from lfads_tf2.settings.run_folder import RunRecord
from lfads_tf2.training import fit_log, replicas
from lfads_tf2.training.metrics_log import read_metrics
from lfads_tf2.training.status_line import CountLine
from lfads_tf2.training.trainer import Trainer, TrainingFailed
from lfads_tf2.types import Session, Trials

log = logging.getLogger("lfads_tf2")


CHOICES_FILE = "auto.txt"


def train(hp: HyperParameters, sessions: list[Session], record: RunRecord | None, choices: Sequence[str] = ()) -> None:
    """Trains in the run folder, afresh, from model_params_file, or from the checkpoint that is there.

    ``choices``: why ``--preset=auto`` chose these settings; kept in the folder.
    """
    if hp.seed < 0:
        hp = dataclasses.replace(hp, seed=secrets.randbelow(2**31))
    device = devices.configure(hp)
    spec, data = model_spec(hp, sessions, record, subset_allowed=False), fingerprints(sessions)
    for sentence in unwise(hp, sessions):
        log.warning(sentence)
    strategy = replicas.strategy_for(device.num_gpus)
    with _working_in(hp) as folder:
        resumes = resuming.prepare(folder, spec.hyperparameters, record, data)
        if choices:
            write_text(folder / CHOICES_FILE, "".join(f"{line}\n" for line in choices))
        with tf.device(device.name) if strategy is None else contextlib.nullcontext():
            with replicas.scope(strategy):
                model = new_model(spec, sessions, hp.seed, device.native)
            if hp.model_params_file and not resumes:
                _start_from(model, Path(hp.model_params_file))
            try:
                trainer = Trainer(model, sessions, folder, hp.seed, jit_compile=device.xla, strategy=strategy)
                RunRecord.of(spec, data).write(folder, trainer.step)
                trainer.train()
            except TrainingFailed as error:
                raise RunError(str(error)) from error
            if hp.report:
                _example_figure(folder, model, sessions[0], trainer.step)
        if hp.report:
            _report(folder, hp, sessions, {}, _logs(folder, hp))


def posterior_sample_and_average(hp: HyperParameters, sessions: list[Session], record: RunRecord | None) -> None:
    """Averages posterior samples of every trial of every session."""
    samples = hp.num_samples_posterior or hp.batch_size
    _posterior(hp, sessions, record, samples)


def posterior_push_mean(hp: HyperParameters, sessions: list[Session], record: RunRecord | None) -> None:
    """Pushes posterior means through the model for every trial of every session."""
    _posterior(hp, sessions, record, None)


def prior_sample(hp: HyperParameters, sessions: list[Session], record: RunRecord | None) -> None:
    """Draws batch_size samples from the prior, read out as the first session's channels."""
    device = devices.configure(hp)
    with tf.device(device.name):
        model, loaded, order = trained_model(hp, sessions, record, device.native)
        resuming.check_other_data(record, fingerprints(sessions[:1]))
        session, trials, ext_input, source = sessions[0], sessions[0].train, None, None
        if model.injects_ext_input:
            rows = np.arange(hp.batch_size) % len(trials.data)
            ext_input, source = (
                trials.ext_input[rows][:, model.first_bin :],
                f"first {len(set(rows))} training trials of {session.name}",
            )
            log.info("The external inputs of the samples are those of the %s.", source)
        run = Inference(model, max(hp.seed, 0), loaded.step)
        samples = run.prior_sample(order[session.name], hp.batch_size, ext_input)
    attributes = _attributes(hp, session, loaded.step, None) | {
        "read_out_of_session": session.name,
        "ext_input_from": source,
    }
    with _working_in(hp) as folder:
        path = results.runs_path(folder, hp.output_filename_stem, "prior_sample")
        results.write_runs(path, session_results(model, session, samples), attributes)
    log.info("Wrote %s", path)


def write_model_params(hp: HyperParameters, sessions: list[Session], record: RunRecord | None) -> None:
    """Exports every variable under the original's name."""
    device = devices.configure(hp)
    with tf.device(device.name):
        model, loaded, _ = trained_model(hp, sessions, record, device.native)
        values = model_io.parameters(model, loaded)
    with _working_in(hp) as folder:
        path = results.write_params(results.params_path(folder, hp.output_filename_stem), values)
    log.info("Wrote %d variables to %s", len(values), path)


KINDS = {
    "train": train,
    "posterior_sample_and_average": posterior_sample_and_average,
    "posterior_push_mean": posterior_push_mean,
    "prior_sample": prior_sample,
    "write_model_params": write_model_params,
}


def _posterior(hp, sessions, record, samples: int | None) -> None:
    """``samples``: a trial; None: posterior means."""
    device = devices.configure(hp)
    with tf.device(device.name), _working_in(hp) as folder:
        resuming.remove_litter(folder)
        model, loaded, order = trained_model(hp, sessions, record, device.native)
        resuming.check_other_data(record, fingerprints(sessions))
        run, verdicts = Inference(model, max(hp.seed, 0), loaded.step), {}
        logs = _logs(folder, hp)
        # --preset=auto gives a model one input for whatever may come, and says so.
        fit = fit_of(*logs, has_inputs=hp.co_dim > 0 and not (folder / CHOICES_FILE).exists())
        if hp.learning_rate_schedule == "cosine":
            trials = sum(len(session.train.data) for session in sessions)
            fit = fit._replace(planned=auto.steps_for(trials))
        for session in sessions:
            of_data = {inferred_from.ATTRIBUTE: inferred_from.stamp(Path(session.path), hp.ext_input_dim > 0)}
            for half in ("train", "valid"):
                trials = getattr(session, half)
                if trials is None:
                    continue
                trials = trials._replace(**{
                    name: value[: hp.ps_nexamples_to_process]
                    for name, value in trials._asdict().items() if value is not None
                })  # fmt: skip
                path = results.runs_path(folder, hp.output_filename_stem, hp.kind, session.name, half)
                attributes = _attributes(hp, session, loaded.step, samples) | of_data
                with results.writing_runs(path, len(trials.data)) as file:
                    scored, index = is_scored(trials, half, hp), order[session.name]
                    rates = _infer(run, session, half, index, trials, samples, file, scored or trials.truth is not None)
                    if trials.truth is not None:
                        attributes |= against_truth(session, half, trials.from_bin(model.first_bin), rates)
                    if scored:
                        scores, verdicts[session.name] = against_masked_spikes(run, index, session, trials, rates, fit)
                        attributes |= scores
                    file.describe(attributes)
                log.info("Wrote %s", path)
        if hp.report:
            _report(folder, hp, sessions, verdicts, logs)


def _infer(run, session, half, index, trials, samples, file: results.RunsFile, keeps_rates: bool) -> np.ndarray | None:
    """Infers and writes the results of some trials block by block; returns the rates where they are asked for."""
    rates, start = None, 0
    with contextlib.closing(CountLine(f"{session.name} {half}", "trials")) as run.watch:
        for block in run.blocks(index, trials, samples or 0):
            block = session_results(run.model, session, block)
            file.add(block)
            found = block["output_dist_params"]
            if keeps_rates:
                rates = storage.empty((len(trials.data), *found.shape[1:]), found.dtype) if rates is None else rates
                rates[start : start + len(found)] = found
                storage.release(rates)
            start += len(found)
    return rates


_UNITS = {
    "gaussian": "units of the data: means, then variances",
    "gamma": "units of the data: means, then ln alpha, then ln beta",
    "zero_inflated_gamma": "units of the data: means, then logit q, then ln alpha, then ln beta",
}


def _attributes(hp: HyperParameters, session: Session, step: int, samples: int | None) -> dict[str, object]:
    poisson = hp.output_dist == "poisson"
    return {
        "units": "spikes/bin" if poisson else _UNITS.get(hp.output_dist, "units of the data: means, then parameters"),
        "kind": hp.kind,
        "num_samples": samples,
        "checkpoint_step": step,
        "program": f"lfads_tf2 {__version__}",
        "bin_width_ms": session.bin_width_ms,
        "first_bin": hp.ic_enc_seq_len or None,
        "channels": session.train.target.shape[2],
    }


def _start_from(model: LFADS, path: Path) -> None:
    try:
        model_io.load_original(model, path)
    except (model_io.ModelFileError, OSError, tf.errors.OpError) as error:
        raise RunError(str(error)) from error


@contextlib.contextmanager
def _working_in(hp: HyperParameters) -> Iterator[Path]:
    """The run folder, made if it is not there, for this command alone; one that stays empty goes again."""
    folder = Path(hp.lfads_save_dir)
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"--lfads_save_dir: cannot make the folder {folder}: {error.strerror}") from error
    try:
        with run_lock(folder, f"--kind={hp.kind}"):
            yield folder
    finally:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _example_figure(folder: Path, model: LFADS, session: Session, step: int) -> None:
    """Puts three trials of the first session, as the model sees them now, into TensorBoard."""
    half, trials = ("valid", session.valid) if session.valid else ("train", session.train)
    trials = Trials(*(None if array is None else array[:3] for array in trials))
    rates = Inference(model, 0, step, once=True).posterior_push_mean(0, trials)["output_dist_params"]
    target = np.nan_to_num(trials.from_bin(model.first_bin).target)
    channels, gaussian = target.shape[2], model.spec.hyperparameters.output_dist != "poisson"
    labels = recording_labels(session, model.first_bin)
    scale = plots.Scale(session.bin_width_ms, gaussian, labels.event, labels.start_ms)
    figure = plots.trials_figure(target, rates[..., :channels], scale, names=labels.names(half))
    writer = tf.summary.create_file_writer(str(folder / "lfads_log"))
    with writer.as_default(step=step):
        tf.summary.image("example/trials", pixels(figure)[None])
    writer.close()


def _logs(folder: Path, hp: HyperParameters) -> list[dict[str, np.ndarray] | None]:
    """Columns of the fit log and of metrics.csv, None for one that is not there."""
    files = ((folder / f"{hp.csv_log}.csv", fit_log.read), (folder / "metrics.csv", read_metrics))
    return [read(path) if path.exists() else None for path, read in files]


def _fit_in_memory(folder: Path, hp: HyperParameters, session: Session) -> bool:
    """Whether a session's results are small enough to be drawn; says so of those that are not."""
    halves = (results.runs_path(folder, hp.output_filename_stem, hp.kind, session.name, h) for h in ("train", "valid"))
    size = sum(path.stat().st_size for path in halves if path.exists())
    if size > storage.RESIDENT_BYTES:
        log.info("%s: its results, %.1f GB, are too large to be drawn.", session.name, size / 1e9)
    return size <= storage.RESIDENT_BYTES


def _report(folder: Path, hp: HyperParameters, sessions: list[Session], verdicts: dict, logs: list) -> None:
    log_columns = fit_columns(*logs)
    lowest, first = newest(folder, LOWEST_VALIDATION), hp.ic_enc_seq_len
    try:
        chosen = step_of(lowest) if lowest else None
        shown = (
            [] if hp.kind == "train" else [s.name for s in sessions[:MOST_SESSIONS] if _fit_in_memory(folder, hp, s)]
        )
        loaded = {n: load_session(folder, n, kind=hp.kind, stem=hp.output_filename_stem) for n in shown}
        found = {name: results_of.by_half() for name, results_of in loaded.items()}
        decodings = {s.name: decoded_behavior(s, found[s.name], first) for s in sessions if s.name in found}
        decodings = {name: one for name, one in decodings.items() if one is not None}
        sessions = [
            s._replace(**{n: t and t.from_bin(first) for n, t in (("train", s.train), ("valid", s.valid))})
            for s in sessions
        ] if first else sessions  # fmt: skip
        labels = {s.name: recording_labels(s, first) for s in sessions if s.name in found}
        unit = UNITS[hp.recon_reduce]
        written = write_report(folder, sessions, found, log_columns, chosen, unit, verdicts, decodings, labels)
    except Exception:
        # The results are written; a figure that fails must not make the command fail.
        log.exception("The figures could not be drawn; the results are complete. --noreport leaves the figures out.")
    else:
        log.info("Wrote %d files to %s", len(written), folder / "report")
