"""Settings in YAML files, read safely."""

from __future__ import annotations

import collections
import reprlib
from pathlib import Path
from typing import Any

import yaml

from lfads_tf2.errors import SettingsError
from lfads_tf2.settings.mapping import from_mapping

# Larger ones are something else.
MOST_BYTES = 2**20


def read_yaml(path: Path) -> dict[str, Any]:
    """Values of a ``--config`` file.

    Raises:
        SettingsError: as ``load_yaml`` and ``from_mapping``.
    """
    return from_mapping(load_yaml(path), f"--config {path}")


def load_yaml(path: Path) -> dict[Any, Any]:
    """The mapping in a ``--config`` file, as it stands there.

    Raises:
        SettingsError: not there, larger than MOST_BYTES, not YAML, not a mapping, or a key twice.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise SettingsError([f"--config: {path} has {size} bytes; settings need no more than {MOST_BYTES}"])
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise SettingsError([f"--config: there is no file {path}"]) from None
    except SettingsError:
        raise
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError, yaml.YAMLError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise SettingsError([f"--config: {path} is not readable YAML: {said}"]) from None
    if not isinstance(content, dict):
        raise SettingsError([f"--config: {path} must hold lines of the form name: value, got {reprlib.repr(content)}"])
    return content


class _Loader(yaml.SafeLoader):
    """Safe, and refuses keys that are given twice, and aliases, by which a short file can stand for an endless one."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError(f"*{self.peek_event().anchor}: aliases are not read; write the value out")
        return super().compose_node(parent, index)

    def once_each(self, node):
        """A mapping, each of whose keys stands there once."""
        keys = collections.Counter(str(self.construct_object(key)) for key, _ in node.value)
        twice = sorted(key for key, number in keys.items() if number > 1)
        if twice:
            raise yaml.YAMLError(f"{', '.join(twice[:10])} is given twice")
        return self.construct_mapping(node)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _Loader.once_each)
