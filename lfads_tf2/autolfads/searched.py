"""One searched hyperparameter: its range, how it starts and how it moves."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

from lfads_tf2.errors import SettingsError, did_you_mean, one_of
from lfads_tf2.hyperparameters import declared, value_problem
from lfads_tf2.settings.mapping import plain_name
from lfads_tf2.types import Dials

DISTRIBUTIONS = ("loguniform", "uniform", "randint")
KEYS = ("min", "max", "init", "dist", "explore_weight", "enforce_limits", "per_entry")

# Searched under another name than the hyperparameter's own, because the field's ranges are given so.
ALIASES = {"dropout_rate": "keep_prob", "learning_rate": "learning_rate_init", "lr_init": "learning_rate_init"}
# Near a good value these need small steps.
SMALL_STEPS = ("learning_rate_init", "keep_prob", "cd_rate")


def searchable() -> tuple[str, ...]:
    """Hyperparameters that may change while a model trains, and their other names."""
    return (*(name for name in Dials._fields if name in declared()), "learning_rate_init", *ALIASES)


@dataclasses.dataclass(frozen=True)
class Searched:
    """Range and moves of one hyperparameter, under the name it is searched by."""

    name: str
    minimum: float
    maximum: float
    distribution: str = "uniform"
    init: tuple[float, float] | None = None  # drawn between these at the start; None: between minimum and maximum
    explore_weight: float = 0.8  # largest relative change in one move
    enforce_limits: bool = True  # moves stay inside the range; otherwise only inside what the hyperparameter allows
    per_entry: bool = False  # a weight of costs averaged over bins and channels; ours are sums over a trial

    @property
    def target(self) -> str:
        """The hyperparameter that it sets."""
        return ALIASES.get(self.name, self.name)

    def applied(self, value: float) -> float:
        """The hyperparameter's value for a searched value."""
        return 1.0 - value if self.name == "dropout_rate" else value

    def allowed(self, value: float) -> bool:
        """Whether a move may end here."""
        if not math.isfinite(value) or (self.enforce_limits and not self.minimum <= value <= self.maximum):
            return False
        return value_problem(self.target, coerced(self.target, self.applied(value))) is None

    def in_model_units(self, entries: float) -> Searched:
        """The same range, with weights per entry (bin and channel) as weights of sums over a trial."""
        if not self.per_entry:
            return self
        init = None if self.init is None else (self.init[0] * entries, self.init[1] * entries)
        bounds = {"minimum": self.minimum * entries, "maximum": self.maximum * entries}
        return dataclasses.replace(self, init=init, per_entry=False, **bounds)


def coerced(name: str, value: float) -> float | int:
    """A searched value in the hyperparameter's type."""
    return round(value) if type(declared()[name].default) is int else float(value)


def number(value: Any) -> Any:
    """A number that YAML took for text (1e-5) as a number; anything else as it came."""
    if isinstance(value, str):
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return kind(value)
    return value


def nearest(name: Any, names: list[str]) -> str:
    """``; did you mean ...?`` or all names."""
    return did_you_mean(str(name), names) or f"; there are {', '.join(names)}"


def searched_from(section: Any, where: str, skip_undeclared: bool = False) -> tuple[Searched, ...]:
    """All searched hyperparameters of a ``pbt.hps`` section.

    Args:
        section: name -> its settings, as YAML holds them; None: none.
        where: names the source in messages.
        skip_undeclared: leave hyperparameters out that are not searchable.

    Raises:
        SettingsError: everything that is wrong.
    """
    if section is None:
        return ()
    if not isinstance(section, dict):
        raise SettingsError([f"{where}: pbt.hps must map names to ranges, got {section!r:.80}"])
    found, result = [], []
    for given, entry in section.items():
        name, label = plain_name(str(given)), f"{where}: pbt.hps.{given}"
        if name not in searchable():
            if skip_undeclared:
                continue
            fixed = f"{label}: {name} cannot change while a model trains; set it outside pbt, or search one of "
            known = f"{fixed}{', '.join(searchable())}" if name in declared() else None
            found.append(known or f"{label}: unknown hyperparameter{nearest(name, list(searchable()))}")
        elif not isinstance(entry, dict):
            found.append(f"{label} must hold min and max, as {{min: 0.1, max: 1}}, got {entry!r:.80}")
        else:
            wrong, one = _one(name, entry, label)
            found += wrong
            result += [one] if one else []
    targets = [one.target for one in result]
    found += [
        f"{where}: pbt.hps sets {t} under two names; keep one" for t in sorted(set(targets)) if targets.count(t) > 1
    ]
    if found:
        raise SettingsError(found)
    return tuple(result)


def _one(name: str, entry: dict[Any, Any], label: str) -> tuple[list[str], Searched | None]:
    """Problems with one entry, or what it says."""
    found = [f"{label}: unknown key {key!r}{nearest(key, list(KEYS))}" for key in entry if key not in KEYS]
    values = {key: number(entry[key]) for key in ("min", "max") if key in entry}
    found += [f"{label}.{key} is missing; give both min and max" for key in ("min", "max") if key not in values]
    found += [f"{label}.{k} must be a finite number, got {v!r}" for k, v in values.items() if not _finite(v)]
    target = ALIASES.get(name, name)
    weight = number(entry.get("explore_weight", 0.3 if target in SMALL_STEPS else 0.8))
    if not _finite(weight) or not 0 < weight < 1:
        found.append(f"{label}.explore_weight must be greater than 0 and less than 1, got {weight!r}")
    distribution = entry.get("dist", "uniform")
    if distribution not in DISTRIBUTIONS:
        found.append(f"{label}.dist must be {one_of(DISTRIBUTIONS, distribution)}")
    flags = {key: entry.get(key, default) for key, default in (("enforce_limits", True), ("per_entry", False))}
    found += [f"{label}.{k} must be true or false, got {v!r}" for k, v in flags.items() if not isinstance(v, bool)]
    init = entry.get("init")
    if init is not None:
        init = [number(part) for part in init] if isinstance(init, list) else [number(init)] * 2
        if len(init) != 2 or not all(_finite(part) for part in init) or init[0] > init[1]:
            found.append(f"{label}.init must be a number or [low, high], got {entry['init']!r}")
    if found:
        return found, None
    one = Searched(
        name, float(values["min"]), float(values["max"]), distribution,
        None if init is None else tuple(map(float, init)), float(weight), flags["enforce_limits"], flags["per_entry"],
    )  # fmt: skip
    return _range_problems(one, label), one


def _range_problems(one: Searched, label: str) -> list[str]:
    low, high = one.minimum, one.maximum
    if low > high:
        return [f"{label}: min must not be above max, got {low:g} and {high:g}"]
    if one.distribution == "loguniform" and low <= 0:
        return [f"{label}: dist: loguniform needs a min greater than 0, got {low:g}; use uniform for a range from 0"]
    if one.distribution == "randint" and not (low.is_integer() and high.is_integer()):
        return [f"{label}: dist: randint needs whole numbers, got {low:g} and {high:g}"]
    if one.init is not None and one.enforce_limits and not low <= one.init[0] <= one.init[1] <= high:
        shown = " to ".join(f"{part:g}" for part in sorted(set(one.init)))
        return [f"{label}: init must lie between min and max ({low:g} and {high:g}), got {shown}"]
    for value in (low, high, *(one.init or ())):
        problem = value_problem(one.target, coerced(one.target, one.applied(value)))
        if problem:
            return [f"{label}: {value:g} is not possible: {problem.removeprefix('--')}"]
    return []


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
