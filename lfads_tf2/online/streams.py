"""Streams of bins: counts in, rates and factors of the same bin out, while the animal moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lfads_tf2.errors import one_of
from lfads_tf2.online.exported import ExportedModel, OnlineError
from lfads_tf2.online.networks import Encoder, ReadIn, ReadOut, buffer, generator_cell


class OnlineLFADS:
    """A trained model that takes one bin after the other, with posterior means in place of samples.

    ``OnlineLFADS.load`` gives a CausalStream where the model was trained for it (``--do_causal_controller`` or
    ``--co_dim=0``, with an initial-condition segment ``--ic_enc_seq_len``), else a WindowStream.

    Args:
        model: as exported.
        session: whose read-in and read-out are used; None: of the only one.
        streams: S, recordings that are stepped together, one row each.

    Raises:
        OnlineError: there is no such session, or fewer than one stream.
    """

    def __init__(self, model: ExportedModel, session: str | None = None, streams: int = 1):
        names = list(model.sessions)
        if session is None and len(names) == 1:
            session = names[0]
        if session not in names:
            raise OnlineError(f"session must be {one_of(names, session)}")
        if streams < 1:
            raise OnlineError(f"streams must be at least 1, got {streams}")
        self.model, self.session, self.num_streams = model, session, streams
        self.read_in, self.read_out = ReadIn(model, session, streams), ReadOut(model, session, streams)
        self.decoder = Decoder(model, self.read_out, streams)
        self.num_channels, self.num_encoded = model.sessions[session], model.encoded[session]

    @staticmethod
    def load(path: str | Path, session: str | None = None, streams: int = 1, window: int | None = None) -> OnlineLFADS:
        """A stream of the model in a file that ``export`` wrote.

        Args:
            path, session, streams: see the class and ``export``.
            window: bins that are encoded again at each bin, for a WindowStream; None: those of a training trial.

        Raises:
            OnlineError: see ``ExportedModel.load`` and the class.
        """
        model = ExportedModel.load(path)
        if is_causal(model):
            if window is not None:
                raise OnlineError(f"window={window}: {path} holds a causal model, which needs no window; leave it out")
            return CausalStream(model, session, streams)
        return WindowStream(model, session, streams, window)

    def step(self, counts, ext_input=None) -> tuple[np.ndarray, np.ndarray]:
        """One bin further.

        Args:
            counts: D spikes of this bin, or S x D; the channels that the encoders read.
            ext_input: I external inputs of this bin, or S x I, where the model has any.

        Returns:
            Rates of this bin in expected spikes a bin (S x channels) and factors (S x F): NaN while the bins of the
            initial condition come in. They are the stream's own memory, overwritten by the next step: copy what is
            to be kept.

        Raises:
            OnlineError: the shapes do not fit the model, or counts are NaN or infinite.
        """
        raise NotImplementedError

    def reset(self, streams=None) -> None:
        """Starts a new trial in all streams, or in those of the given numbers."""
        rows = slice(None) if streams is None else streams
        for array in self._arrays().values():
            array[rows] = 0

    def state(self) -> dict[str, np.ndarray]:
        """A copy of all that the next bins depend on; ``restore`` goes on from it."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Goes on from a ``state`` of a stream of the same model.

        Raises:
            OnlineError: it is of another model or number of streams.
        """
        own = self._arrays()
        if {n: a.shape for n, a in own.items()} != {n: np.shape(a) for n, a in state.items()}:
            raise OnlineError("the state is not that of a stream of this model and as many streams")
        for name, array in own.items():
            array[...] = state[name]

    def _arrays(self) -> dict[str, np.ndarray]:
        """Everything that changes from bin to bin, streams first."""
        raise NotImplementedError

    def _input(self, ext_input) -> np.ndarray | None:
        wanted = self.model.settings["ext_input_dim"]
        if not wanted:
            return None
        value = np.zeros(0) if ext_input is None else np.atleast_2d(ext_input)
        if value.shape not in ((1, wanted), (self.num_streams, wanted)):
            raise OnlineError(f"ext_input must be streams x {wanted} as the model was trained, got shape {value.shape}")
        return value


def is_causal(model: ExportedModel) -> bool:
    """Whether a bin's rates need no later bin, once the bins of the initial condition have passed."""
    return model.settings["ic_enc_seq_len"] > 0 and not model.has("ci_enc_rev/ci_enc_t0_rev")


