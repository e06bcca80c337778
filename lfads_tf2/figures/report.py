"""The pictures and numbers to look at first after training and inference, as PNG files and one HTML page."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lfads_tf2.figures import trials as plots
from lfads_tf2.figures.behavior import behavior_figure, behavior_table
from lfads_tf2.figures.labels import SessionLabels
from lfads_tf2.files import write_text
from lfads_tf2.metrics import rates as metrics
from lfads_tf2.metrics.decoding import Decoding
from lfads_tf2.metrics.verdict import Verdict
from lfads_tf2.types import Session

EXPLAINED = {
    "fit": "Costs of each epoch. The costs fall and level out; jumps while the weights of the KL and L2 costs still "
    "rise are normal. A validation cost that turns upwards while the training cost falls is over-fitting: more dropout "
    "(a lower keep_prob), more L2, a larger KL weight or a smaller model. Both high and flat is under-fitting. "
    "Last the schedules: total costs are comparable once both weights are 1, and the learning rate falls towards the "
    "end. The dashed line marks the checkpoint in use.",
    "trials": "Spikes as recorded beside the rates that the model infers from them, for three trials. The rates should "
    "keep what the spikes show, without their noise.",
    "traces": "The four channels whose inferred rates change most, in three trials: spikes as ticks below (longer "
    "where a bin holds several) and the inferred rate. A rate that jumps at single spikes is over-fitted; one that "
    "hardly moves is under-fitted.",
    "psth": "Averages over the trials of a condition: thin lines are the smoothed recording, thick lines the mean of "
    "the inferred rates. They should agree within the recording's noise. Right: all conditions, channels and bins; a "
    "good model lies along the dashed line.",
    "behavior": "Behaviour of validation trials, read by a linear decoder from the inferred rates and from the "
    "smoothed recording. Rates that are better than smoothing follow the recorded behaviour more closely.",
    "factors": "The few shared signals from which all rates are made. Top: all factors in three trials; middle: their "
    "main directions of change, averaged by condition; bottom: trajectories. Trials of one condition should stay "
    "together, and conditions that differ in behaviour should separate.",
    "inputs": "What the generator needed besides its own dynamics. Structure that is locked to an event in all trials "
    "suggests a real input there; flat lines mean that the dynamics alone explain the spikes. The sign and scale of an "
    "input are arbitrary.",
    "initial_conditions": "Where each trial's dynamics start. Clusters by condition mean that the conditions differ "
    "from the start; validation trials (triangles) should lie among the training trials (dots).",
    "truth": "Synthetic data only: inferred against true rates. A good model lies along the dashed line.",
}


# A session's figures take seconds; with dozens of sessions the first ones tell enough.
MOST_SESSIONS = 10


def write_report(
    save_dir: Path,
    sessions: list[Session],
    results: dict[str, dict[str, dict[str, np.ndarray]]],
    fit_log: dict[str, np.ndarray] | None = None,
    chosen_step: int | None = None,
    unit: str = "nats a trial",
    verdicts: Mapping[str, Verdict] | None = None,
    decodings: Mapping[str, Decoding] | None = None,
    labels: Mapping[str, SessionLabels] | None = None,
) -> list[Path]:
    """Draw every figure that the results allow into ``save_dir``/report, with a page that explains them.

    Args:
        save_dir: the run's folder; created if need be.
        sessions: the data; figures are drawn of the first MOST_SESSIONS.
        results: ``results[session name][half]``, half ``train`` or ``valid``, maps the keys of a model_runs file to
            trial-major arrays; the trials are the half's first ones. Missing sessions, halves and keys are left out.
            ``controller_outputs_sd`` (trials x bins x inputs), where given, is drawn as the inferred inputs' spread.
        fit_log: columns of an epoch each, see ``figures.fit.fit_columns``. None or no rows: no fit curves.
        chosen_step: training step of the checkpoint that made the results.
        unit: of the fit log's total and reconstruction costs.
        verdicts, decodings, labels: by session name.

    Returns:
        The files written; the page ``index.html`` is the last.

    Raises:
        ValueError: a result's shape cannot belong to its session.
        OSError: a file cannot be written.
    """
    folder = Path(save_dir) / "report"
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    page: list[str] = []

    def add(kind: str, name: str, figure: Figure) -> None:
        path = folder / f"{name}.png"
        plots.save(figure, path)
        written.append(path)
        # Inside the page, so that it can be mailed.
        picture = base64.b64encode(path.read_bytes()).decode()
        image = f'<img src="data:image/png;base64,{picture}" alt="{kind}">'
        page.append(f"<p>{html.escape(EXPLAINED[kind])}</p>\n<p>{image}</p>")

    decodings = decodings or {}
    for said in (verdicts or {}), decodings:
        for name, sentence in said.items():
            page.append(f"<p><strong>{html.escape(name)}</strong> {html.escape(str(sentence))}</p>")
    if fit_log is not None and len(fit_log.get("step", ())):
        page.append("<h2>Fit</h2>")
        add("fit", "fit", plots.fit_figure(fit_log, chosen_step, unit))
    taken: set[str] = set()
    if len(sessions) > MOST_SESSIONS:
        page.append(f"<p>Figures of the first {MOST_SESSIONS} of {len(sessions)} sessions.</p>")
    for session in sessions[:MOST_SESSIONS]:
        own_labels = (labels or {}).get(session.name, SessionLabels())
        halves = _shown_halves(session, results.get(session.name, {}), own_labels)
        if halves:
            stem = _file_stem(session.name, taken)
            page.append(f"<h2>Session {html.escape(session.name)}</h2>\n{_numbers(halves)}")
            page += [f"<p>{own_labels}</p>"] if str(own_labels) else []
            decoding = decodings.get(session.name)
            if decoding is not None:
                page.append(behavior_table(decoding, plots.Scale(session.bin_width_ms)))
            for kind, figure in _session_figures(session, halves, decoding).items():
                add(kind, f"{stem}_{kind}", figure)
    write_text(folder / "index.html", _page(page))
    return [*written, folder / "index.html"]


class _Half:
    """One half's data and results, cut to the trials, bins and channels that both have."""

    def __init__(self, session: Session, half: str, result: dict[str, np.ndarray], labels: SessionLabels):
        trials = getattr(session, half)
        given = np.asarray(result["output_dist_params"])
        if given.ndim != 3 or len(given) > len(trials.data):
            raise ValueError(
                f"output_dist_params of session {session.name}, {half} must be trials x bins x channels with at most "
                f"{len(trials.data)} trials (those of the data), got shape {given.shape}"
            )
        gaussian = trials.data.dtype.kind == "f" and given.shape[2] > trials.target.shape[2]
        self.scale = plots.Scale(session.bin_width_ms, gaussian, labels.event, labels.start_ms)
        self.names = labels.names(half)
        rates = given[:, :, : trials.target.shape[2]] if gaussian else given
        # What is left out at the end of either is not shown.
        self.count, bins, channels = np.minimum(rates.shape, trials.target.shape)
        part = np.s_[: self.count, :bins, :channels]
        self.rates, self.data = rates[part], np.asarray(trials.target)[part]
        self.truth = None if trials.truth is None else np.asarray(trials.truth)[part]
        self.conditions = None if trials.conditions is None else np.asarray(trials.conditions)[: self.count]
        self.result = result

    def get(self, key: str) -> np.ndarray | None:
        """A result that has entries, or None."""
        value = self.result.get(key)
        return None if value is None or np.size(value) == 0 else np.asarray(value)


