"""Command lines of the commands that have options of their own: what is mistyped is refused with the nearest name."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from lfads_tf2.errors import SettingsError, did_you_mean


def a_path(text: str) -> Path:
    """A path as it was typed; shells leave ``~`` alone after ``=``."""
    return Path(text).expanduser()


def at_least(minimum: int) -> Callable[[str], int]:
    """The type of an option: a whole number with a lower bound."""

    def number(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}, got {text!r}")
        return value

    number.__name__ = "whole number"  # as argparse names it: invalid whole number value
    return number


class Arguments(argparse.ArgumentParser):
    """A parser that raises SettingsError where another would end the process, and takes no shortened names."""

    def __init__(self, *names, **options):
        super().__init__(*names, **{"allow_abbrev": False} | options)

    def error(self, message: str):
        """Every malformed command line ends here."""
        raise SettingsError([f"{message} ({self.prog} --help lists all options)"])

    def parse_args(self, args: Sequence[str] | None = None, namespace=None):
        """As ``ArgumentParser.parse_args``.

        Raises:
            SettingsError: an argument that there is not, a value that cannot be used, or something is missing.
        """
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(self.unknown(unknown[0]))
        return found

    def unknown(self, word: str) -> str:
        """What to say of a word that is no argument of this command."""
        if not word.startswith("-"):
            return f"unexpected argument {word!r}"
        name = word.split("=")[0]
        return f"unknown option {name}{did_you_mean(name.lstrip('-'), self.names(), '--')}"

    def names(self) -> list[str]:
        """All options without their dashes, those of parts of the command included."""
        own = [option.lstrip("-") for option in self._option_string_actions if not option.startswith("--c_")]
        parts = [
            part for action in self._actions if isinstance(action.choices, dict) for part in action.choices.values()
        ]
        return own + [name for part in parts if isinstance(part, Arguments) for name in part.names()]

    def _check_value(self, action: argparse.Action, value) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += did_you_mean(str(value), map(str, action.choices))
            raise
