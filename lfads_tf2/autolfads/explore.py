"""How hyperparameters start and move, and who replaces whom. Plain numbers; all randomness is handed in."""

from __future__ import annotations

import math
from collections.abc import Mapping
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


class Undecided(LookupError):
    """A score on which a decision depends is not known yet."""


def rivals(worker: int, number: int, random: np.random.Generator) -> list[int]:
    """The other models, in the random order in which one meets them."""
    others = [other for other in range(number) if other != worker]
    return [others[place] for place in random.permutation(len(others))]


def tournament(
    worker: int, rivals: list[int], scores: Mapping[int, float], only_broken: bool = False
) -> Replacement | None:
    """Binary tournament: a model meets its first rival, and if it is worse becomes a copy of it.

    Only these two scores are needed, so that a model need not wait for all others. A score that is not finite always
    loses, and never wins: such a model becomes a copy of its first rival that has one, if any.

    Args:
        worker: the model.
        rivals: of it, as ``rivals`` gives them.
        scores: those that are known; lower is better.
        only_broken: no one is replaced but models whose score is not finite.

    Raises:
        Undecided: a score that is needed is not known.
    """

    def score(of: int) -> float:
        if of not in scores:
            raise Undecided(of)
        return scores[of]

    if not math.isfinite(score(worker)):
        source = next((rival for rival in rivals if math.isfinite(score(rival))), None)
        return None if source is None else Replacement(worker, source, "not finite")
    if only_broken or not rivals:
        return None
    # NaN is not below anything; minus infinity is no score either.
    wins = math.isfinite(score(rivals[0])) and scores[rivals[0]] < scores[worker]
    return Replacement(worker, rivals[0], "score") if wins else None


def truncation(
    scores: list[float], fraction: float, random: np.random.Generator, kept: tuple[int, ...] = ()
) -> list[Replacement]:  # fmt: skip
    """Each of the worst ``fraction`` becomes a copy of a random one of the best.

    Args:
        scores: of all models; lower is better.
        fraction: of all.
        random: for who copies whom.
        kept: models that go on whatever their score, as long as it is finite; others may become copies of them.
    """
    order = sorted(range(len(scores)), key=lambda worker: (not math.isfinite(scores[worker]), scores[worker], worker))
    finite = [worker for worker in order if math.isfinite(scores[worker])]
    if not finite:
        return []
    count = min(max(1, round(fraction * len(scores))), max(1, len(finite) // 2))
    best = finite[:count]
    worst = [worker for worker in finite[::-1] if worker not in kept][:count]
    worst = [worker for worker in worst if worker not in best]
    result = []
    for worker in range(len(scores)):
        if not math.isfinite(scores[worker]):
            result.append(Replacement(worker, best[random.integers(count)], "not finite"))
        elif worker in worst and scores[worker] > scores[best[-1]]:
            result.append(Replacement(worker, best[random.integers(count)], "score"))
    return result


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
