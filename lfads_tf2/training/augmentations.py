"""The augmentations of a run, in order: what is random is drawn here, before the model runs."""

from __future__ import annotations

import tensorflow as tf

from lfads_tf2 import noise
from lfads_tf2.hyperparameters import augmentation_names
from lfads_tf2.model import augmentation
from lfads_tf2.settings.plugins import AUGMENTATION_MEMBERS, is_plugin, load_class
from lfads_tf2.types import Batch, Dials, ModelSpec


class Augmenter(tf.Module):
    """Applies the augmentations that the hyperparameters name; none of them costs anything where it is not named.

    Args:
        spec: of the model.
        dials: a dial that is a tensor brings its augmentation in, whatever its value.
        held_out_seed: of the entries that sample validation holds out.
        first_valid: added to the numbers of validation trials.
    """

    def __init__(self, spec: ModelSpec, dials: Dials, held_out_seed: int, first_valid: int = 0):
        super().__init__()
        self.spec, self.held_out_seed, self.first_valid = spec, held_out_seed, first_valid
        self.names = list(augmentation_names(spec.hyperparameters))
        if not isinstance(dials.cd_rate, (int, float)) and "coordinated_dropout" not in self.names:
            self.names.append("coordinated_dropout")
        self._own = {
            name: load_class(name, "augmentations", AUGMENTATION_MEMBERS)(spec)
            for name in self.names
            if is_plugin(name)
        }

    def train(self, batch: Batch, seed, step, dials: Dials) -> Batch:
        """A training batch, augmented.

        Args:
            batch: of B trials.
            seed: of every draw.
            step: batches taken so far, which decides the draws.
            dials: this step's.
        """
        batch = _with_target(batch) if self.names else batch
        for index, name in enumerate(self.names):
            own = noise.stream(seed, noise.TRAIN_AUGMENTATION + index, step)
            if is_plugin(name):
                batch = self._own[name].apply(batch, self._own[name].draw(batch, own))
            elif name == "spike_jitter":
                batch = self._spike_jitter(batch, noise.stream(seed, noise.TRAIN_JITTER, step))
            else:
                batch = getattr(self, f"_{name}")(batch, own, dials)
        return batch

    def validate(self, batch: Batch) -> Batch:
        """A validation batch: only entries that are held out stay held out."""
        if "sample_validation" in self.names:
            return self._held_out(_with_target(batch), batch.trials + self.first_valid)
        return batch

    def _coordinated_dropout(self, batch, seed, dials):
        seeds = tf.random.experimental.stateless_split(seed, 2)
        rate = tf.convert_to_tensor(dials.cd_rate, tf.float32)
        mask = noise.dropout_mask(batch.data.shape, 1.0 - rate, seeds[0])
        passed = tf.zeros_like(mask)
        pass_rate = self.spec.hyperparameters.cd_pass_rate
        if pass_rate:
            passed = tf.minimum(noise.dropout_mask(batch.data.shape, pass_rate, seeds[1]), 1.0)
        return augmentation.coordinated_dropout(self.spec, batch, mask, passed, rate)

    def _spike_jitter(self, batch, seed):
        width = self.spec.hyperparameters.temporal_spike_jitter_width
        return augmentation.moved(self.spec, batch, lambda counts: noise.jitter_spikes(counts, width, seed))

    def _temporal_shift(self, batch, seed, dials):
        hp = self.spec.hyperparameters
        channels = (batch.data if batch.target is None else batch.target).shape[2]
        shifts = noise.draw_shifts(batch.data.shape[1], channels, hp.temporal_shift_std, hp.temporal_shift_max, seed)
        return augmentation.moved(self.spec, batch, lambda values: augmentation.shifted(values, shifts))

    def _sample_validation(self, batch, seed, dials):
        return self._held_out(batch, batch.trials)

    def _held_out(self, batch, trials):
        rate = self.spec.hyperparameters.sv_rate
        chosen = noise.fixed_entries(self.held_out_seed, batch.session, trials, batch.data.shape, rate)
        return augmentation.held_out(self.spec, batch, chosen, rate)

    def _selective_backprop(self, batch, seed, dials):
        """Entries that were not observed are left out where the trials are taken from the data: nothing is random."""
        return batch


def _with_target(batch: Batch) -> Batch:
    """The batch with its target apart from the encoders' data, so that what changes these leaves it as it is."""
    return batch if batch.target is not None else batch._replace(target=batch.data)
