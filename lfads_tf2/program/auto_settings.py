"""What ``--preset=auto`` makes of the data of a command: chosen and said; training writes it beside the model."""

from __future__ import annotations

import logging
from typing import Any

from lfads_tf2.data.facts import facts_of
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.settings import auto
from lfads_tf2.settings.combination import combine
from lfads_tf2.settings.run_folder import RunRecord
from lfads_tf2.types import Session

log = logging.getLogger("lfads_tf2")


class AutoSettings:
    """Chooses hyperparameters when the sessions are known; ``read_sessions`` calls it.

    Args:
        given: what the command gives, by plain name.
    """

    def __init__(self, given: dict[str, Any]):
        self.given, self.hyperparameters, self.lines = given, None, []

    def __call__(self, sessions: list[Session]) -> HyperParameters:
        if not sessions:
            return combine(self.given)[0]
        facts = facts_of(sessions)
        self.lines = [str(choice) for choice in auto.choose(facts, self.given)]
        self.hyperparameters, _ = combine(auto.settled(facts, self.given))
        return self.hyperparameters

    def said(self) -> HyperParameters:
        """The hyperparameters chosen, after the choices went to the screen."""
        log.info("--preset=auto chose:\n  %s", "\n  ".join(self.lines))
        return self.hyperparameters


def auto_settings(given: dict[str, Any], record: RunRecord | None) -> AutoSettings | None:
    """None where ``--preset=auto`` was not given, or the run folder has settings already, which stay."""
    if given.get("preset") != auto.NAME:
        return None
    if record is not None:
        log.info(
            "--preset=auto: the model in the run folder keeps its settings. For a new one, for which auto chooses, add "
            "--resume=never (which puts the old run aside) or another --lfads_save_dir."
        )
        return None
    return AutoSettings(given)
