"""How hyperparameters start and move, and who replaces whom. Plain numbers; all randomness is handed in."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lfads_tf2.autolfads.searched import Searched

# A relative step from 0 leads nowhere: steps are at least those of a value this far into a linear range.
LEAST_STEP = 0.05
# Draws of one move before it is cut at the limits instead.
MOST_DRAWS = 1000

_TAG = 0x5EA2C4


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Random numbers that depend on the seed, what they are for and the generation, and on no earlier draw."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _TAG, *purpose.encode(), *index])))


def draw(one: Searched, low: float, high: float, random: np.random.Generator) -> float:
    """A value between two limits in the distribution of the hyperparameter."""
    if low == high:
        value = low
    elif one.distribution == "loguniform" and low > 0:
        value = math.exp(random.uniform(math.log(low), math.log(high)))
    elif one.distribution == "randint":
        value = random.integers(int(low), int(high) + 1)
    else:
        value = random.uniform(low, high)
    return float(min(max(value, low), high))


def start(one: Searched, random: np.random.Generator, everywhere: bool = False) -> float:
    """A starting value: between the limits of ``init``, or in the whole range if there are none or ``everywhere``."""
    low, high = (one.minimum, one.maximum) if one.init is None or everywhere else one.init
    return draw(one, low, high, random)


def explore(one: Searched, value: float, random: np.random.Generator) -> float:
    """A new value near a good one: times a random factor in 1 ± explore_weight, drawn again until it is allowed."""
    step = abs(value)
    if one.distribution != "loguniform":
        step = max(step, LEAST_STEP * (one.maximum - one.minimum))
    for _ in range(MOST_DRAWS):
        moved = value + step * random.uniform(-one.explore_weight, one.explore_weight)
        if one.distribution == "randint":
            moved = float(round(moved))
        if one.allowed(moved):
            return float(moved)
    return float(min(max(value, one.minimum), one.maximum))


class Replacement(NamedTuple):
    """One model takes over another's weights, optimiser and hyperparameters."""

    worker: int
    source: int
    reason: str  # "score", or "not finite"


def tournament(scores: list[float], random: np.random.Generator) -> list[Replacement]:
    """Binary tournament: every model meets one random other, and whoever is worse becomes a copy of it.

    ``scores``: lower is better; a score that is not finite always loses, and never wins.
    """
    finite = [worker for worker, score in enumerate(scores) if math.isfinite(score)]
    result = []
    for worker, score in enumerate(scores):
        others = [other for other in finite if other != worker]
        if not others:
            continue
        rival = others[random.integers(len(others))]
        if not math.isfinite(score):
            result.append(Replacement(worker, rival, "not finite"))
        elif scores[rival] < score:
            result.append(Replacement(worker, rival, "score"))
    return result


def truncation(scores: list[float], fraction: float, random: np.random.Generator) -> list[Replacement]:
    """Each of the worst ``fraction`` becomes a copy of a random one of the best; scores as in ``tournament``."""
    order = sorted(range(len(scores)), key=lambda worker: (not math.isfinite(scores[worker]), scores[worker], worker))
    finite = [worker for worker in order if math.isfinite(scores[worker])]
    if not finite:
        return []
    count = min(max(1, round(fraction * len(scores))), max(1, len(finite) // 2))
    best = finite[:count]
    worst = [worker for worker in finite[::-1][:count] if worker not in best]
    result = []
    for worker in range(len(scores)):
        if not math.isfinite(scores[worker]):
            result.append(Replacement(worker, best[random.integers(count)], "not finite"))
        elif worker in worst and scores[worker] > scores[best[-1]]:
            result.append(Replacement(worker, best[random.integers(count)], "score"))
    return result


def only_broken(scores: list[float], random: np.random.Generator) -> list[Replacement]:
    """During burn-in: models whose score is not finite become copies of random others, no one else."""
    return [replaced for replaced in tournament(scores, random) if replaced.reason == "not finite"]


def improved_too_little(best: list[float], patience: int, ratio: float) -> bool:
    """Whether the best score fell by less than ``ratio`` of itself over the last ``patience`` generations.

    ``best``: best score so far after each generation that counts; not finite where there was none yet.
    """
    if patience < 1 or len(best) <= patience:
        return False
    before, now = best[-1 - patience], best[-1]
    if not math.isfinite(before) or not math.isfinite(now):
        return False
    return before - now < ratio * abs(before)
