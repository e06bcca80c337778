"""The sizes of a model: from the data, and from the run folder where there is a model to fit."""

from __future__ import annotations

import dataclasses

from lfads_tf2.data import resolve
from lfads_tf2.errors import LFADSError
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.settings import plugins
from lfads_tf2.settings.combination import Remembered
from lfads_tf2.types import ModelSpec, Session, SessionShape


class RunError(LFADSError, RuntimeError):
    """A command that cannot be carried out; the message says why and what to do."""


def model_spec(
    hp: HyperParameters, sessions: list[Session], memory: Remembered | None, subset_allowed: bool
) -> ModelSpec:
    """The model's sizes; those of the run folder where it has a model, against which the data are checked.

    ``subset_allowed``: inference may run on some of the model's sessions, and on trials of another length.
    """
    plugins.check(hp)
    spec = resolve(hp, sessions)
    if memory is None or not memory.sessions:
        return spec
    data = {shape.name: shape.num_channels for shape in spec.sessions}
    encoded = {shape.name: shape.encoded_channels for shape in spec.sessions}
    if len(memory.sessions) == len(data) == 1 and [*memory.sessions.values()] == [*data.values()]:
        # One session without partners may be called anything.
        aligned = {name: any(memory.aligned.values()) for name in data} if memory.aligned else {}
        known = dict(zip(data, memory.encoded.values(), strict=True))
        memory = dataclasses.replace(memory, sessions=data, aligned=aligned, encoded=known)
    wrong = [
        f"session {name}: the encoders read {channels} channels in the data and {memory.encoded[name]} in the model"
        for name, channels in encoded.items()
        if memory.encoded.get(name, channels) != channels
    ]
    wrong += [
        f"session {name} has {channels} channels, the model "
        + (f"has {memory.sessions[name]}" if name in memory.sessions else "does not know it")
        for name, channels in data.items()
        if memory.sessions.get(name) != channels
    ]
    if not subset_allowed:
        wrong += [f"session {name} of the model is not in the data" for name in memory.sessions if name not in data]
        if memory.num_steps not in (None, spec.num_steps):
            wrong.append(f"the data have {spec.num_steps} bins, the model was trained with {memory.num_steps}")
    if wrong:
        known = ", ".join(f"{name} ({channels} channels)" for name, channels in memory.sessions.items())
        raise RunError(
            f"--data_dir: the data do not fit the model in {memory.path.parent}, which has {known}:\n  "
            + "\n  ".join(wrong) + "\nGive the data it was trained on, or train in a new --lfads_save_dir."
        )  # fmt: skip
    aligned = {shape.name: shape.has_alignment for shape in spec.sessions} | memory.aligned
    shares = {shape.name: shape.observed_share for shape in spec.sessions}
    shapes = tuple(
        SessionShape(
            name, channels, aligned.get(name, False),
            None if memory.encoded[name] == channels else memory.encoded[name], shares.get(name, 1.0),
        )
        for name, channels in memory.sessions.items()
    )  # fmt: skip
    return dataclasses.replace(spec, sessions=shapes)
