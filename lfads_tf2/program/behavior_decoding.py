"""What inferred rates say of a session's behaviour, where its file keeps any."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from lfads_tf2.errors import LFADSError
from lfads_tf2.metrics.decoding import Decoding, Half, decode
from lfads_tf2.session_results.behavior import Behavior, read_behavior
from lfads_tf2.session_results.errors import ResultsError
from lfads_tf2.types import Session

log = logging.getLogger("lfads_tf2")


def decoded_behavior(
    session: Session, results: dict[str, dict[str, np.ndarray]], first_bin: int = 0
) -> Decoding | None:  # fmt: skip
    """Behaviour of a session's validation trials from their inferred rates, which is said in a line.

    Args:
        session: as read, with all bins.
        results: of each half, arrays as the result files have them, the half's first trials.
        first_bin: bin of the data where the results start.

    Returns:
        None: there is no behaviour, or none that could be decoded; a line says why where there is some.
    """
    try:
        behavior = read_behavior(Path(session.path)) if session.path else None
        if behavior is None:
            return None
        found = decode(*_halves(session, results, behavior, first_bin), first_bin, behavior.names)
        if found is None:
            raise ResultsError("too little of it is known, or it never changes")
    except (LFADSError, OSError, ValueError, RuntimeError) as error:
        # Rates are complete without it.
        log.info("%s: its behaviour is not decoded: %s", session.name, error)
        return None
    log.info("%s: %s", session.name, found)
    return found


def _halves(session: Session, results: dict, behavior: Behavior, first_bin: int) -> list[Half]:
    halves = []
    for half in ("train", "valid"):
        trials, result = getattr(session, half), results.get(half, {})
        if trials is None or half not in behavior.halves or not np.size(result.get("output_dist_params", ())):
            raise ResultsError("it takes training and validation trials, both with behaviour and rates")
        values, possible = behavior.halves[half], {trials.data.shape[1], trials.target.shape[1]}
        if len(values) != len(trials.data) or values.shape[1] not in possible:
            bins = " or ".join(map(str, sorted(possible)))
            raise ResultsError(
                f"{half}_behavior must have {len(trials.data)} trials and {bins} bins, as the data, got {len(values)} "
                f"and {values.shape[1]}; store one value a bin"
            )
        rates = result["output_dist_params"][..., : trials.target.shape[2]]
        halves.append(Half(rates, trials.observed[: len(rates)], values[: len(rates), first_bin:]))
    return halves
