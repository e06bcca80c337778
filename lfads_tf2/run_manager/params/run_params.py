"""RunParams: one set of parameters of a run, with the hashes that name its folders."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np

from lfads_tf2.errors import did_you_mean
from lfads_tf2.run_manager.params import values
from lfads_tf2.run_manager.params.fields import HIDDEN, NOT_HASHED_GROUPS, PROGRAM, Param, root_fields
from lfads_tf2.run_manager.params.matlab_hash import Typed, matlab_class_of, short_hash
from lfads_tf2.run_manager.params.values import ParamError

_ROOT = root_fields()


class RunParams:
    """Parameters of a run. Names starting with ``c_`` go to the program as ``--name``.

    Values are checked when they are set. Objects are compared and hashed by value; what takes parameters stores
    copies, so that changing an object afterwards changes nothing that was added before.

    A lab's own parameters are class attributes of a subclass, whose defaults must never change::

        class MyParams(RunParams):
            alignTo = "go_cue"
            windowMs = param(800, "uint16", "length of a trial")

    Raises ParamError for names that do not exist and for values that a parameter cannot take.
    """

    _fields: dict[str, Param] = _ROOT

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        own = {}
        for name, value in list(vars(cls).items()):
            if name.startswith("_") or callable(value) or isinstance(value, property | classmethod | staticmethod):
                continue
            field = value if isinstance(value, Param) else Param(value, _declared_class(cls, name, value))
            if name in cls._fields:
                raise ParamError(
                    f"{cls.__name__}: {name} exists already; set another value in the parameters instead of declaring "
                    "another default, which would change the meaning of every hash"
                )
            own[name] = Param(values.checked(name, field, field.default), *list(vars(field).values())[1:])
            delattr(cls, name)
        cls._fields = cls._fields | own

    def __init__(self, **given: Any):
        for name, value in given.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        fields = type(self)._fields
        if name in fields:
            return values.checked(name, fields[name], fields[name].default)
        raise AttributeError(_unknown(type(self), name))

    def __setattr__(self, name: str, value: Any) -> None:
        fields = type(self)._fields
        if name not in fields:
            raise ParamError(_unknown(type(self), name))
        value = values.checked(name, fields[name], value)
        if name == "version" and not (19000101 <= value <= 99991231 and 1 <= value // 100 % 100 <= 12):
            raise ParamError(f"version must be a date of eight digits, such as 20171107, got {value}")
        self.__dict__[name] = value

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(values.same(getattr(self, name), getattr(other, name)) for name in self._fields)

    def __hash__(self) -> int:
        return hash(self.param_hash)

    def __dir__(self):
        return [*super().__dir__(), *self._fields]

    @classmethod
    def fields(cls) -> dict[str, Param]:
        """All parameters by name, in order, with default, MATLAB class, group and help."""
        return dict(cls._fields)

    def copy(self, **changes: Any) -> RunParams:
        """A copy with some parameters changed."""
        return type(self)(**(self.__dict__ | changes))

    @property
    def changed(self) -> dict[str, Any]:
        """Parameters that differ from their defaults and tell sets apart: all but labels, posterior and debugging."""
        found = {}
        for name, field in self._fields.items():
            if field.group not in NOT_HASHED_GROUPS and not values.same(getattr(self, name), field.default):
                found[name] = getattr(self, name)
        return found

    @property
    def data_fields(self) -> dict[str, Any]:
        """Those of ``changed`` that decide the prepared data.

        As in MATLAB: everything but the program's parameters, of which ``c_factors_dim`` counts because it shapes the
        alignment matrices. A subclass's own parameters count even if their names start with ``c_``.
        """
        return {
            name: value
            for name, value in self.changed.items()
            if not (name.startswith("c_") and name in _ROOT) or name == "c_factors_dim"
        }

    @property
    def param_hash(self) -> str:
        """Six characters that name the folder of all runs with these parameters."""
        return short_hash(self._typed(self.changed))

    @property
    def data_hash(self) -> str:
        """Six characters that name the folder of the prepared data."""
        return short_hash(self._typed(self.data_fields))

    def _typed(self, chosen: dict[str, Any]) -> dict[str, Typed]:
        return {n: Typed(v, self._fields[n].matlab_class or matlab_class_of(v)) for n, v in chosen.items()}

    def generate_sweep(self, *names_and_values: Any, **sweep: Any) -> np.ndarray:
        """Copies over a grid of values: ``generate_sweep("c_gen_dim", [32, 64], "c_co_dim", [0, 2])``.

        Returns:
            Object array of RunParams, one axis a name, in the order given.

        Raises:
            ParamError: an unknown name, a name without values, or a value that the parameter cannot take.
        """
        if len(names_and_values) % 2:
            raise ParamError(f"names and values must come in pairs, got {len(names_and_values)} arguments")
        axes = dict(zip(names_and_values[::2], names_and_values[1::2], strict=True)) | sweep
        for name, choices in axes.items():
            if name not in self._fields:
                raise ParamError(_unknown(type(self), name))
            if isinstance(choices, str) or not np.iterable(choices) or not len(choices):
                raise ParamError(f"{name}: needs a list of at least one value, got {choices!r}")
        shape = tuple(len(choices) for choices in axes.values())
        grid = np.empty(shape, object)
        for place in itertools.product(*(range(size) for size in shape)):
            picked = {name: choices[i] for i, (name, choices) in zip(place, axes.items(), strict=True)}
            grid[place] = self.copy(**picked)
        return grid

    def command_line(self, n_datasets: int, without: tuple[str, ...] = ()) -> list[str]:
        """The program's flags, ``--name=value``, in the order of the class.

        Ramps are lengthened for stitched runs (``scaleIncreaseStepsWithDatasets``, ``scaleStartStepWithDatasets``),
        since an epoch has as many times more steps. Unchanged debugging switches, and unchanged settings that only
        this program has, are left out: the original's parser does not know them.
        """
        flags = []
        for name, field in self._fields.items():
            plain, value = name.removeprefix("c_"), getattr(self, name)
            if not name.startswith("c_") or plain in without or field.group == HIDDEN:
                continue
            if field.group in ("debug", PROGRAM) and values.same(value, field.default):
                continue
            value = self._scaled(plain, value, n_datasets)
            whole = isinstance(field.default, int) and not isinstance(field.default, bool)
            text = values.as_flag(value, whole)
            if text:
                flags.append(f"--{plain}={text}")
        return flags

    def _scaled(self, plain: str, value: Any, n_datasets: int) -> Any:
        increase = plain in ("kl_increase_steps", "l2_increase_steps") and self.scaleIncreaseStepsWithDatasets
        start = plain in ("kl_start_step", "l2_start_step") and self.scaleStartStepWithDatasets
        return value * n_datasets if increase or start else value

    @property
    def differences(self) -> str:
        """``name=value`` of everything that differs from its default, or ``default``."""
        return " ".join(f"{n}={values.as_text(v)}" for n, v in self.changed.items()) or "default"

    def header(self, index: int | None = None, with_data: bool = True) -> str:
        """One line: hashes, class, label."""
        hashes = f"param_{self.param_hash}" + (f" data_{self.data_hash}" if with_data else "")
        number = f"{index} " if index is not None else ""
        return f'[{number}{hashes}] {type(self).__name__} "{self.name}"'

    def lines(self) -> list[str]:
        """``name: value`` of every parameter that MATLAB's run manager lists, and of all others that changed."""
        return [f"{name}: {values.as_text(getattr(self, name))}" for name in self._shown()]

    def _shown(self) -> list[str]:
        quiet = (HIDDEN, PROGRAM, "debug")
        return [
            n for n, f in self._fields.items() if f.group not in quiet or not values.same(getattr(self, n), f.default)
        ]

    def __repr__(self) -> str:
        shown, parts = self._shown(), [self.header(), f"  {self.differences}"]
        for group, names in itertools.groupby(shown, lambda name: self._fields[name].group):
            parts.append(f"\n  {group}")
            parts += [f"  {name:>38}: {values.as_text(getattr(self, name))}" for name in names]
        return "\n".join(parts)

    def to_json(self) -> str:
        """All values as JSON; :meth:`from_json` gives an equal object back."""
        content = {name: values.to_json(getattr(self, name)) for name in self._fields}
        return json.dumps({"class": type(self).__name__, "fields": content}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> RunParams:
        """The parameters that :meth:`to_json` wrote.

        Raises:
            ParamError: written by another class, or it holds a parameter that this class does not have.
        """
        content = json.loads(text)
        if content.get("class") != cls.__name__:
            raise ParamError(f"these are parameters of the class {content.get('class')}; read them with that class")
        return cls(**{name: values.from_json(value) for name, value in content["fields"].items()})


def _declared_class(cls: type, name: str, value: Any) -> str:
    """MATLAB class of a subclass's plain default: numbers are doubles unless NumPy says otherwise."""
    return "" if isinstance(value, np.ndarray | list | tuple) else matlab_class_of(value)


def _unknown(cls: type, name: str) -> str:
    return f"{cls.__name__} has no parameter {name!r}{did_you_mean(name, cls._fields)}"
