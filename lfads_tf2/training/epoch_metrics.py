"""The figures of an epoch, from the means over its batches and what the data say once and for all."""

from __future__ import annotations

import math

import numpy as np

from lfads_tf2.data import storage
from lfads_tf2.objective import scored_apart
from lfads_tf2.training import scalars
from lfads_tf2.types import Dials, ModelSpec, Session, Trials

# Trials whose counts are looked at together.
BLOCK = 256


class NullLikelihood:
    """Log-likelihood of spikes under constant rates, each channel's mean, and their number.

    Args:
        targets: trials x bins x channels counts of each session, NaN where not observed.
    """

    def __init__(self, targets: list[np.ndarray]):
        self.log_likelihood = self.spikes = 0.0
        for target in targets:
            total, seen, factorials = 0.0, 0.0, 0.0
            for start in range(0, len(target), BLOCK):
                block = np.array(target[start : start + BLOCK])
                storage.release(target)
                observed = ~np.isnan(block)
                counts = np.where(observed, block, 0).astype(np.int64)
                table = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, counts.max(initial=0) + 1)))])
                total, seen = total + counts.sum((0, 1)), seen + observed.sum((0, 1))
                factorials += float(table[counts].sum())
            with np.errstate(divide="ignore", invalid="ignore"):
                entropy = np.where(total > 0, total * np.log(total / seen), 0.0)
            self.log_likelihood += float(np.sum(entropy - total)) - factorials
            self.spikes += float(np.sum(total))

    def bits_per_spike(self, log_likelihood: float) -> float:
        """How much better a model explains the spikes, in bits a spike; NaN without spikes."""
        if self.spikes == 0:
            return math.nan
        return (log_likelihood - self.log_likelihood) / self.spikes / math.log(2)


class EpochMetrics:
    """Turns the costs of an epoch into named figures.

    Args:
        spec: of the model.
        sessions: in its order.
    """

    def __init__(self, spec: ModelSpec, sessions: list[Session]):
        self.spec, self.apart = spec, scored_apart(spec)
        self.counts = {half: _count(sessions, half) for half in ("train", "valid")}
        self.nulls: dict[tuple[str, str], NullLikelihood] = {}
        for half in ("train", "valid") if spec.hyperparameters.output_dist == "poisson" else ():
            trials = [
                (shape.encoded_channels, getattr(s, half)) for shape, s in zip(spec.sessions, sessions, strict=True)
            ]
            trials = [(encoded, t) for encoded, t in trials if t is not None]
            for name in ("nll", *self.apart) if trials else ():
                if name in scalars.BITS:
                    self.nulls[half, name] = NullLikelihood([self._region(name, n, t) for n, t in trials])

    def _region(self, name: str, encoded: int, trials: Trials) -> np.ndarray:
        """The target's entries that a field of ``Costs`` is about."""
        first, end = self.spec.first_bin, self.spec.data_bins
        return {
            "nll": trials.target[:, first:],
            "held_out": trials.target[:, first:end, encoded:],
            "forward": trials.target[:, end:],
        }[name]

    def half(self, half: str, costs) -> dict[str, float]:
        """Figures of one half from its mean costs (numbers)."""
        row = scalars.of_half(half, costs)
        for name, bits_name in scalars.BITS.items():
            null = self.nulls.get((half, name))
            if null is not None:
                log_likelihood = -float(getattr(costs, name)) * self.counts[half]
                row[f"{half}/{bits_name}"] = null.bits_per_spike(log_likelihood)
        if "apart" in self.apart:
            row[f"{half}/recon_sv"] = float(costs.apart)
        if len(self.spec.sessions) > 1:
            for shape, recon, share in zip(self.spec.sessions, costs.session_recon, costs.session_share, strict=True):
                row[f"{half}/recon/{shape.name}"] = float(recon / share) if share else math.nan
        return row

    def row(self, epoch: int, step: int, result, valid, learning_rate: float, dials: Dials) -> dict[str, float]:
        """All figures of an epoch.

        Args:
            epoch, step: counted from 0, and batches taken.
            result: EpochResult of training, as numbers.
            valid: Costs of validation, as numbers, or None.
            learning_rate: of this epoch.
            dials: hyperparameters that may change in training.
        """
        row = {"epoch": epoch, "step": step} | self.half("train", result.costs)
        if valid is not None:
            row |= self.half("valid", valid)
        row |= scalars.of_training(result) | {"learning_rate": learning_rate}
        return row | {f"hp/{name}": float(value) for name, value in dials._asdict().items()}


def _count(sessions: list[Session], half: str) -> int:
    return sum(len(getattr(s, half).data) for s in sessions if getattr(s, half) is not None)


class TruthR2:
    """R² of inferred against true rates of all validation trials together, as ``metrics.r2_truth`` defines it.

    Args:
        spec, sessions: of the model.
        rates_of: (session index, trials' numbers) -> trials x bins x channels rates (means), padded.
    """

    def __init__(self, spec: ModelSpec, sessions: list[Session], rates_of):
        self.rates_of, first = rates_of, spec.first_bin
        self.truths = [
            (index, session.valid.truth[:, first:])
            for index, session in enumerate(sessions)
            if session.valid is not None and session.valid.truth is not None
        ]
        self.size, self.variations = spec.hyperparameters.batch_size, {}

    def __bool__(self) -> bool:
        return bool(self.truths)

    def __call__(self) -> float:
        error = total = 0.0
        for session, truth in self.truths:
            for start in range(0, len(truth), self.size):
                rows = np.arange(start, min(start + self.size, len(truth)))
                # A short last batch is filled up, so that one compiled program serves all.
                padded = np.resize(rows, min(self.size, len(truth)))
                rates = self.rates_of(session, padded)[: len(rows), :, : truth.shape[2]]
                error += float(np.sum((rates - truth[rows]) ** 2, dtype=np.float64))
                storage.release(truth)
            total += self._variation(session, truth)
        return 1.0 - error / total if total > 0 else math.nan

    def _variation(self, session: int, truth: np.ndarray) -> float:
        """Sum of squares around each channel's mean. Worked out once, in parts: the rates may lie in a file."""
        if session not in self.variations:
            mean = sum(truth[part].sum((0, 1), dtype=np.float64) for part in storage.blocks(truth))
            mean /= truth.shape[0] * truth.shape[1]
            parts = (np.sum((truth[part] - mean) ** 2, dtype=np.float64) for part in storage.blocks(truth))
            self.variations[session] = float(sum(parts))
        return self.variations[session]
