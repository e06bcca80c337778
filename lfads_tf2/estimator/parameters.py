"""The arguments of an estimator, as scikit-learn reads, changes and copies them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import HyperParameters, declared, problems
from lfads_tf2.settings import auto

# Arguments that are no hyperparameters.
OWN_PARAMETERS = ("save_dir", "num_samples", "seed", "preset", "window", "overlap", "verbose", "callbacks")


class Parameters:
    """Arguments that can be read, changed and copied; see ``fitting.Estimator``, which adds what they are for."""

    def __init__(
        self,
        save_dir: str | Path | None = None,
        num_samples: int = 50,
        seed: int = 0,
        preset: str | None = None,
        window: int | None = None,
        overlap: int = 0,
        verbose: bool = False,
        callbacks: Sequence[Callable[[dict[str, float]], object]] = (),
        **settings,
    ):
        self.save_dir, self.num_samples, self.seed, self.window = save_dir, num_samples, seed, window
        self.overlap, self.verbose, self.callbacks, self.settings = overlap, verbose, callbacks, settings
        self.preset = preset
        self._check_parameters()

    def _check_parameters(self) -> None:
        self.hyperparameters = HyperParameters(seed=self.seed, **self.settings)
        found = problems(self.hyperparameters)
        if found:
            raise SettingsError(found)
        if self.preset not in (None, auto.NAME):
            raise ValueError(f"preset must be {auto.NAME!r} or None, got {self.preset!r}; give other settings by name")
        if self.num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {self.num_samples}")
        if self.window is not None and not 0 <= self.overlap < self.window:
            raise ValueError(f"overlap must be at least 0 and below window={self.window} bins, got {self.overlap}")

    # What scikit-learn asks of an estimator

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Every argument by name, hyperparameters at their defaults included."""
        defaults = {name: field.default for name, field in declared().items() if name != "seed"}
        return defaults | self.settings | {name: getattr(self, name) for name in OWN_PARAMETERS}

    def set_params(self, **params) -> Self:
        """Changes arguments; what was fitted stays until the next ``fit``.

        Raises:
            SettingsError, TypeError, ValueError: as for new estimators; then nothing is changed.
        """
        before = {name: getattr(self, name) for name in (*OWN_PARAMETERS, "settings")}
        self.__dict__.update({name: params[name] for name in OWN_PARAMETERS if name in params})
        self.settings = self.settings | {name: value for name, value in params.items() if name not in OWN_PARAMETERS}
        try:
            self._check_parameters()
        except (TypeError, ValueError):
            self.__dict__.update(before)
            self._check_parameters()
            raise
        return self

    def __repr__(self) -> str:
        defaults = {name: parameter.default for name, parameter in inspect.signature(type(self)).parameters.items()}
        defaults |= {name: field.default for name, field in declared().items()} | {"seed": defaults["seed"]}
        given = {name: value for name, value in self.get_params().items() if value != defaults[name]}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def __sklearn_tags__(self):
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        counts = self.hyperparameters.output_dist == "poisson"
        taken = InputTags(two_d_array=self.window is not None, three_d_array=True, positive_only=counts)
        return Tags(None, TargetTags(required=False), transformer_tags=TransformerTags(), input_tags=taken)
