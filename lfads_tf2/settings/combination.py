"""From what the user gave (flags, YAML) and what a run folder remembers to one set of hyperparameters.

Nothing here imports TensorFlow: whatever can be refused early is.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from pathlib import Path
from typing import Any

from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import HyperParameters, declared, problems, value_problem

# Passed by scripts that the run manager wrote; they changed how the original program was debugged.
IGNORED = {
    "tf_debug_cli": bool, "tf_debug_tensorboard": bool, "tf_debug_tensorboard_hostport": str, "tf_debug_dump_root": str,
    "debug_verbose": bool, "debug_reduce_timesteps_to": str, "debug_print_each_step": bool,
}  # fmt: skip

# What one command decides for itself, whatever the run folder says.
NOT_REMEMBERED = (
    "kind", "data_dir", "lfads_save_dir", "model_params_file", "output_filename_stem", "checkpoint_pb_load_name",
    "ps_nexamples_to_process", "device", "do_reset_learning_rate",
)  # fmt: skip


def plain_name(name: str) -> str:
    """A field's name without the run manager's ``c_``."""
    return name[2:] if name.startswith("c_") and (name[2:] in declared() or name[2:] in IGNORED) else name


def coerce(name: str, value: Any) -> Any:
    """A value from YAML or JSON as the field's type, where that loses nothing; otherwise as it came."""
    kind = type(declared()[name].default)
    if isinstance(value, str) and kind is not str:
        text = value.strip()
        if kind is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        try:
            # YAML 1.1 takes 1e-5 for text.
            value = float(text) if kind is float else int(text) if kind is int else value
        except ValueError:
            return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def unknown_name(name: str, where: str) -> str:
    """The message for a name that is not declared, with the nearest that is."""
    near = difflib.get_close_matches(name, [*declared(), *(f"c_{n}" for n in declared())], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else "; see docs/hyperparameters.md for all names"
    return f"{where}: unknown name {name!r}{hint}"


def from_mapping(mapping: dict[str, Any], where: str) -> dict[str, Any]:
    """Checked values by plain name. ``None`` (or the word) stands for the default and is left out.

    Raises:
        SettingsError: unknown names, wrong types, values out of range; all of them.
    """
    found, values = [], {}
    for given_name, value in mapping.items():
        name = plain_name(str(given_name))
        if name in IGNORED:
            continue
        if name not in declared():
            found.append(unknown_name(str(given_name), where))
            continue
        if value is None or (isinstance(value, str) and value.strip() in ("None", "null", "~")):
            continue
        value = coerce(name, value)
        problem = value_problem(name, value)
        if problem:
            found.append(f"{where}: {problem.removeprefix('--')}")
        elif name in values and values[name] != value:
            found.append(f"{where}: {name} is given twice, as {values[name]!r} and {value!r}")
        else:
            values[name] = value
    if found:
        raise SettingsError(found)
    return values


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


@dataclasses.dataclass(frozen=True)
class Remembered:
    """What a run folder's hyperparameters file says."""

    path: Path
    values: dict[str, Any]
    sessions: dict[str, int]  # channels by name; empty when the file does not say
    aligned: dict[str, bool]
    num_steps: int | None
    encoded: dict[str, int]  # channels that the encoders read, by session


def remembered(folder: Path) -> Remembered | None:
    """The newest ``hyperparameters-<step>.txt`` of a folder, ours or the original's; None when there is none.

    Raises:
        SettingsError: it is not readable.
    """
    files = {}
    for path in folder.glob("hyperparameters-*.txt") if folder.is_dir() else ():
        match = re.fullmatch(r"hyperparameters-(\d+)\.txt", path.name)
        if match:
            files[int(match[1])] = path
    if not files:
        return None
    path = files[max(files)]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        dims = {str(name): int(content["dataset_dims"][name]) for name in content.get("dataset_names", ())}
        encoded = dims | {str(name): int(n) for name, n in content.get("dataset_encoded_dims", {}).items()}
        aligned = {str(name): bool(value) for name, value in content.get("dataset_alignment", {}).items()}
        steps = content.get("num_steps")
        steps = None if steps is None else int(steps)
        known = {name: value for name, value in content.items() if name in declared()}
        known = {name: coerce(name, value) for name, value in known.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError([f"--lfads_save_dir: {path} is not a readable hyperparameters file: {error}"]) from None
    wrong = [f"{path}: {problem}" for problem in (value_problem(n, v) for n, v in known.items()) if problem]
    # The original's "no limit" is larger than any count that is ever reached; it needs no translation.
    if wrong:
        raise SettingsError(wrong)
    return Remembered(path, known, dims, aligned, steps, encoded)


def combine(given: dict[str, Any]) -> tuple[HyperParameters, Remembered | None]:
    """One set of hyperparameters from what was given and from the run folder (or the folder of model_params_file).

    Raises:
        SettingsError: a flag would change the architecture of the model there (both values are shown), values
            contradict each other, or there is no model to work with.
    """
    kind = given.get("kind", "train")
    if not given.get("data_dir"):
        raise SettingsError(["--data_dir is required: the folder that holds one HDF5 file of spikes a session"])
    save_dir = Path(given.get("lfads_save_dir") or Path(given["data_dir"]) / "lfads_output")
    model_file = given.get("model_params_file")
    memory = remembered(save_dir)
    if memory is None and model_file:
        memory = remembered(Path(model_file).parent)
    if memory is None and kind != "train" and not model_file:
        raise SettingsError(
            [
                f"--lfads_save_dir: no trained model in {save_dir}; train one with --kind=train, or give "
                "--model_params_file"
            ]
        )
    base = {} if memory is None else {n: v for n, v in memory.values.items() if n not in NOT_REMEMBERED}
    found = [
        f"--{name}={given[name]} does not fit the model in {memory.path.parent}, which has {name}={base[name]}; leave "
        "the flag out, or train in a new --lfads_save_dir"
        for name, field in declared().items()
        if field.metadata.get("architecture") and name in given and name in base and given[name] != base[name]
        and not (name == "num_steps_for_gen_ic" and min(given[name], memory.num_steps or given[name]) == base[name])
    ]  # fmt: skip
    hp = HyperParameters(**(base | given | {"lfads_save_dir": str(save_dir)}))
    found += problems(hp)
    if found:
        raise SettingsError(found)
    return hp, memory


def to_json(
    hp: HyperParameters,
    sessions: dict[str, int],
    aligned: dict[str, bool],
    num_steps: int,
    encoded: dict[str, int] | None = None,
) -> str:
    """The content of ``hyperparameters-<step>.txt``: booleans as the words that the original wrote.

    ``encoded``: channels that the encoders read in sessions where these are fewer than are reconstructed.
    """
    values = {n: str(v).lower() if isinstance(v, bool) else v for n, v in dataclasses.asdict(hp).items()}
    facts = {
        "dataset_names": list(sessions),
        "dataset_dims": sessions,
        "dataset_alignment": aligned,
        "num_steps": num_steps,
        "ndatasets": len(sessions),
    } | ({"dataset_encoded_dims": encoded} if encoded else {})
    return json.dumps(values | facts, indent=1)
