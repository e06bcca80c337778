"""Every preset: listed, read, without contradictions, and of the size that its settings say."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

import flags
from lfads_tf2.hyperparameters import HyperParameters, declared, problems

# Trainable and fixed parameters of the model for one session of 100 bins and 30 channels.
PARAMETERS = {
    "chaotic_rnn_gaussian": 294_252,
    "chaotic_rnn_inputs_g1p5": 572_498,
    "chaotic_rnn_inputs_g2p5": 572_498,
    "chaotic_rnn_multisession": 566_358,
    "chaotic_rnn_no_inputs": 293_622,
    "integration_to_bound": 572_498,
    "labelled_rnn": 294_390,
    "lfads_torch_defaults": 277_546,
    "lorenz": 66_510,
    "small_data": 91_934,
    "tf1_defaults": 590_918,
}
BINS, CHANNELS = 100, 30


def linear(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def parameters(hp: HyperParameters, channels: int) -> int:
    """Variables of the model for one session, counted from the equations of the original."""

    def encoder_cell(inputs, units):
        # Learned initial state; gates and candidate over [input, state].
        return units + linear(inputs + units, 2 * units) + linear(inputs + units, units)

    def split_cell(inputs, units):
        # Input part without, recurrent part with bias; two gates and the candidate.
        return inputs * 3 * units + linear(units, 3 * units)

    injected = hp.ext_input_dim if hp.inject_ext_input_to_gen else 0
    encoded = channels + hp.ext_input_dim - injected
    total = 0
    if hp.ic_dim:
        total += 2 * encoder_cell(encoded, hp.ic_enc_dim) + 2 * linear(2 * hp.ic_enc_dim, hp.ic_dim)
        total += 2 * hp.ic_dim  # mean and variance of the prior
        total += linear(hp.ic_dim, hp.gen_dim) if hp.ic_dim != hp.gen_dim else 0
    else:
        total += hp.gen_dim
    if hp.co_dim:
        directions = 1 if hp.do_causal_controller else 2
        total += directions * encoder_cell(encoded, hp.ci_enc_dim)
        fed_back = {"factors": hp.factors_dim, "rates": channels}[hp.feedback_factors_or_rates]
        code = directions * hp.ci_enc_dim + (fed_back if hp.do_feed_factors_to_controller else 0)
        total += hp.con_dim + split_cell(code, hp.con_dim) + 2 * linear(hp.con_dim, hp.co_dim)
        total += 2 * hp.co_dim  # τ and variance of the prior
    total += split_cell(hp.co_dim + injected, hp.gen_dim) + hp.gen_dim * hp.factors_dim
    if hp.output_dist == "gaussian":
        return total + 2 * linear(hp.factors_dim, channels)
    return total + (linear(hp.factors_dim, channels) if hp.factors_dim != channels else 0)


def settings(name: str) -> HyperParameters:
    return HyperParameters(**flags.parse([f"--preset={name}"])[0])


def files() -> set[str]:
    return {path.stem for path in (ROOT / "flags" / "presets").iterdir()}


def test_every_preset_is_listed_here_and_in_the_help():
    assert files() == set(PARAMETERS) == set(flags.preset_names())
    assert all(path.suffix == ".flags" for path in (ROOT / "flags" / "presets").iterdir())
    assert all(name in flags.help_text() for name in PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_presets_are_sound(name):
    assert problems(settings(name)) == []
    text = (ROOT / "flags" / "presets" / f"{name}.flags").read_text()
    assert text.startswith("# "), "says what it is for"
    given = re.findall(r"^--(\w+)=", text, re.MULTILINE)
    assert len(given) == len(set(given)) == len([line for line in text.splitlines() if line.startswith("-")])
    assert set(given) <= {*declared(), "preset"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_presets_change_only_what_differs(name):
    text = (ROOT / "flags" / "presets" / f"{name}.flags").read_text()
    given = {line[2:].split("=")[0] for line in text.splitlines() if line.startswith("--")} - {"preset"}
    base = flags.parse(["--preset=tf1_defaults"])[0] if "--preset=tf1_defaults" in text else {}
    before, after = HyperParameters(**base), settings(name)
    unchanged = {n for n in given if getattr(before, n) == getattr(after, n)}
    # The published commands name some values that are the defaults, and keep naming them.
    assert unchanged <= {"co_dim", "ext_input_dim"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name):
    from lfads_tf2.model.lfads import LFADS
    from lfads_tf2.model.names import original_names
    from lfads_tf2.types import ModelSpec, SessionShape

    hp = settings(name)
    model = LFADS(ModelSpec(hp, BINS, (SessionShape("a", CHANNELS),)))
    sizes = {key: weight.numpy().size for key, weight in original_names(model).items()}
    assert sum(sizes.values()) == parameters(hp, CHANNELS) == PARAMETERS[name]


def test_the_originals_defaults():
    hp = settings("tf1_defaults")
    expected = {
        "gen_dim": 200, "batch_size": 128, "co_dim": 1, "l2_gen_scale": 2000.0, "l2_con_scale": 0.0,
        "kl_increase_steps": 2000, "l2_increase_steps": 2000,
    }  # fmt: skip
    assert {key: getattr(hp, key) for key in expected} == expected


@pytest.mark.parametrize(
    "name", [n for n in sorted(files()) if n not in ("lfads_torch_defaults", "lorenz", "small_data", "tf1_defaults")]
)
def test_published_examples_build_on_the_originals_defaults(name):
    assert settings(name).gen_dim == 200 and settings(name).l2_gen_scale == 2000.0
