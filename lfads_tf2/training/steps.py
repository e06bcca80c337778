"""What one batch needs and costs, as functions of everything that varies: weights aside, nothing is read from a state.

One model's epochs (``lfads_tf2.training.epochs``) and those of a whole population (``lfads_tf2.autolfads.members``) are
made of these.
"""

from __future__ import annotations

import tensorflow as tf

from lfads_tf2 import noise
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.objective import Costs, costs, ramps, scaled_by, trial_terms
from lfads_tf2.training.augmentations import Augmenter
from lfads_tf2.types import Batch, Dials, Masks, Noise


class Steps(tf.Module):
    """Batches of one model.

    Args:
        model: its weights are read wherever costs are computed.
        dials: as in ``Augmenter``.
        held_out_seed: of the entries that sample validation holds out.
        first_valid: the number of training trials: validation trials hold out entries of their own.
    """

    def __init__(self, model: LFADS, dials: Dials, held_out_seed: int, first_valid: int):
        super().__init__()
        self.model = model
        self.augment = Augmenter(model.spec, dials, held_out_seed, first_valid)

    def training_inputs(self, batch: Batch, seed, step, dials: Dials) -> tuple[Batch, Noise, Masks]:
        """The batch, augmented, and all draws of a step; ``step``: batches taken before."""
        spec, num_trials = self.model.spec, batch.data.shape[1]
        draws = noise.draw_noise(spec, num_trials, noise.stream(seed, noise.TRAIN_NOISE, step))
        batch = self.augment.train(batch, seed, step, dials)
        own, native = noise.stream(seed, noise.TRAIN_MASKS, step), self.model.scan_options["native"]
        masks = noise.draw_masks(spec, num_trials, own, dials.keep_prob, native)
        return batch, draws, masks

    def gradients(self, batch: Batch, draws: Noise, masks: Masks, step, dials: Dials, trained: list):
        """Costs of a batch, and gradients for the trained variables (or tensors in their place)."""
        model = self.model
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            outputs = model(batch, draws, masks)
            terms = trial_terms(model, batch, outputs, outputs.decoded.u)
            weights = ramps(model.spec.hyperparameters, step)
            cost = costs(model, terms, outputs, weights, dials=dials, session=batch.session)
            scaled = scaled_by(dials.loss_scale, cost.total)
        gradients = tape.gradient(scaled, trained, unconnected_gradients="zero")
        return cost, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def validation_noise(self, num_trials: int, seed, step, index) -> Noise:
        """Draws for validation batch ``index`` after training step ``step``."""
        own = tf.random.experimental.stateless_fold_in(noise.stream(seed, noise.VALID_NOISE, step), index)
        return noise.draw_noise(self.model.spec, num_trials, own)

    def validation_costs(self, batch: Batch, draws: Noise, trial_weights, step, dials: Dials) -> Costs:
        """Costs of a validation batch, as ``augment.validate`` gives it; ``trial_weights``: B, 0 for filling."""
        outputs = self.model(batch, draws)
        terms = trial_terms(self.model, batch, outputs, outputs.decoded.u)
        weights = ramps(self.model.spec.hyperparameters, step)
        return costs(self.model, terms, outputs, weights, trial_weights, dials, batch.session)
