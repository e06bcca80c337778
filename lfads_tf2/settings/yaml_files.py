"""Settings in YAML files, read safely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lfads_tf2.errors import SettingsError
from lfads_tf2.settings.mapping import from_mapping


def read_yaml(path: Path) -> dict[str, Any]:
    """Values of a ``--config`` file.

    Raises:
        SettingsError: as ``load_yaml`` and ``from_mapping``.
    """
    return from_mapping(load_yaml(path), f"--config {path}")


def load_yaml(path: Path) -> dict[Any, Any]:
    """The mapping in a ``--config`` file, as it stands there.

    Raises:
        SettingsError: not there, not YAML, not a mapping, or a key twice.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Safe, and refuses a key that is given twice."""

    def mapping(loader, node):
        keys = [loader.construct_object(key) for key, _ in node.value]
        twice = {str(key) for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.YAMLError(f"{', '.join(sorted(twice))} is given twice")
        return yaml.SafeLoader.construct_mapping(loader, node)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except FileNotFoundError:
        raise SettingsError([f"--config: there is no file {path}"]) from None
    except (OSError, ValueError, yaml.YAMLError, TypeError, RecursionError) as error:
        raise SettingsError([f"--config: {path} is not readable YAML: {' '.join(str(error).split())}"]) from None
    if not isinstance(content, dict):
        raise SettingsError([f"--config: {path} must hold lines of the form name: value, got {content!r:.80}"])
    return content
