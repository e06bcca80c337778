"""``--preset=auto``: hyperparameters from facts of the data, each with its reason.

The rules come from measurements on data with known rates (docs/quality.md). They keep to the bound's own weights (KL
costs of weight 1, no coordinated dropout): there a model that copies spikes pays for it, and each searched penalty
that was lower gave worse rates on at least one kind of data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lfads_tf2.hyperparameters import declared

if TYPE_CHECKING:
    from lfads_tf2.data.facts import Facts

NAME = "auto"

# Training steps for 100 trials, and how they grow with the trials: more trials hold more that can be learned.
STEPS, GROWTH = 3000, 0.3
FEWEST_STEPS, MOST_STEPS, FEWEST_EPOCHS = 2500, 12000, 60
# The share of all epochs in which the KL and L2 costs rise.
WARM_UP = 0.2


class Choice(NamedTuple):
    """Settings that one reason decides."""

    values: dict[str, Any]
    reason: str

    def __str__(self) -> str:
        return f"{', '.join(f'{name}={_shown(value)}' for name, value in self.values.items())}: {self.reason}"


def choose(facts: Facts, given: dict[str, Any]) -> list[Choice]:
    """What ``--preset=auto`` adds to what was given by hand, which stays and is reckoned with.

    Args:
        facts: of the sessions.
        given: hyperparameters by name, as command line and YAML give them.
    """
    batch = given.get("batch_size", _batch(facts))
    steps_an_epoch = facts.steps_an_epoch(batch)
    enough = _epochs(facts, steps_an_epoch)
    epochs = given.get("max_epochs") or enough
    rise = max(1, round(WARM_UP * epochs))
    choices = [
        *_sizes(facts, given),
        Choice(
            {"batch_size": batch},
            f"{steps_an_epoch} steps an epoch from {facts.trials} trials",
        ),
        Choice(
            {"keep_prob": 0.95, "cd_rate": 0.0, "kl_ic_weight": 1.0, "kl_co_weight": 1.0},
            "the bound's own weights make a model pay for copying spikes; more dropout smooths",
        ),
        Choice({"l2_gen_scale": 500.0, "l2_con_scale": 500.0}, "mild; the KL costs do the work"),
        *_warm_up(rise, epochs, given),
        *_schedule(epochs, enough, steps_an_epoch, given),
        Choice({"num_samples_posterior": 50}, "posterior samples averaged a trial, whatever the batch"),
    ]
    kept = [Choice({n: v for n, v in choice.values.items() if n not in given}, choice.reason) for choice in choices]
    return [choice for choice in kept if choice.values]


def settled(facts: Facts, given: dict[str, Any]) -> dict[str, Any]:
    """``given`` with what ``choose`` adds."""
    chosen: dict[str, Any] = {}
    for choice in choose(facts, given):
        chosen |= choice.values
    return chosen | given


def _sizes(facts: Facts, given: dict[str, Any]) -> list[Choice]:
    units = 64 if facts.trials < 2000 and facts.channels <= 100 else 100 if facts.trials < 5000 else 128
    units = given.get("gen_dim", units)
    choices = [
        Choice(
            {"gen_dim": units, "ic_enc_dim": units, "ci_enc_dim": units, "con_dim": units, "ic_dim": min(64, units)},
            f"units for {facts.trials} trials of {facts.channels} channels",
        )
    ]
    if facts.aligned_factors:
        choices.append(Choice({"factors_dim": facts.aligned_factors}, "columns of the alignment matrices"))
    else:
        # As many factors as channels would make the read-out the identity.
        factors = max(1, min(round(0.4 * facts.channels), 20, facts.channels - 1))
        choices.append(Choice({"factors_dim": factors}, f"two factors for five of {facts.channels} channels, up to 20"))
    if facts.bins > 1:
        choices.append(
            Choice({"co_dim": 1}, "trials may leave the dynamics; the KL cost silences an input that none needs")
        )
    else:
        choices.append(Choice({"co_dim": 0}, "a single bin has no dynamics to leave"))
    if facts.ext_inputs:
        choices.append(Choice({"ext_input_dim": facts.ext_inputs}, "measured inputs are in the data"))
    return choices


def _warm_up(rise: int, epochs: int, given: dict[str, Any]) -> list[Choice]:
    reason = f"the first fifth of {epochs} epochs: the dynamics are found before the penalties count in full"
    values = {}
    for cost in ("kl", "l2"):
        if f"{cost}_increase_steps" not in given:
            values[f"{cost}_increase_epochs"] = rise
    return [Choice(values, reason)] if values else []


def _schedule(epochs: int, enough: int, steps_an_epoch: int, given: dict[str, Any]) -> list[Choice]:
    if given.get("learning_rate_schedule", "cosine") != "cosine":
        return []
    reason = (
        "the rate falls to 0 over the whole training, so that its end is known and the weights have settled by then"
    )
    if epochs < enough / 2:
        # No verdict can tell later: a cost that falls no more because the rate is 0 looks like one that has settled.
        reason += f". {epochs} epochs may be too few: without --max_epochs it would take {enough}"
    return [
        Choice(
            {"learning_rate_init": declared()["learning_rate_init"].default, "learning_rate_schedule": "cosine"}, reason
        ),
        Choice({"max_epochs": epochs}, f"{epochs * steps_an_epoch} steps"),
    ]


def _batch(facts: Facts) -> int:
    batch = 32 if facts.fewest_trials <= 400 else 64 if facts.fewest_trials <= 1600 else 128
    return min(batch, facts.fewest_trials)


def steps_for(trials: int) -> float:
    """Training steps that so many training trials are worth."""
    return min(max(STEPS * (trials / 100) ** GROWTH, FEWEST_STEPS), MOST_STEPS)


def _epochs(facts: Facts, steps_an_epoch: int) -> int:
    return max(FEWEST_EPOCHS, round(steps_for(facts.trials) / steps_an_epoch))


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
