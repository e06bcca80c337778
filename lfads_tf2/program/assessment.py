"""How good a session's inferred rates are: against the truth where it is known, and against spikes that were masked."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from lfads_tf2.inference import Inference
from lfads_tf2.metrics import baselines, held_out
from lfads_tf2.metrics import rates as metrics
from lfads_tf2.metrics.verdict import Fit, Verdict, judge
from lfads_tf2.types import Session, Trials

log = logging.getLogger("lfads_tf2")


def against_truth(session: Session, half: str, trials: Trials, inferred: dict[str, np.ndarray]) -> dict[str, float]:
    """How well the inferred rates match the truth, printed and stored where the truth is known.

    Args:
        trials: of the half, from the decoder's first bin on.
        inferred: their results.
    """
    if trials.truth is None:
        return {}
    rates = inferred["output_dist_params"][..., : trials.truth.shape[2]]
    values = {
        "r2_truth": metrics.r2_truth(rates, trials.truth),
        "r2_truth_channel_mean": metrics.r2_per_channel_mean(rates, trials.truth),
        "correlation_truth": metrics.mean_channel_correlation(rates, trials.truth),
    }
    log.info("%s %s: R² of inferred against true rates %.4f", session.name, half, values["r2_truth"])
    return values


def against_masked_spikes(
    run: Inference, index: int, session: Session, trials: Trials, inferred: dict[str, np.ndarray], fit: Fit
) -> tuple[dict[str, Any], Verdict]:
    """Scores of spike counts for a result file, and the verdict.

    Args:
        run: of the model.
        index: of the session in the model.
        trials: validation trials of the session.
        inferred: their results.
        fit: how training went.
    """
    first = run.model.first_bin
    spikes = np.asarray(trials.target[:, first:])
    rates = run.held_out_rates(index, trials, held_out.channel_means(session.train.data))
    gains, means = held_out.Gains(), held_out.channel_means(spikes)
    gains.add(rates, spikes, means)
    read = metrics.bits_per_spike(inferred["output_dist_params"], spikes)
    smoothing = baselines.best_smoothing(spikes)
    simple = {f"best smoothing ({smoothing.width:g} bins)": smoothing.gains}
    simple["the same with larger swings"] = held_out.Gains()
    simple["the same with larger swings"].add(baselines.sharpened(rates, means), spikes, means)
    if trials.conditions is not None and session.train.conditions is not None:
        averages = held_out.Gains()
        width = max(smoothing.width / 2, baselines.WIDTHS[0])
        train = np.asarray(session.train.target[:, first:])
        averages.add(
            baselines.condition_averages(train, session.train.conditions, trials.conditions, width), spikes, means
        )
        simple["condition averages"] = averages
    ceiling = None if trials.truth is None else held_out.score(trials.truth[:, first:], spikes)
    verdict, score = judge(read, gains, simple, fit, ceiling), gains.score()
    attributes = {"bps_read": read, "held_out_bps": score.bits, "held_out_bps_error": score.error}
    attributes |= {"verdict": verdict.kind} | ({} if ceiling is None else {"held_out_bps_ceiling": ceiling.bits})
    log.info("%s: %s", session.name, verdict)
    return attributes, verdict