class Decoder:
    """Controller, generator and read-out of S streams."""

    def __init__(self, model: ExportedModel, read_out: ReadOut, streams: int):
        self.settings, self.read_out = model.settings, read_out
        self.generator, self.controller = generator_cell(model, "gen", streams), None
        kernel = model.weight("gen/gen_2_fac/W")
        self.factor_map = kernel / np.sqrt(np.maximum(np.sum(kernel**2, axis=0, keepdims=True), 1e-12))
        self.factors = buffer(streams, kernel.shape[1])
        self.from_code = [model.weight(f"gen/g0_2_gen_ic/{n}") for n in "Wb"] if model.has("gen/g0_2_gen_ic/W") else []
        self.learned_start = model.weight("gen/g0") if model.has("gen/g0") else None
        self.injects = self.settings["ext_input_dim"] if self.settings["inject_ext_input_to_gen"] else 0
        self.inputs = 0
        if model.has("con/c0"):
            self.controller, self.con_start = generator_cell(model, "con", streams), model.weight("con/c0")
            self.mean = [model.weight(f"con/con_to_post_co/mean/{n}") for n in "Wb"]
            self.inputs = self.mean[0].shape[1]
            encoders = [f"ci_enc_{d}/ci_enc_t0_{d}" for d in ("fwd", "rev")]
            self.num_code = sum(model.weight(name).shape[1] for name in encoders if model.has(name))
            self.con_input = buffer(streams, self.controller.input_kernel.shape[0])
            self.mean_out = buffer(streams, self.inputs)
        self.gen_input = buffer(streams, self.inputs + self.injects)

    def begin(self, code: np.ndarray | None, rows=slice(None)) -> None:
        """Starts trials in the streams ``rows``: code, S x Z, or None where the initial condition is learned."""
        start = self.learned_start
        if code is not None:
            start = code @ self.from_code[0] + self.from_code[1] if self.from_code else code
            start = start[rows]
        self.generator.state[rows] = start
        if self.controller is not None:
            self.controller.state[rows] = self.con_start
            self._feed(self.generator.state @ self.factor_map, False, rows)

    def step(self, code: np.ndarray | None, ext_input) -> None:
        """One bin: code, S x encoded part of the controller's input -> ``factors`` and the read-out's ``rates``."""
        if self.controller is not None:
            self.con_input[:, : self.num_code] = code
            np.dot(self.controller.step(self.con_input), self.mean[0], out=self.mean_out)
            np.add(self.mean_out, self.mean[1], out=self.mean_out)
            self.gen_input[:, : self.inputs] = self.mean_out
        if self.injects:
            self.gen_input[:, self.inputs :] = ext_input
        np.dot(self.generator.step(self.gen_input), self.factor_map, out=self.factors)
        self.read_out(self.factors)
        if self.controller is not None:
            self._feed(self.factors, True)

    def _feed(self, factors: np.ndarray, rates_known: bool, rows=slice(None)) -> None:
        """What the controller sees of a bin at the next one: nothing, its factors, or its rates."""
        fed = self.con_input[:, self.num_code :]
        if not self.settings["do_feed_factors_to_controller"]:
            return
        if self.settings["feedback_factors_or_rates"] == "rates":
            rates = self.read_out.rates if rates_known else self.read_out(factors, limited=False)
            fed[rows, : rates.shape[1]], fed[rows, rates.shape[1] :] = rates[rows], self.read_out.padding
        else:
            fed[rows] = factors[rows]


class CausalStream(OnlineLFADS):
    """Bin after bin with a state: each bin costs the same, whatever came before."""

    def __init__(self, model: ExportedModel, session: str | None = None, streams: int = 1):
        super().__init__(model, session, streams)
        self.first_bin, self.lag = model.settings["ic_enc_seq_len"], model.settings["controller_input_lag"]
        self.segment = buffer(streams, self.first_bin, self.read_in.out.shape[1])
        self.bins = np.zeros(streams, np.int64)
        self.initial_condition = InitialCondition(model, streams)
        self.encoder, self.codes, self.nothing = None, buffer(streams, 0, 0), None
        if self.decoder.controller is not None:
            self.encoder = Encoder(model, "ci", "fwd", streams)
            self.codes = buffer(streams, self.lag, self.decoder.num_code)
        self.rates, self.factors = buffer(streams, self.num_channels), np.zeros_like(self.decoder.factors)
        self.reset()

    def step(self, counts, ext_input=None) -> tuple[np.ndarray, np.ndarray]:
        """See OnlineLFADS."""
        ext_input = self._input(ext_input)
        x = self.read_in(counts, ext_input)
        decoding = self.bins >= self.first_bin
        if decoding.any():
            self.decoder.step(self._code(x), ext_input)
            self.rates[...], self.factors[...] = self.read_out.rates, self.decoder.factors
        if not decoding.all():
            self._gather(x, np.flatnonzero(~decoding))
        self.bins += 1
        return self.rates, self.factors

    def _gather(self, x: np.ndarray, rows: np.ndarray) -> None:
        """Keeps a bin of the initial condition; after the last one, starts the decoder of its streams."""
        self.segment[rows, self.bins[rows]] = x[rows]
        self.rates[rows], self.factors[rows] = np.nan, np.nan
        ready = rows[self.bins[rows] == self.first_bin - 1]
        if len(ready):
            self.decoder.begin(self.initial_condition(self.segment.swapaxes(0, 1)), ready)
            if self.encoder is not None:
                self.encoder.cell.state[ready], self.codes[ready] = self.encoder.initial, 0.0

    def _code(self, x: np.ndarray) -> np.ndarray | None:
        """The encoding of ``lag`` bins ago, 0 before the first."""
        if self.encoder is None:
            return None
        now = self.encoder.cell.step(x)
        if not self.lag:
            return now
        # The oldest encoding moves into the controller's own memory before its place is taken.
        self.decoder.con_input[:, : self.decoder.num_code] = self.codes[:, 0]
        self.codes[:, :-1] = self.codes[:, 1:]
        self.codes[:, -1] = now
        return self.decoder.con_input[:, : self.decoder.num_code]

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {"bins": self.bins, "segment": self.segment, "generator": self.decoder.generator.state}
        if self.encoder is not None:
            arrays |= {"controller": self.decoder.controller.state, "encoder": self.encoder.cell.state}
            arrays |= {"codes": self.codes, "controller_input": self.decoder.con_input}
        return arrays