def _shown_halves(
    session: Session, results: dict[str, dict[str, np.ndarray]], labels: SessionLabels
) -> dict[str, _Half]:  # fmt: skip
    halves = {}
    for name, trials in (("train", session.train), ("valid", session.valid)):
        result = results.get(name)
        if trials is not None and result and np.size(result.get("output_dist_params", ())):
            halves[name] = _Half(session, name, result, labels)
    return halves


def _session_figures(session: Session, halves: dict[str, _Half], decoding: Decoding | None) -> dict[str, Figure]:
    """Figures by kind. Validation trials are shown where there are any: the model was not fitted to them."""
    name = "valid" if "valid" in halves else "train"
    half = halves[name]
    figures = {
        "trials": plots.trials_figure(half.data, half.rates, half.scale, half.truth, half.names),
        "traces": plots.traces_figure(half.data, half.rates, half.scale, half.truth, half.names),
    }
    if half.conditions is not None:
        figures["psth"] = plots.psth_figure(half.data, half.rates, half.conditions, half.scale, half.names)
    if decoding is not None:
        figures["behavior"] = behavior_figure(decoding, half.scale, half.names)
    factors, inputs = half.get("factors"), half.get("controller_outputs")
    if factors is not None:
        figures["factors"] = plots.factors_figure(factors, half.scale, half.conditions, half.names)
    if inputs is not None:
        sd = half.get("controller_outputs_sd")
        figures["inputs"] = plots.inputs_figure(inputs, half.scale, half.conditions, sd, half.names)
    if half.truth is not None:
        figures["truth"] = plots.truth_figure(half.rates, half.truth, half.scale)
    for figure in figures.values():
        figure.suptitle(f"{figure.get_suptitle()} ({session.name}, {name} trials)", fontsize=13)
    for key, words in (("post_g0_mean", "posterior mean of the code"), ("gen_ics", "generator's initial state")):
        starts = {n: (h.get(key), h.conditions) for n, h in halves.items() if h.get(key) is not None}
        if starts:
            figure = plots.initial_conditions_figure(starts, f"{words}, {session.name}")
            return figures | {"initial_conditions": figure}
    return figures


def _numbers(halves: dict[str, _Half]) -> str:
    """A table of how good the rates are, one row a half."""
    rows = ["<tr><th></th><th>trials</th><th>bits/spike of the spikes it read</th><th>R² of true rates</th></tr>"]
    for name, half in halves.items():
        bits = float("nan")
        if not half.scale.gaussian and np.all(half.rates >= 0):
            bits = metrics.bits_per_spike(half.rates, half.data)
        r2 = float("nan") if half.truth is None else metrics.r2_truth(half.rates, half.truth)
        cells = [str(half.count), *("–" if np.isnan(value) else f"{value:.3f}" for value in (bits, r2))]
        rows.append(f"<tr><th>{name}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return (
        "<table>" + "\n".join(rows) + "</table>\n<p>Bits/spike of the spikes it read: how much better than "
        "constant rates the inferred rates explain the same spikes they were inferred from. A model that copies spikes "
        "scores highest here; the verdict goes by spikes that were masked from it.</p>"
    )


def _file_stem(name: str, taken: set[str]) -> str:
    """The session's name with only letters, digits, dot, dash and underscore, told apart from those taken."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name.removesuffix(".h5")).strip("._") or "session"
    stem, number = safe, 2
    while stem.lower() in taken:  # some file systems do not tell cases apart
        stem, number = f"{safe}_{number}", number + 1
    taken.add(stem.lower())
    return stem


def _page(parts: list[str]) -> str:
    body = "\n".join(parts) or "<p>There is nothing to show yet.</p>"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>LFADS report</title>\n'
        "<style>body { font-family: sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; line-height: 1.5 }"
        " img { max-width: 100% } td, th { padding: 0 1em; text-align: right }</style></head>\n"
        f"<body><h1>LFADS report</h1>\n{body}\n</body></html>\n"
    )
