"""How good a session's inferred rates are: against the truth where it is known, and against spikes that were masked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from lfads_tf2.data.storage import any_entry
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.inference import Inference
from lfads_tf2.metrics import baselines
from lfads_tf2.metrics import rates as metrics
from lfads_tf2.metrics.held_out import Gains, channel_means, parts
from lfads_tf2.metrics.held_out import score as score_of
from lfads_tf2.metrics.verdict import Fit, Verdict, judge
from lfads_tf2.types import Session, Trials

log = logging.getLogger("lfads_tf2")


def is_scored(trials: Trials, half: str, hp: HyperParameters) -> bool:
    """Whether the rates of these trials are scored against masked spikes."""
    return half == "valid" and hp.output_dist == "poisson" and any_entry(trials.data)


def against_truth(session: Session, half: str, trials: Trials, rates: np.ndarray) -> dict[str, float]:
    """How well the inferred rates match the truth, printed and to be stored.

    Args:
        trials: of the half, from the decoder's first bin on, with their true rates.
        rates: inferred.
    """
    rates = rates[..., : trials.truth.shape[2]]
    values = {
        "r2_truth": metrics.r2_truth(rates, trials.truth),
        "r2_truth_channel_mean": metrics.r2_per_channel_mean(rates, trials.truth),
        "correlation_truth": metrics.mean_channel_correlation(rates, trials.truth),
    }
    log.info("%s %s: R² of inferred against true rates %.4f", session.name, half, values["r2_truth"])
    return values


def against_masked_spikes(
    run: Inference, index: int, session: Session, trials: Trials, inferred: np.ndarray, fit: Fit
) -> tuple[dict[str, Any], Verdict]:
    """Scores of spike counts for a result file, and the verdict.

    Args:
        run: of the model.
        index: of the session in the model.
        trials: validation trials of the session.
        inferred: their rates.
        fit: how training went.
    """
    first = run.model.first_bin
    spikes = np.asarray(trials.target[:, first:])
    rates, means = run.held_out_rates(index, trials, channel_means(session.train.observed)), channel_means(spikes)

    def gains_of(rates_of: Callable[[slice], np.ndarray]) -> Gains:
        sums = Gains()
        for part in parts(spikes):
            sums.add(rates_of(part), spikes[part], means)
        return sums

    encoded = np.s_[:, : trials.data.shape[1] - first, : trials.data.shape[2]]
    gains, read = gains_of(lambda part: rates[part]), score_of(inferred[encoded], spikes[encoded]).bits
    smoothing = baselines.best_smoothing(spikes)
    simple = {f"best smoothing ({smoothing.width:g} bins)": smoothing.gains}
    sharper = gains_of(lambda part: baselines.sharpened(rates[part], means))
    if trials.conditions is not None and session.train.conditions is not None:
        width = max(smoothing.width / 2, baselines.WIDTHS[0])
        train, (which, own) = session.train, np.unique(trials.conditions, return_inverse=True)
        averages = baselines.condition_averages(np.asarray(train.target[:, first:]), train.conditions, which, width)
        simple["condition averages"] = gains_of(lambda part: averages[own[part]])
    ceiling = None if trials.truth is None else score_of(trials.truth[:, first:], spikes)
    verdict, score = judge(read, gains, sharper, simple, fit, ceiling), gains.score()
    attributes = {"bps_read": read, "held_out_bps": score.bits, "held_out_bps_error": score.error}
    attributes |= {"verdict": verdict.kind} | ({} if ceiling is None else {"held_out_bps_ceiling": ceiling.bits})
    log.info("%s: %s", session.name, verdict)
    return attributes, verdict
