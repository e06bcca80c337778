"""The networks of LFADS as NumPy steps that write into memory of their own: nothing is allocated once they are made.

S streams, one row each, are stepped together. The equations are those of ``lfads_tf2.model.gru``.
"""

from __future__ import annotations

import numpy as np

from lfads_tf2.online.exported import ExportedModel, OnlineError

# As in lfads_tf2.model.gru, which needs TensorFlow.
UPDATE_GATE_BIAS = 1.0
# exp of more overflows single precision; the sigmoid is 0 there anyway.
SMALLEST_PREACTIVATION = -80.0


def buffer(*shape: int) -> np.ndarray:
    """Zeros, float32."""
    return np.zeros(shape, np.float32)


class Gru:
    """One GRU for S streams.

    Args:
        input_kernel: inputs x 3H, for reset gate, update gate and candidate; None without inputs.
        bias: 3H.
        gates, candidate: H x 2H and H x H recurrent weights.
        clip: states are limited to plus or minus this.
        streams: S.
    """

    def __init__(self, input_kernel, bias, gates, candidate, clip: float, streams: int):
        self.input_kernel = None if input_kernel is None else np.ascontiguousarray(input_kernel)
        self.gates, self.candidate = np.ascontiguousarray(gates), np.ascontiguousarray(candidate)
        self.clip, self.units = np.float32(clip), candidate.shape[0]
        self.bias = np.array(bias, np.float32).reshape(1, -1)
        self.bias[:, self.units : 2 * self.units] += UPDATE_GATE_BIAS
        units = self.units
        self.state = buffer(streams, units)
        self._input = np.repeat(self.bias, streams, axis=0)
        self._gates = buffer(streams, 2 * units)
        self._candidate, self._gated = buffer(streams, units), buffer(streams, units)

    def step(self, inputs: np.ndarray | None) -> np.ndarray:
        """Takes S x inputs, moves ``state`` by one bin and returns it."""
        if self.input_kernel is not None:
            np.dot(inputs, self.input_kernel, out=self._input)
            np.add(self._input, self.bias, out=self._input)
        return self.step_from(self._input, self.state)

    def step_from(self, projected: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Moves ``state``, S x H, in place, from an input part S x 3H that has the biases in it."""
        units, gates, new = self.units, self._gates, self._candidate
        np.dot(state, self.gates, out=gates)
        np.add(gates, projected[:, : 2 * units], out=gates)
        np.maximum(gates, SMALLEST_PREACTIVATION, out=gates)
        np.negative(gates, out=gates)
        np.exp(gates, out=gates)
        np.add(gates, 1.0, out=gates)
        np.reciprocal(gates, out=gates)
        np.multiply(gates[:, :units], state, out=self._gated)
        np.dot(self._gated, self.candidate, out=new)
        np.add(new, projected[:, 2 * units :], out=new)
        np.tanh(new, out=new)
        np.subtract(state, new, out=state)
        np.multiply(state, gates[:, units:], out=state)
        np.add(state, new, out=state)
        np.minimum(state, self.clip, out=state)
        np.maximum(state, -self.clip, out=state)
        return state


class Encoder:
    """One direction of an encoder: a GRU whose weights act on [input, state], and its learned initial state."""

    def __init__(self, model: ExportedModel, kind: str, direction: str, streams: int):
        prefix = f"{kind}_enc_{direction}"
        self.initial = model.weight(f"{prefix}/{kind}_enc_t0_{direction}")
        gates, candidate = (
            [model.weight(f"{prefix}/GRU/{part}/{name}/{letter}") for letter in "Wb"]
            for part, name in (("Gates", "xh_2_ru"), ("Candidate", "xrh_2_c"))
        )
        units = candidate[0].shape[1]
        inputs = candidate[0].shape[0] - units
        self.cell = Gru(
            np.concatenate([gates[0][:inputs], candidate[0][:inputs]], axis=1),
            np.concatenate([gates[1].ravel(), candidate[1].ravel()]),
            gates[0][inputs:], candidate[0][inputs:], model.settings["cell_clip_value"], streams,
        )  # fmt: skip

    def run(self, x: np.ndarray, reverse: bool) -> np.ndarray:
        """All states of T x S x inputs, T x S x H, indexed by data time."""
        cell = self.cell
        projected = x @ cell.input_kernel + cell.bias
        state, states = np.repeat(self.initial, x.shape[1], axis=0), np.empty((*x.shape[:2], cell.units), np.float32)
        for t in range(len(x))[::-1] if reverse else range(len(x)):
            states[t] = cell.step_from(projected[t], state)
        return states


def generator_cell(model: ExportedModel, prefix: str, streams: int) -> Gru:
    """The GRU of the generator ("gen") or the controller ("con"), whose inputs have matrices of their own."""
    path, kernel = f"{prefix}/GenGRU", None
    if model.has(f"{path}/Gates/x_2_ru/W"):
        kernel = np.concatenate([model.weight(f"{path}/{name}/W") for name in ("Gates/x_2_ru", "Candidate/x_2_c")], 1)
    bias = np.concatenate([model.weight(f"{path}/{name}/b").ravel() for name in ("Gates/h_2_ru", "Candidate/rh_2_c")])
    recurrent = [model.weight(f"{path}/{name}/W") for name in ("Gates/h_2_ru", "Candidate/rh_2_c")]
    return Gru(kernel, bias, *recurrent, model.settings["cell_clip_value"], streams)


class ReadOut:
    """Factors -> rates, or means of what the observation model describes, and what the controller is fed of them."""

    def __init__(self, model: ExportedModel, session: str, streams: int):
        self.kind, self.clip = model.settings["output_dist"], np.float32(model.settings["_clip_value"])
        names = {"poisson": ["logrates"], "gaussian": ["means"], "gamma": ["parameter0", "parameter1"]}
        names["zero_inflated_gamma"] = [*names["gamma"], "parameter2"]
        prefixes = [f"glm/fac_2_{name}_{session}" for name in names[self.kind]]
        self.maps = [(model.weight(f"{p}/W"), model.weight(f"{p}/b")) for p in prefixes if model.has(f"{p}/W")]
        self.channels = model.sessions[session]
        self.parameters = [buffer(streams, self.channels) for _ in prefixes]
        self.rates = buffer(streams, self.channels)
        self.location = np.float32(model.settings["gamma_loc"])
        # The rates of channels that only wider sessions have, whose parameters are 0.
        self.padding = {"poisson": 1.0, "gaussian": 0.0, "gamma": 1.0 + self.location}.get(
            self.kind, 0.5 * (1.0 + self.location)
        )
        self.factors = None
        if self.kind == "zero_inflated_gamma":
            own = model.weight("glm/gamma_factors")[list(model.sessions).index(session), :, : self.channels]
            # softplus, as the factors are used
            self.factors = np.logaddexp(0.0, own.astype(np.float64)).astype(np.float32)

    def __call__(self, factors: np.ndarray, limited: bool = True) -> np.ndarray:
        """S x D means; ``limited`` False leaves the exponent of log-rates as it is."""
        for (kernel, bias), parameter in zip(self.maps, self.parameters, strict=bool(self.maps)):
            np.dot(factors, kernel, out=parameter)
            np.add(parameter, bias, out=parameter)
        if not self.maps:
            self.parameters[0][...] = factors
        first = self.parameters[0]
        if self.kind == "gaussian":
            self.rates[...] = first
        elif self.kind == "poisson":
            if limited:
                np.minimum(first, self.clip, out=first)
                np.maximum(first, -self.clip, out=first)
            np.exp(first, out=self.rates)
        else:
            self._gamma_mean()
        return self.rates

    def _gamma_mean(self) -> None:
        """α/β + gamma_loc, times q where zeros are inflated."""
        if self.kind == "gamma":
            alpha, beta = (np.exp(np.clip(p, -self.clip, self.clip)) for p in self.parameters)
            self.rates[...] = alpha / beta + self.location
            return
        q, alpha, beta = (1.0 / (1.0 + np.exp(-np.clip(p, -self.clip, self.clip))) for p in self.parameters)
        self.rates[...] = q * (alpha * self.factors[0] / (beta * self.factors[1]) + self.location)


class ReadIn:
    """Counts (and external inputs that are encoded) -> what the encoders read."""

    def __init__(self, model: ExportedModel, session: str, streams: int):
        settings, prefix = model.settings, f"x_2_infac_{session}"
        self.channels, self.kernel = model.encoded[session], None
        if model.has(f"{prefix}/W"):
            self.kernel, self.bias = model.weight(f"{prefix}/W"), model.weight(f"{prefix}/b")
        inputs = 0 if settings["inject_ext_input_to_gen"] else settings["ext_input_dim"]
        self.width = self.channels if self.kernel is None else self.kernel.shape[1]
        self.out = buffer(streams, self.width + inputs)
        self._counts, self._mapped = buffer(streams, self.channels), buffer(streams, self.width)

    def __call__(self, counts, ext_input) -> np.ndarray:
        """S x D counts, and S x I external inputs or None -> S x inputs of the encoders.

        Raises:
            OnlineError: another number of streams or channels, or NaN.
        """
        try:
            self._counts[...] = counts
        except ValueError:
            raise OnlineError(
                f"counts must be streams x channels {self._counts.shape} as the model reads them, got shape "
                f"{np.shape(counts)}"
            ) from None
        if not np.isfinite(self._counts.sum()):
            raise OnlineError("counts must be finite numbers, got NaN or infinity; give 0 for a channel that is lost")
        if self.kernel is None:
            self.out[:, : self.width] = self._counts
        else:
            np.dot(self._counts, self.kernel, out=self._mapped)
            np.add(self._mapped, self.bias, out=self._mapped)
            self.out[:, : self.width] = self._mapped
        if self.out.shape[1] > self.width:
            self.out[:, self.width :] = ext_input
        return self.out
