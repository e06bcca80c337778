"""A search from nothing but the data: it starts from what ``--preset=auto`` chooses, and a budget decides its size.

The first worker trains with exactly these settings to its end, so that no search is below them. The others start near
them, and their learning rates fall along the same half cosine: a constant rate hides behind its noise what a model is
worth, and leaves the best model unfinished. No TensorFlow, no Ray.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, NamedTuple

from lfads_tf2.autolfads.config import Budget, Search, SearchConfig, SearchOptions, checked
from lfads_tf2.autolfads.searched import ALIASES, Searched
from lfads_tf2.data.facts import Facts
from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.settings import auto

# Without a budget all workers together train so many times as long as one model with these settings.
TIMES = 9
MOST_WORKERS = 32
# The share of a search that its best model trains alone, at most as long as before.
POLISH = 0.2
# Generations of a worker, and of these how many before the first replacement: strong dropout and high penalties are
# behind while rates are high, and would be given up before they show what they are worth.
GENERATIONS, BURN_IN = 20, 10
# The share of the workers that is replaced at a time.
REPLACED = 0.15

SECONDS = {"s": 1, "sec": 1, "min": 60, "h": 3600}
BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")


class Around(NamedTuple):
    """A range around a setting: multiples of it, searched in logarithms, or the limits as they are."""

    low: float
    high: float
    start: tuple[float, float]  # between which workers start
    step: float  # largest relative change in one move
    multiples: bool = True

    def searched(self, name: str, value: float) -> Searched:
        """The range of the hyperparameter that is searched by ``name``, whose setting is ``value``."""
        factor = value if self.multiples else 1.0
        low, high, *start = (number * factor for number in (self.low, self.high, *self.start))
        return Searched(name, low, high, "loguniform" if self.multiples else "uniform", tuple(start), self.step)


RANGES = {
    "learning_rate_init": Around(0.25, 2.0, (0.5, 1.5), 0.3),
    "dropout_rate": Around(0.0, 0.6, (0.0, 0.4), 0.3, multiples=False),
    "l2_gen_scale": Around(0.01, 10.0, (0.1, 3.0), 0.5),
    "l2_con_scale": Around(0.01, 10.0, (0.1, 3.0), 0.5),
}
# Judged rightly by held-out spikes only: the cost of spikes that were read calls for a model that copies them.
FOR_COUNTS = {
    "cd_rate": Around(0.0, 0.5, (0.0, 0.3), 0.3, multiples=False),
    "kl_ic_weight": Around(0.1, 10.0, (0.4, 2.5), 0.5),
    "kl_co_weight": Around(0.1, 10.0, (0.4, 2.5), 0.5),
}
OF_THE_CONTROLLER = ("l2_con_scale", "kl_co_weight")
# What decides about a hyperparameter beside itself: given by hand, it is not searched.
GOES_WITH = {"cd_rate": ("cd_pass_rate", "augmentations")}


class Speed(NamedTuple):
    """What training costs here."""

    seconds_an_epoch: float  # of one worker, while others train beside it: time over epochs of all
    seconds_apart: float  # beside the epochs: starting, compiling, writing results
    parallel: int  # workers that train at the same time


def budget_from(text: str) -> Budget:
    """``10min``, ``1.5h``, ``90s`` or ``3000epochs``.

    Raises:
        SettingsError: it is none of these.
    """
    found = BUDGET.fullmatch(text.strip().lower())
    amount, unit = (float(found[1]), found[2]) if found else (0.0, "")
    if amount > 0 and unit in SECONDS:
        return Budget(seconds=amount * SECONDS[unit])
    if amount >= 1 and unit in ("epoch", "epochs") and amount.is_integer():
        return Budget(epochs=int(amount))
    raise SettingsError(
        [f"--budget must be a time (90s, 10min, 2h) or epochs of all workers together (3000epochs), got {text!r}"]
    )


def sizes(own_epochs: int, affordable: float, parallel: int = 1) -> dict[str, int]:
    """Options of a search that takes about so many epochs.

    Args:
        own_epochs: of one training with the settings that the search starts from.
        affordable: epochs of all workers together.
        parallel: workers that train at the same time; while the best trains alone, the other places are idle.
    """
    polish = min(own_epochs, POLISH * affordable / parallel)
    workers = min(max(int((affordable - parallel * polish) / own_epochs), 2), MOST_WORKERS)
    # Neither shorter than the settings say, where that can be afforded, nor longer, unless there are many workers.
    fits = workers < MOST_WORKERS and workers * own_epochs <= affordable
    epochs = max(2, own_epochs if fits else int((affordable - parallel * polish) / workers))
    rest = (affordable - workers * epochs) / parallel
    return {
        "num_workers": workers, "max_epochs": epochs, "polish_epochs": round(min(max(rest, 0.0), epochs)),
    }  # fmt: skip


def affordable(own_epochs: int, seconds: float, speed: Speed) -> tuple[dict[str, int], float]:
    """Options of a search that takes about so long from now on, and the seconds that it is expected to take."""
    # Once more to start and to compile, and half as long for the results.
    apart = 1.5 * speed.seconds_apart
    size = sizes(own_epochs, max(seconds - apart, 0.0) / speed.seconds_an_epoch, speed.parallel)
    epochs = size["num_workers"] * size["max_epochs"] + speed.parallel * size["polish_epochs"]
    return size, apart + epochs * speed.seconds_an_epoch


def own_epochs(facts: Facts, config: SearchConfig) -> int:
    """Epochs of one training with the settings that a search starts from."""
    settled = auto.settled(facts, config.given | {"learning_rate_schedule": "cosine"})
    return config.chosen.get("max_epochs", settled["max_epochs"])


def planned(config: SearchConfig, facts: Facts, size: dict[str, int]) -> tuple[SearchConfig, list[auto.Choice]]:
    """The whole configuration, and what was chosen with its reasons.

    Args:
        config: what was given by hand, which wins.
        facts: of the data.
        size: as ``sizes`` gives it.

    Raises:
        SettingsError: what was given by hand does not go with the rest.
    """
    epochs = config.chosen.get("max_epochs", size["max_epochs"])
    given = config.given | {"max_epochs": epochs}
    choices, settled = auto.choose(facts, given), auto.settled(facts, given)
    generation = max(1, epochs // GENERATIONS)
    options = size | {
        "max_epochs": epochs, "perturbation_interval": generation, "patience": 0, "exploit": "truncation",
        "burn_in_period": min(BURN_IN * generation, epochs - 1), "truncation_fraction": REPLACED,
        "first_worker": "given",
    } | config.chosen  # fmt: skip
    counts = settled.get("output_dist", HyperParameters.output_dist) == "poisson"
    searched = tuple(
        around.searched(name, settled.get(name, getattr(HyperParameters, name, 0.0)))
        for name, around in (RANGES | (FOR_COUNTS if counts else {})).items()
        if _moves(name, config.given, settled)
    )
    if any(one.name == "cd_rate" for one in searched):
        # The entries that the encoders read train the model too: so a rate of 0 is as without.
        settled["cd_pass_rate"] = 1.0
    whole = dataclasses.replace(
        config, given=settled, options=SearchOptions(**options), searched=searched, budget=None
    )  # fmt: skip
    return checked(whole, "--preset=auto"), choices


def _moves(name: str, given: dict[str, Any], settled: dict[str, Any]) -> bool:
    """Whether a hyperparameter is searched: what was given by hand stays, and what the model has no use for."""
    if {ALIASES.get(name, name), *GOES_WITH.get(name, ())} & given.keys():
        return False
    return name not in OF_THE_CONTROLLER or settled.get("co_dim", HyperParameters.co_dim) > 0


def described(
    search: Search, choices: list[auto.Choice], own_epochs: int, seconds: float | None = None
) -> list[str]:  # fmt: skip
    """The plan in a few lines.

    Args:
        search: planned.
        choices: that it starts from.
        own_epochs: of one training with these settings.
        seconds: that the search is expected to take; None: not known.
    """
    options = search.options
    ranges = ", ".join(f"{one.name} {one.minimum:.3g} to {one.maximum:.3g}" for one in search.searched)
    lines = ["The search starts from what --preset=auto chooses:", *(f"  {choice}" for choice in choices)]
    alone = f"; then the best alone, {options.polish_epochs} epochs" if options.polish_epochs else ""
    takes = "" if seconds is None else f" About {seconds / 60:.1f} min."
    lines.append(
        f"Plan: {options.num_workers} workers x {options.max_epochs} epochs, the first with these settings to its end; "
        f"from epoch {options.burn_in_period} on, every {options.perturbation_interval}, the best replace "
        f"the worst{alone}.{takes}"
    )
    lines.append(f"Searched, by {options.metric}: {ranges}.")
    if options.max_epochs < own_epochs:
        lines.append(
            f"The budget is short: a training with these settings takes {own_epochs} epochs. lfads train --preset=auto "
            "uses so little time better; a larger --budget searches."
        )
    return lines
