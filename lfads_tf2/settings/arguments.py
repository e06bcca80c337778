"""Command lines of the commands that have options of their own: what is mistyped is refused with the nearest name."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lfads_tf2.errors import SettingsError, did_you_mean


def a_path(text: str) -> Path:
    """A path as it was typed; shells leave ``~`` alone after ``=``."""
    return Path(text).expanduser()


def no_data_folder(command: str) -> SettingsError:
    """What is wrong with a command line without a data folder.

    Args:
        command: the subcommand.
    """
    return SettingsError([
        f"no data folder is given: lfads {command} DATA (or --data_dir=DATA), where DATA is the folder that holds one "
        "HDF5 file of spikes a session"
    ])  # fmt: skip


def at_least(minimum: int) -> Callable[[str], int]:
    """The type of an option: a whole number with a lower bound."""

    def number(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}, got {text!r}")
        return value

    number.__name__ = "whole number"  # as argparse names it: invalid whole number value
    return number


def as_declared(words: Sequence[str], options: Iterable[str]) -> list[str]:
    """A command line with its options as they are declared: ``-`` and ``_`` within a name are the same.

    Args:
        words: after the command's name.
        options: all that there are, with their dashes.
    """
    declared = {_plain(option): option for option in options if option.startswith("--")}

    def one(word: str) -> str:
        name, equals, value = word.partition("=")
        return declared.get(_plain(name), name) + equals + value if name.startswith("--") else word

    end = words.index("--") if "--" in words else len(words)
    return [*map(one, words[:end]), *words[end:]]


def _plain(option: str) -> str:
    return option[2:].replace("-", "_")


class Arguments(argparse.ArgumentParser):
    """A parser that raises SettingsError where another would end the process, and takes no shortened names."""

    def __init__(self, *names, **options):
        super().__init__(*names, **{"allow_abbrev": False} | options)

    def error(self, message: str):
        """Every malformed command line ends here."""
        raise SettingsError([f"{message} ({self.prog} --help lists all options)"])

    def parse_args(self, args: Sequence[str], namespace=None):
        """As ``ArgumentParser.parse_args``.

        Raises:
            SettingsError: an argument that there is not, a value that cannot be used, or something is missing.
        """
        args = as_declared(args, self.options())
        mistyped = [word for word in args if word.startswith("--") and word.split("=")[0] not in self.options()]
        if mistyped:
            # Said before what is missing: it may be the same.
            name, known = mistyped[0].split("=")[0], [option for option in self.options() if option[:4] != "--c_"]
            self.error(f"unknown option {name}{did_you_mean(name, known)}")
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"unexpected argument {unknown[0]!r}")
        return found

    def parse_known_args(self, args: Sequence[str], namespace=None):
        """As ``ArgumentParser.parse_known_args``, with ``-`` and ``_`` the same in options' names."""
        return super().parse_known_args(as_declared(args, self.options()), namespace)

    def options(self) -> list[str]:
        """All options as they are typed, those of parts of the command included."""
        found = list(self._option_string_actions)
        for action in self._actions:
            for part in action.choices.values() if isinstance(action.choices, dict) else ():
                found += part.options() if isinstance(part, Arguments) else []
        return found

    def _check_value(self, action: argparse.Action, value) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += did_you_mean(str(value), map(str, action.choices))
            raise
