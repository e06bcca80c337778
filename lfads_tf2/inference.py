"""Inference with a trained model: posterior averages, posterior means pushed through, and draws from the prior.

Encoders run once a trial; trials × samples are decoded together in large batches of one fixed size, so that memory
stays within a budget whatever the number of samples, and one compiled program serves all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from lfads_tf2 import noise
from lfads_tf2.data import storage
from lfads_tf2.data.gathering import BatchMaker
from lfads_tf2.held_out import HeldOutRates
from lfads_tf2.model.lfads import LFADS, Encoding, Outputs
from lfads_tf2.objective import Ramps, correlation_cost, ramps, reconstruction, trial_terms, weights_cost
from lfads_tf2.tracing import traced
from lfads_tf2.types import Batch, Dials, ModelSpec, Noise, Session, Trials

# What the stacks of one decoding call may take.
MEMORY_BUDGET_BYTES = 2**27
# The encoders' trials are this part of the rows that are decoded together, so that they add little to that.
GROUP_SHARE = 4


def rows_within_budget(spec: ModelSpec, budget: int = MEMORY_BUDGET_BYTES) -> int:
    """Trials × samples that one decoding call may hold."""
    hp = spec.hyperparameters
    # States with their gates and pre-activations, the encoding, and what is put out, a bin each.
    floats = 7 * hp.gen_dim + 3 * hp.factors_dim + 4 * spec.max_channels
    floats += (8 * hp.con_dim + 4 * hp.ci_enc_dim + 6 * hp.co_dim) if hp.co_dim else 0
    return max(1, budget // (4 * floats * spec.num_bins))


class Inference(tf.Module):
    """Posterior inference for the trials of one model.

    Args:
        model: with trained weights.
        seed: of the posterior samples.
        step: training step of the weights, which decides the ramps in the reported costs.
        named: which outputs are averaged, ``(model, outputs) -> tensors by name``, as ``named_outputs`` gives them.
        watch: is told how many trials are done, and of how many, ``(done, total)``.
        once: not traced, for a single call with a few trials, which takes less time than a trace.
    """

    def __init__(
        self,
        model: LFADS,
        seed: int,
        step: int,
        named: Callable | None = None,
        watch: Callable | None = None,
        once: bool = False,
    ):
        super().__init__()
        self.watch = watch or (lambda done, total: None)
        self.model, self.seed, self.step, self.named = model, seed, step, named or named_outputs
        self._maker, hp = BatchMaker(model.spec), model.spec.hyperparameters
        self._encode = model.encode if once else traced(model.encode, hp, reduce_retracing=True)
        self._decode = self._decoded if once else traced(self._decoded, hp)

    def posterior_average(self, session: int, trials: Trials, num_samples: int) -> dict[str, np.ndarray]:
        """Means over ``num_samples`` posterior samples of each trial ("posterior_sample_and_average").

        Args:
            session: index of the session in the model.
            trials: N trials of it.
            num_samples: S, at least 1.

        Returns:
            Arrays under the names of the original's files, one row a trial: rates (``output_dist_params``, spikes/bin),
            factors, generator states and so on are averaged over samples; costs and bounds are those of the trial's
            own samples. ``controller_outputs_sd`` is the samples' standard deviation.
        """
        return _gathered(len(trials.data), self.blocks(session, trials, num_samples))

    def posterior_push_mean(self, session: int, trials: Trials) -> dict[str, np.ndarray]:
        """Posterior means pushed through the model; arguments and result as ``posterior_average``.

        Only the KL cost of the inferred inputs is estimated at a sample, as in the original.
        """
        return _gathered(len(trials.data), self.blocks(session, trials, 0))

    def held_out_rates(self, session: int, trials: Trials, means: np.ndarray) -> np.ndarray:
        """Rates of which each was inferred without the spikes of its own entry; see ``lfads_tf2.held_out``.

        Args:
            session, trials: as in ``posterior_average``; a trial's place decides which of its entries are masked when.
            means: mean count of each of the session's encoded channels, in the training trials where they are known.

        Returns:
            trials x bins x channels of the target, in expected spikes a bin, for ``metrics.held_out.score``.
        """
        spec, count = self.model.spec, len(trials.data)
        run = HeldOutRates(self.model, [means] * len(spec.sessions))
        at_once = min(count, rows_within_budget(spec))
        rates = storage.empty((count, spec.num_bins, spec.sessions[session].num_channels), np.float32)
        for start in range(0, count, at_once):
            rows = np.minimum(np.arange(start, start + at_once), count - 1)
            batch = self._batch(session, trials, rows)
            rates[start : start + at_once] = run(batch).numpy()[: count - start, :, : rates.shape[2]]
            storage.release(rates)
        return rates

    def blocks(self, session: int, trials: Trials, num_samples: int) -> Iterator[dict[str, np.ndarray]]:
        """The results of some trials after the other, in order.

        Args:
            session, trials: as in ``posterior_average``.
            num_samples: as there; 0: posterior means, as ``posterior_push_mean``.
        """
        count, draws, rows = len(trials.data), max(num_samples, 1), rows_within_budget(self.model.spec)
        samples_at_once = min(draws, rows)
        trials_at_once = min(rows // samples_at_once, count)
        passes = -(-draws // samples_at_once)
        # Trials are encoded in larger groups than are decoded together: there they come once and not once a sample.
        group = trials_at_once * max(1, rows_within_budget(self.model.spec) // (GROUP_SHARE * trials_at_once))
        group = min(group, -(-count // trials_at_once) * trials_at_once)
        for start in range(0, count, trials_at_once):
            if start % group == 0:
                batch = self._batch(session, trials, np.minimum(np.arange(start, start + group), count - 1))
                encoding = self._encode(batch)
            merged, bounds = None, []
            for index in range(passes):
                used = min(samples_at_once, draws - index * samples_at_once)
                weights = tf.constant((np.arange(samples_at_once) < used).astype(np.float32) / draws)
                seed = noise.stream(self.seed, noise.POSTERIOR_NOISE, start * passes + index)
                first = tf.constant(start % group)
                sums, terms = self._decode(batch, encoding, first, trials_at_once, weights, seed, num_samples == 0)
                merged = sums if merged is None else tf.nest.map_structure(tf.add, merged, sums)
                bounds.append(tf.nest.map_structure(lambda term, used=used: term.numpy()[:, :used], terms))
            terms = {key: np.concatenate([part[key] for part in bounds], axis=1) for key in bounds[0]}
            merged = {key: value.numpy() for key, value in merged.items()} | self._costs(terms)
            if "squared_inputs" in merged:
                variance = merged.pop("squared_inputs") - merged["controller_outputs"] ** 2
                merged["controller_outputs_sd"] = np.sqrt(np.maximum(variance, 0))
            yield {key: value[: count - start] for key, value in merged.items()}
            self.watch(min(start + trials_at_once, count), count)

    def _batch(self, session: int, trials: Trials, rows: np.ndarray) -> Batch:
        arrays = map(tf.constant, self._maker.gathered(trials, rows))
        return self._maker.batch(tf.constant(session, tf.int32), tf.constant(rows, tf.int32), *arrays)

    def _decoded(self, batch: Batch, encoding: Encoding, first, num_trials: int, weights, seed, push_mean: bool):
        """Weighted sums over S samples of N trials from ``first`` on, and the N x S terms of the bounds."""
        model, samples = self.model, weights.shape[0]
        rows = tf.tile((first + tf.range(num_trials))[:, None], [1, samples])
        repeated = _Repeated(tf.reshape(rows, [num_trials * samples]))
        batch, encoding = repeated.batch(batch), repeated.encoding(encoding)
        drawn = noise.draw_noise(model.spec, num_trials * samples, seed)
        used = Noise(*(None if n is None else tf.zeros_like(n) for n in drawn)) if push_mean else drawn
        outputs = model.decode(encoding, batch.session, used)
        sample = outputs.decoded.u
        if push_mean and model.has_controller:
            sample = outputs.decoded.co_mean + tf.exp(0.5 * outputs.decoded.co_logvar) * drawn.co
        terms = trial_terms(model, batch, outputs, sample)
        arrays = self.named(model, outputs)
        if model.has_controller and not push_mean:
            arrays["squared_inputs"] = tf.square(arrays["controller_outputs"])
        means = {key: _weighted_mean(value, num_trials, weights) for key, value in arrays.items()}
        dials = Dials.of(model.spec.hyperparameters)
        # What a trial's cost has beside its reconstruction and KL.
        extra = tf.zeros_like(terms.log_likelihood) + self._ramps().l2 * weights_cost(model, dials)
        correlation = correlation_cost(model, outputs, dials)
        if correlation is not None:
            extra += dials.co_mean_corr_scale * correlation
        per_sample = {
            "log_likelihood": self._maker.observed(terms.log_likelihood, batch.session),
            "recon": reconstruction(model.spec, -terms.log_likelihood, batch.session),
            "kl_ic": terms.kl_ic,
            "kl_co": terms.kl_co,
            "extra": extra,
        }
        return means, {key: tf.reshape(value, [num_trials, samples]) for key, value in per_sample.items()}

    def _ramps(self) -> Ramps:
        # After as many batches as the checkpoint has seen, as in the original.
        return ramps(self.model.spec.hyperparameters, self.step)

    def _costs(self, terms: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Cost (as training counts it) and bounds of each trial from the N x S terms of its samples."""
        hp = self.model.spec.hyperparameters
        kl = hp.kl_ic_weight * terms["kl_ic"] + hp.kl_co_weight * terms["kl_co"]
        bound = (terms["log_likelihood"] - kl).astype(np.float64)
        largest = bound.max(axis=1, keepdims=True)
        iwae = largest[:, 0] + np.log(np.mean(np.exp(bound - largest), axis=1))
        total = np.mean(terms["recon"] + float(self._ramps().kl) * kl + terms["extra"], axis=1)
        steps = np.full(len(total), self.step, np.int64)
        return {"costs": total, "nll_bound_vaes": -bound.mean(axis=1), "nll_bound_iwaes": -iwae, "train_steps": steps}

    def prior_sample(self, session: int, num_samples: int, ext_input: np.ndarray | None) -> dict[str, np.ndarray]:
        """Draws from the prior; ``ext_input``: num_samples x T x I where the generator has external inputs."""
        model, hp = self.model, self.model.spec.hyperparameters
        drawn = noise.draw_noise(model.spec, num_samples, noise.stream(self.seed, noise.PRIOR_NOISE, 0))
        co = drawn.co if drawn.co is not None else tf.zeros([model.spec.num_bins, num_samples, 0])
        if ext_input is not None:
            ext_input = tf.constant(ext_input.swapaxes(0, 1), tf.float32)
        outputs = traced(model.generate, hp)(tf.constant(session), drawn.g0, co, ext_input)
        results = {key: _trial_major(value).numpy() for key, value in named_outputs(model, outputs).items()}
        if hp.co_dim:
            results["prior_zs_ar_con"] = results.pop("controller_outputs")
        return results