class WindowStream(OnlineLFADS):
    """For models that read a whole trial: the last bins are encoded again at each bin, which costs as many times more.

    The rates of a bin are those of the last bin of a trial that ends with it. Until the window is full it has fewer
    bins than the model was trained on. Returned are NaN until there are two bins more than the initial condition has.
    """

    def __init__(self, model: ExportedModel, session: str | None = None, streams: int = 1, window: int | None = None):
        super().__init__(model, session, streams)
        self.first_bin, self.window = model.settings["ic_enc_seq_len"], window or model.num_bins
        if self.window < self.first_bin + 2:
            raise OnlineError(f"window must be at least {self.first_bin + 2} bins for this model, got {self.window}")
        self.initial_condition = InitialCondition(model, streams)
        self.encoders = []
        if self.decoder.controller is not None:
            directions = ("fwd", "rev") if model.has("ci_enc_rev/ci_enc_t0_rev") else ("fwd",)
            self.encoders = [(Encoder(model, "ci", direction, streams), direction) for direction in directions]
        self.past = buffer(streams, self.window, self.read_in.out.shape[1])
        self.past_inputs = buffer(streams, self.window, model.settings["ext_input_dim"])
        self.bins = np.zeros(streams, np.int64)

    def step(self, counts, ext_input=None) -> tuple[np.ndarray, np.ndarray]:
        """See OnlineLFADS."""
        ext_input = self._input(ext_input)
        x = self.read_in(counts, ext_input)
        for past, now in ((self.past, x), (self.past_inputs, ext_input)):
            if now is not None:
                past[:, :-1] = past[:, 1:]
                past[:, -1] = now
        self.bins += 1
        rates, factors = np.full_like(self.read_out.rates, np.nan), np.full_like(self.decoder.factors, np.nan)
        lengths = np.minimum(self.bins, self.window)
        for length in np.unique(lengths[lengths >= self.first_bin + 2]):
            rows = lengths == length
            self._run(self.past[:, -length:].swapaxes(0, 1), self.past_inputs[:, -length:])
            rates[rows], factors[rows] = self.read_out.rates[rows], self.decoder.factors[rows]
        return rates, factors

    def _run(self, x: np.ndarray, ext_inputs: np.ndarray) -> None:
        """A whole trial of all streams, x: T x S x inputs."""
        self.decoder.begin(self.initial_condition(x))
        codes, steps = self._codes(x[self.first_bin :]), len(x) - self.first_bin
        for t in range(steps):
            code = None if codes is None else codes[t]
            self.decoder.step(code, ext_inputs[:, self.first_bin + t] if ext_inputs.shape[2] else None)

    def _codes(self, x: np.ndarray) -> np.ndarray | None:
        """The encodings that the controller reads: of ``lag`` bins ago, and in reverse of ``lag`` bins ahead."""
        lag, shifted = self.model.settings["controller_input_lag"], []
        for encoder, direction in self.encoders:
            states = encoder.run(x, direction == "rev")
            code, kept = np.zeros_like(states), max(len(states) - lag, 0)
            if direction == "fwd":
                code[lag:] = states[:kept]
            else:
                code[:kept] = states[lag:]
            shifted.append(code)
        return np.concatenate(shifted, axis=-1) if shifted else None

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"bins": self.bins, "past": self.past, "past_inputs": self.past_inputs}


class InitialCondition:
    """The first bins -> mean of the initial-condition code."""

    def __init__(self, model: ExportedModel, streams: int):
        self.encoders, self.num_bins = None, model.settings["ic_enc_seq_len"] or model.settings["num_steps_for_gen_ic"]
        if model.has("ic_enc_fwd/ic_enc_t0_fwd"):
            self.encoders = [Encoder(model, "ic", direction, streams) for direction in ("fwd", "rev")]
            self.mean = [model.weight(f"z/ic_enc_2_post_g0/mean/{n}") for n in "Wb"]

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        """T x S x inputs -> S x Z; None where the initial condition is learned."""
        if self.encoders is None:
            return None
        x = x[: self.num_bins]
        forward, reverse = (encoder.run(x, n == 1) for n, encoder in enumerate(self.encoders))
        return np.concatenate([forward[-1], reverse[0]], axis=-1) @ self.mean[0] + self.mean[1]
