"""What can be chosen of the synthetic recordings: the declaration behind ``lfads simulate``."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

TASKS = ("chaotic", "integration_to_bound", "labelled")


def _setting(default: Any, help_text: str, **facts: Any) -> Any:
    """One field. ``facts``: minimum, above (exclusive minimum), choices."""
    return dataclasses.field(default=default, metadata={"help": help_text, **facts})


@dataclasses.dataclass(frozen=True)
class LorenzSettings:
    """The run manager's demo data; its numbers are the defaults."""

    sessions: int = _setting(3, "recording sessions, one file each", minimum=1)
    channels_min: int = _setting(25, "fewest channels of a session", minimum=1)
    channels_max: int = _setting(35, "most channels of a session", minimum=1)
    conditions: int = _setting(65, "initial states, shared by the sessions", minimum=1)
    trials_min: int = _setting(20, "fewest trials a condition; one number is drawn a session", minimum=1)
    trials_max: int = _setting(30, "most trials a condition", minimum=1)
    bins: int = _setting(100, "bins a trial", minimum=1)
    bin_ms: int = _setting(10, "bin width in ms; spikes are drawn every ms and summed", minimum=1)
    mean_rate: float = _setting(
        5.0, "rate in spikes/s where the latents are zero; the mean over time is higher", above=0
    )
    train_to_valid: int = _setting(4, "training trials for each validation trial", minimum=1)
    seed: int = _setting(0, "seed of everything random", minimum=0)


@dataclasses.dataclass(frozen=True)
class RnnSettings:
    """Rate network tau dx/dt = -x + gain J tanh(x) + B u after Sussillo and Abbott (2009), one Euler step a bin."""

    task: str = _setting(
        "chaotic",
        "chaotic: one random network; integration_to_bound: a network that integrates noise up to one of two "
        "bounds; labelled: two random networks, and the external input says which",
        choices=TASKS,
    )
    sessions: int = _setting(1, "sessions that record different units of the same network", minimum=1)
    units: int = _setting(50, "units of the network", minimum=1)
    channels: int = _setting(50, "units recorded in a session", minimum=1)
    conditions: int = _setting(400, "initial states (integration_to_bound: input sequences)", minimum=1)
    trials: int = _setting(10, "trials a condition, which share their true rates", minimum=1)
    bins: int = _setting(100, "bins a trial", minimum=1)
    bin_ms: float = _setting(10.0, "bin width in ms", above=0)
    tau_ms: float = _setting(25.0, "time constant of the units in ms", above=0)
    gain: float = _setting(1.5, "strength of the recurrence; chaos above 1", minimum=0)
    initial_sd: float = _setting(1.0, "standard deviation of the units' initial states", minimum=0)
    pulse: float = _setting(
        0.0, "size of an input pulse at a random time of each condition (chaotic, labelled)", minimum=0
    )
    input_sd: float = _setting(
        0.25, "standard deviation of the noise that is integrated (integration_to_bound)", minimum=0
    )
    observations: str = _setting("poisson", "what is recorded", choices=("poisson", "gaussian"))
    max_rate: float = _setting(30.0, "spikes/s of a fully active unit (poisson)", above=0)
    noise_sd: float = _setting(0.3, "noise on tanh(x), which lies within -1 and 1 (gaussian)", minimum=0)
    alignment_factors: int = _setting(0, "write alignment matrices for this many factors; 0: none", minimum=0)
    train_to_valid: int = _setting(4, "training trials for each validation trial", minimum=1)
    seed: int = _setting(5, "seed of everything random", minimum=0)


# The published examples, under their names there.
RNN_PRESETS = {
    "chaotic_rnn_no_inputs": RnnSettings(),
    "chaotic_rnn_no_inputs_gaussian": RnnSettings(observations="gaussian"),
    "chaotic_rnn_inputs_g1p5": RnnSettings(pulse=20.0),
    "chaotic_rnn_inputs_g2p5": RnnSettings(pulse=20.0, gain=2.5),
    "chaotic_rnn_multisession": RnnSettings(
        sessions=5, units=100, channels=20, conditions=150, trials=40, alignment_factors=10
    ),
    "itb_rnn": RnnSettings(task="integration_to_bound", conditions=800, trials=5, initial_sd=0.0),
    "chaotic_rnns_labeled": RnnSettings(task="labelled"),
}


def check(settings: LorenzSettings | RnnSettings) -> None:
    """Raise ValueError that names setting, requirement and value if the settings make no data."""
    values = dataclasses.asdict(settings)
    for field in dataclasses.fields(settings):
        value, facts = values[field.name], field.metadata
        for fact, words, holds in (
            ("minimum", "at least", lambda bound, value: value >= bound),
            ("above", "greater than", lambda bound, value: value > bound),
            ("choices", "one of", lambda bound, value: value in bound),
        ):
            finite = isinstance(value, str) or abs(value) < float("inf")
            if fact in facts and not (holds(facts[fact], value) and finite):
                raise ValueError(f"--{field.name} must be {words} {facts[fact]}, got {value}")
    for name in ("channels", "trials"):
        if f"{name}_min" in values and values[f"{name}_min"] > values[f"{name}_max"]:
            low, high = values[f"{name}_min"], values[f"{name}_max"]
            raise ValueError(f"--{name}_min must be at most --{name}_max, got {low} and {high}")
    if values["conditions"] * values.get("trials", values.get("trials_min")) < 2:
        raise ValueError("one trial a session cannot be split into train and valid: give more --conditions or trials")
    if isinstance(settings, RnnSettings):
        if settings.channels > settings.units:
            raise ValueError(f"--channels must be at most --units ({settings.units}), got {settings.channels}")
        if settings.bin_ms >= settings.tau_ms:
            raise ValueError(
                f"--bin_ms must be less than --tau_ms ({settings.tau_ms}), since each bin is one step of the network, "
                f"got {settings.bin_ms}"
            )
        if settings.task == "integration_to_bound" and settings.units < 20:
            raise ValueError(
                f"--task=integration_to_bound needs --units of at least 20 to be built, got {settings.units}"
            )
        most = settings.channels * settings.sessions
        if settings.alignment_factors > most:
            raise ValueError(
                f"--alignment_factors must be at most all channels ({most}), got {settings.alignment_factors}"
            )


def add_options(parser: argparse.ArgumentParser, kind: type[LorenzSettings] | type[RnnSettings]) -> None:
    """One option a setting; an option that is not given is absent from the parsed arguments."""
    for field in dataclasses.fields(kind):
        parser.add_argument(
            f"--{field.name}",
            type=type(field.default),
            choices=field.metadata.get("choices"),
            metavar=None if "choices" in field.metadata else type(field.default).__name__,
            default=argparse.SUPPRESS,
            help=f"{field.metadata['help']} (default {field.default})",
        )


def chosen(arguments: argparse.Namespace, base: LorenzSettings | RnnSettings) -> LorenzSettings | RnnSettings:
    """``base`` with the options that were given, checked. Raises ValueError as :func:`check`."""
    names = {field.name for field in dataclasses.fields(base)}
    settings = dataclasses.replace(base, **{k: v for k, v in vars(arguments).items() if k in names})
    check(settings)
    return settings
