"""What a search is told: the ``pbt`` section of the configuration, checked, and brought together with the data.

Nothing here imports TensorFlow or Ray, so that a mistake is refused before either loads.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

from lfads_tf2.autolfads.searched import Searched, coerced, searched_from
from lfads_tf2.errors import SettingsError, one_of
from lfads_tf2.hyperparameters import HyperParameters, broken_bound, declared, problems
from lfads_tf2.settings.mapping import from_mapping
from lfads_tf2.training.scalars import HELD_OUT, SMOOTHED
from lfads_tf2.training.schedules import half_cosine

EXPLOITS, SEARCHES = ("tournament", "truncation"), ("pbt", "random")
FIRST = ("searched", "given")
METRICS = ("auto", HELD_OUT, SMOOTHED, "valid/recon", "valid/loss")
# The learning rate at which the best model of a search starts its last training, as a share of its own.
LAST_RATE = 0.5


def _option(default: Any, help_text: str, **facts: Any) -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text, **facts})


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """All options of the ``pbt`` section but the searched hyperparameters, each once."""

    # fmt: off
    num_workers: int = _option(20, "models that train side by side", minimum=1)
    perturbation_interval: int = _option(25, "epochs a generation; after each, good models replace bad ones", minimum=1)
    burn_in_period: int = _option(105, "epochs before the first replacement: the ramps and a generation", minimum=0)
    ramp_epochs: int = _option(80, "epochs over which KL and L2 costs rise, if their steps are not given", minimum=0)
    max_epochs: int = _option(1000, "every worker trains for so many epochs at most", minimum=1)
    patience: int = _option(4, "generations over which the best score must improve; 0: no such rule", minimum=0)
    min_improvement_ratio: float = _option(5e-4, "least improvement over them, part of the score", minimum=0, below=1)
    polish_epochs: int = _option(0, "epochs that the best model then trains alone, at a rate that falls", minimum=0)
    first_worker: str = _option("searched", "given: it keeps the hyperparameters outside pbt to its end", choices=FIRST)
    metric: str = _option("auto", "score of a model; auto: held-out bits/spike of spike counts", choices=METRICS)
    smoothing: float = _option(0.7, "part of the old value in the running mean of valid/recon_smth", minimum=0, below=1)
    search: str = _option("pbt", "population-based training, or random search with the same epochs", choices=SEARCHES)
    exploit: str = _option("tournament", "each model against a random other, or worst against best", choices=EXPLOITS)
    truncation_fraction: float = _option(0.25, "part of the models that truncation replaces", above=0, maximum=0.5)
    max_failures: int = _option(3, "deaths of a worker in one generation that are made good", minimum=0)
    cpu: float = _option(1.0, "CPU cores of a worker (resources_per_worker)", above=0)
    gpu: float = _option(0.0, "part of a GPU of a worker (resources_per_worker)", minimum=0)
    # fmt: on


def options() -> dict[str, dataclasses.Field]:
    """Every option by name."""
    return {field.name: field for field in dataclasses.fields(SearchOptions)}


def option_problem(name: str, value: Any) -> str | None:
    """What is wrong with an option's value, in one sentence, or None."""
    field, label = options()[name], f"pbt.{name}"
    if name in ("cpu", "gpu"):
        label = f"pbt.resources_per_worker.{name}"
    facts, kind = field.metadata, type(field.default)
    words = {int: "a whole number", float: "a number", str: "text"}[kind]
    numeric = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not (isinstance(value, str) if kind is str else numeric and (kind is float or float(value).is_integer())):
        return f"{label} must be {words}, got {value!r}"
    if "choices" in facts and value not in facts["choices"]:
        return f"{label} must be {one_of(facts['choices'], value)}"
    broken = broken_bound(facts, value)
    return None if broken is None else f"{label} must be {broken}, got {value!r}"