def _gathered(count: int, blocks: Iterator[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Blocks as whole arrays of ``count`` trials, which lie in a file where they are larger than memory should hold."""
    collected, start = {}, 0
    for block in blocks:
        for key, value in block.items():
            if key not in collected:
                collected[key] = storage.empty((count, *value.shape[1:]), value.dtype)
            collected[key][start : start + len(value)] = value
            storage.release(collected[key])
        start += len(next(iter(block.values())))
    return collected


class _Repeated:
    """Picks trials of a batch by index, each as often as it has samples."""

    def __init__(self, rows):
        self.rows = rows

    def _along(self, axis, value):
        return None if value is None else tf.gather(value, self.rows, axis=axis)

    def batch(self, batch: Batch) -> Batch:
        along = {name: self._along(1, getattr(batch, name)) for name in ("data", "ext_input", "target", "counted")}
        return batch._replace(**along, trials=self._along(0, batch.trials))

    def encoding(self, encoding: Encoding) -> Encoding:
        by_trial = {"post_g0_mean", "post_g0_logvar"}
        kept = {"con_x_gates", "con_x_candidate", "ext_input", *by_trial}
        picked = {
            name: self._along(0 if name in by_trial else 1, getattr(encoding, name) if name in kept else None)
            for name in Encoding._fields[:-1]
        }
        return Encoding(**picked, num_trials=tf.size(self.rows))


def _trial_major(value):
    """T x B x W -> B x T x W; what has no time stays."""
    return tf.transpose(value, [1, 0, 2]) if value.shape.rank == 3 else value


def _weighted_mean(value, num_trials, weights):
    """Rows of all samples, ... x (N · S) x W -> weighted sums over each trial's samples, trial-major."""
    samples = weights.shape[0]
    shaped = tf.reshape(value, tf.concat([tf.shape(value)[:-2], [num_trials, samples], tf.shape(value)[-1:]], axis=0))
    # The sums come before the transposition, which would move all samples otherwise.
    return _trial_major(tf.matmul(weights[None], shaped)[..., 0, :])


def named_outputs(model: LFADS, outputs: Outputs) -> dict[str, tf.Tensor]:
    """Tensors by the original's names in result files, T x B x W or B x W; parts that the model lacks are absent."""
    named = {
        "gen_ics": outputs.gen_ics,
        "gen_states": outputs.decoded.gen_states,
        "factors": outputs.decoded.factors,
        "output_dist_params": model.observation.distribution_parameters(outputs.parameters),
    }
    if outputs.prior_g0_mean is not None:
        named |= {"prior_g0_mean": outputs.prior_g0_mean, "prior_g0_logvar": outputs.prior_g0_logvar}
    if outputs.encoding is not None and outputs.encoding.post_g0_mean is not None:
        named["post_g0_mean"] = outputs.encoding.post_g0_mean
        named["post_g0_logvar"] = outputs.encoding.post_g0_logvar
    if outputs.decoded.u is not None:
        named["controller_outputs"] = outputs.decoded.u
    return named


def crop_channels(parameters: np.ndarray, num_channels: int, parameters_per_channel: int) -> np.ndarray:
    """Distribution parameters of a session's own channels, without the padding to the widest session."""
    if parameters.shape[-1] == num_channels * parameters_per_channel:
        return parameters
    parts = np.split(parameters, parameters_per_channel, axis=-1)
    return np.concatenate([part[..., :num_channels] for part in parts], axis=-1)


def session_results(model: LFADS, session: Session, results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Results with the read-out cropped to the session's channels."""
    channels, per_channel = session.train.target.shape[2], model.observation.num_reported
    return results | {"output_dist_params": crop_channels(results["output_dist_params"], channels, per_channel)}