class Budget(NamedTuple):
    """How much a search may train: one of both, or neither."""

    seconds: float | None = None  # from its start to its end
    epochs: int | None = None  # of all workers together


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """A whole configuration, before the data are known."""

    given: dict[str, Any]  # hyperparameters that do not move, by name
    options: SearchOptions
    searched: tuple[Searched, ...]
    per_entry: tuple[str, ...] = ()  # those of ``given`` that are weights of costs averaged over bins and channels
    expected: tuple[tuple[str, str, int], ...] = ()  # (key, what, value) that the data must match
    notes: tuple[str, ...] = ()  # to be said once
    # Of a search that is planned once the data are known: what decides its size, and options that were given by hand.
    budget: Budget | None = None
    chosen: dict[str, Any] = dataclasses.field(default_factory=dict)


def config_from(content: dict[Any, Any], where: str, skip_undeclared: bool = False) -> SearchConfig:
    """A checked configuration.

    Args:
        content: hyperparameters by name and the section ``pbt``, as YAML holds them.
        where: names the source in messages.
        skip_undeclared: leave searched hyperparameters out that this version does not have (of the presets).

    Raises:
        SettingsError: everything that is wrong.
    """
    content = dict(content)
    section, found, given = content.pop("pbt", {}), [], {}
    try:
        given = from_mapping(content, where)
    except SettingsError as error:
        found += error.problems
    section = {} if section is None else section
    if not isinstance(section, dict):
        raise SettingsError([*found, f"{where}: pbt must hold lines of the form name: value, got {section!r:.80}"])
    chosen, searched = {}, ()
    try:
        chosen = _options_of(dict(section), where)
    except SettingsError as error:
        found += error.problems
    try:
        searched = searched_from(section.get("hps"), where, skip_undeclared)
    except SettingsError as error:
        found += error.problems
    if "max_epochs" in given:
        chosen.setdefault("max_epochs", given["max_epochs"])
    if found:
        raise SettingsError(found)
    return checked(SearchConfig(given, SearchOptions(**chosen), searched), where)


def checked(config: SearchConfig, where: str) -> SearchConfig:
    """The same configuration if its parts fit together.

    Raises:
        SettingsError: they do not.
    """
    chosen, found = config.options, []
    if chosen.max_epochs < 1:
        found.append(f"{where}: max_epochs must be at least 1 for a search, got {chosen.max_epochs}")
    if chosen.search == "pbt" and chosen.num_workers < 2:
        found.append(f"{where}: pbt.num_workers must be at least 2 for pbt.search: pbt, got {chosen.num_workers}")
    if chosen.search == "pbt" and chosen.burn_in_period >= chosen.max_epochs:
        found.append(
            f"{where}: pbt.burn_in_period ({chosen.burn_in_period}) must be less than max_epochs "
            f"({chosen.max_epochs}), or no model would ever replace another; shorten it, or use pbt.search: random"
        )
    if not config.searched:
        found.append(f"{where}: pbt.hps names no hyperparameter to search; give at least one, or use --preset=small")
    if found:
        raise SettingsError(found)
    return config


def _options_of(section: dict[Any, Any], where: str) -> dict[str, Any]:
    from lfads_tf2.autolfads.searched import nearest, number

    section.pop("hps", None)
    found = []
    resources = section.pop("resources_per_worker", None) or {}
    if not isinstance(resources, dict) or set(resources) - {"cpu", "gpu"}:
        found.append(f"{where}: pbt.resources_per_worker takes cpu and gpu, as {{cpu: 1, gpu: 0.5}}, got {resources!r}")
        resources = {}
    chosen = {}
    for name, value in (section | resources).items():
        if name not in options():
            found.append(
                f"{where}: unknown name 'pbt.{name}'{nearest(name, [*options(), 'hps', 'resources_per_worker'])}"
            )
            continue
        if value is None:
            continue
        kind = type(options()[name].default)
        value = number(value) if kind is not str else value
        problem = option_problem(name, value)
        if problem:
            found.append(f"{where}: {problem}")
        else:
            chosen[name] = kind(value)
    if found:
        raise SettingsError(found)
    return chosen


@dataclasses.dataclass(frozen=True)
class Search:
    """A configuration together with the data: what the population works with."""

    hyperparameters: HyperParameters  # of every worker; the searched ones at one value of their range
    options: SearchOptions
    searched: tuple[Searched, ...]  # ranges in the model's units
    first: dict[str, float] | None = None  # searched values of a first worker that keeps them; None: there is none

    def hyperparameters_of(self, values: dict[str, float]) -> dict[str, float]:
        """A worker's searched values, as values of hyperparameters."""
        return {one.target: coerced(one.target, one.applied(values[one.name])) for one in self.searched}

    def is_polish(self, epoch: int) -> bool:
        """Whether this is one of the epochs after the search, which its best model trains alone."""
        return self.options.polish_epochs > 0 and epoch >= self.options.max_epochs

    def rate_left(self, epoch: int) -> float:
        """The learning rate of an epoch, as a share of the worker's own.

        With ``learning_rate_schedule: cosine`` it falls along half a cosine to 0 at max_epochs; in any case it does so
        once more in the epochs after these, which the best model trains alone.
        """
        falls, options = self.hyperparameters.learning_rate_schedule == "cosine", self.options
        if self.is_polish(epoch):
            top = LAST_RATE if falls else 1.0
            return top * half_cosine(epoch - options.max_epochs, options.polish_epochs)
        return half_cosine(epoch, options.max_epochs) if falls else 1.0


def with_data(
    config: SearchConfig, num_bins: int, num_channels: float, batches_an_epoch: int, encoded: tuple | None = None
) -> Search:
    """Brings ranges into the model's units and turns epochs into steps.

    Args:
        config: checked.
        num_bins, num_channels: of a trial; channels averaged over sessions. Their product is the factor between
            weights of costs that are averaged over entries (the ranges of the field) and of those summed over a trial.
        batches_an_epoch: training steps in an epoch.
        encoded: bins and channels that the encoders read; None: all.

    Raises:
        SettingsError: the data are not those that the configuration was written for, or values contradict each other.
    """
    known = {"bins": num_bins, "channels": num_channels}
    known |= dict(zip(("encoded bins", "encoded channels"), encoded or (num_bins, num_channels), strict=True))
    found = [
        f"{key} is {value}, but the data have {known[what]:g} {what}; correct {key}, or leave it out"
        for key, what, value in config.expected
        if value != known[what]
    ]
    # Costs that are averaged already need no factor.
    entries = 1.0 if config.given.get("recon_reduce") == "mean" else num_bins * num_channels
    values = {n: v * entries if n in config.per_entry else v for n, v in config.given.items()}
    for cost in ("kl", "l2"):
        if f"{cost}_increase_steps" not in values and not values.get(f"{cost}_increase_epochs"):
            values[f"{cost}_increase_steps"] = config.options.ramp_epochs * batches_an_epoch
    searched, first = tuple(one.in_model_units(entries) for one in config.searched), None
    if config.options.first_worker == "given":
        start = {one.target: values.get(one.target, declared()[one.target].default) for one in searched}
        first = {one.name: float(one.applied(start[one.target])) for one in searched}
    for one in searched:
        # Some value of its range: settings that go together (an augmentation and its rate) are checked with it.
        values[one.target] = coerced(one.target, one.applied(one.maximum if one.init is None else one.init[1]))
    # The rate of each worker is what the search says; nothing else lowers it.
    rates = [s.minimum for s in config.searched if s.target == "learning_rate_init"]
    start = values.get("learning_rate_init", declared()["learning_rate_init"].default)
    values["learning_rate_stop"] = min([*rates, start, 1e-5]) / 2
    # A rate that falls needs to know how far.
    end = config.options.max_epochs if values.get("learning_rate_schedule") == "cosine" else 0
    hyperparameters = HyperParameters(**(values | {"max_epochs": end, "kind": "train", "num_gpus": 1}))
    found += problems(hyperparameters)
    options, counts = config.options, hyperparameters.output_dist == "poisson"
    if options.metric == HELD_OUT and not counts:
        found.append(
            f"pbt.metric: {HELD_OUT} needs spike counts (output_dist: poisson), got output_dist: "
            f"{hyperparameters.output_dist}; use {SMOOTHED}"
        )
    if found:
        raise SettingsError(found)
    if options.metric == "auto":
        options = dataclasses.replace(options, metric=HELD_OUT if counts else SMOOTHED)
    return Search(hyperparameters, options, searched, first)
