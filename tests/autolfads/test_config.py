"""The configuration of a search: what it may hold, and what is said about what it may not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from lfads_tf2.autolfads.config import config_from, with_data
from lfads_tf2.autolfads.files import preset_names, read_config, read_preset
from lfads_tf2.errors import SettingsError

RANGE = {"min": 0.1, "max": 1.0}


def pbt(**entries):
    """A valid configuration with these entries of the section replaced."""
    return {"pbt": {"hps": {"kl_ic_weight": RANGE}, "burn_in_period": 10, "max_epochs": 100} | entries}


def hps(**entry):
    return pbt(hps={"kl_ic_weight": RANGE | entry})


MALFORMED = {
    "pbt is a list": ({"pbt": [1]}, "pbt must hold lines of the form name: value"),
    "unknown option": (pbt(num_worker=3), "unknown name 'pbt.num_worker'; did you mean num_workers"),
    "unknown hyperparameter": ({**pbt(), "gen_dims": 3}, "unknown name 'gen_dims'; did you mean gen_dim"),
    "fraction of a worker": (pbt(num_workers=2.5), "pbt.num_workers must be a whole number, got 2.5"),
    "one worker": (pbt(num_workers=1), "num_workers must be at least 2 for pbt"),
    "no worker": (pbt(num_workers=0), "pbt.num_workers must be at least 1, got 0"),
    "workers in words": (pbt(num_workers="many"), "pbt.num_workers must be a whole number, got 'many'"),
    "interval of zero": (pbt(perturbation_interval=0), "pbt.perturbation_interval must be at least 1, got 0"),
    "negative burn-in": (pbt(burn_in_period=-1), "pbt.burn_in_period must be at least 0, got -1"),
    "burn-in to the end": (pbt(burn_in_period=100), r"burn_in_period \(100\) must be less than max_epochs \(100\)"),
    "no epochs": (pbt(max_epochs=0), "pbt.max_epochs must be at least 1, got 0"),
    "ratio above one": (pbt(min_improvement_ratio=2), "pbt.min_improvement_ratio must be less than 1, got 2"),
    "ratio not a number": (pbt(min_improvement_ratio=".nan"), "min_improvement_ratio must be a number"),
    "negative patience": (pbt(patience=-3), "pbt.patience must be at least 0, got -3"),
    "unknown metric": (pbt(metric="valid/r2"), "pbt.metric must be one of auto, valid/held_out_bps"),
    "smoothing of one": (pbt(smoothing=1), "pbt.smoothing must be less than 1, got 1"),
    "unknown exploit": (pbt(exploit="roulette"), "pbt.exploit must be one of tournament, truncation, got 'roulette'"),
    "unknown search": (pbt(search="grid"), "pbt.search must be one of pbt, random"),
    "resources a number": (pbt(resources_per_worker=2), "resources_per_worker takes cpu and gpu"),
    "unknown resource": (pbt(resources_per_worker={"tpu": 1}), "resources_per_worker takes cpu and gpu"),
    "no cpu": (pbt(resources_per_worker={"cpu": 0}), "resources_per_worker.cpu must be greater than 0, got 0"),
    "true for a number": (pbt(patience=True), "pbt.patience must be a whole number, got True"),
    "no searched one": ({"pbt": {}}, "pbt.hps names no hyperparameter to search"),
    "hps a list": (pbt(hps=["kl_ic_weight"]), "pbt.hps must map names to ranges"),
    "searched unknown": (pbt(hps={"kl_ic_wait": RANGE}), "unknown hyperparameter; did you mean kl_ic_weight"),
    "searched fixed": (pbt(hps={"gen_dim": RANGE}), "gen_dim cannot change while a model trains"),
    "range a number": (pbt(hps={"kl_ic_weight": 3}), "kl_ic_weight must hold min and max"),
    "no max": (pbt(hps={"kl_ic_weight": {"min": 1}}), "kl_ic_weight.max is missing"),
    "min above max": (hps(min=2), "min must not be above max, got 2 and 1"),
    "min in words": (hps(min="low"), "kl_ic_weight.min must be a finite number, got 'low'"),
    "max infinite": (hps(max=float("inf")), "kl_ic_weight.max must be a finite number, got inf"),
    "log from zero": (hps(min=0, dist="loguniform"), "loguniform needs a min greater than 0"),
    "randint of fractions": (hps(dist="randint"), "randint needs whole numbers"),
    "unknown distribution": (hps(dist="normal"), "dist must be one of loguniform, uniform, randint, got 'normal'"),
    "init outside": (hps(init=3), "init must lie between min and max"),
    "init reversed": (hps(init=[0.9, 0.2]), r"init must be a number or \[low, high\]"),
    "init of three": (hps(init=[0.2, 0.3, 0.4]), r"init must be a number or \[low, high\]"),
    "no move": (hps(explore_weight=0), "explore_weight must be greater than 0 and less than 1, got 0"),
    "limits in words": (hps(enforce_limits="yes"), "enforce_limits must be true or false, got 'yes'"),
    "unknown key": (hps(minimum=1), "unknown key 'minimum'; did you mean min"),
    "impossible dropout": (pbt(hps={"dropout_rate": {"min": 0, "max": 1}}), "keep_prob must be greater than 0"),
    "impossible rate": (pbt(hps={"learning_rate_init": {"min": 0, "max": 1}}), "learning_rate_init must be greater"),
    "twice by two names": (
        pbt(hps={"keep_prob": RANGE, "dropout_rate": {"min": 0, "max": 0.5}}), "sets keep_prob under two names",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name, tmp_path):
    content, message = MALFORMED[name]
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(SettingsError, match=message) as caught:
        read_config(path)
    assert "search.yaml" in str(caught.value)


def test_all_problems_come_at_once():
    with pytest.raises(SettingsError) as caught:
        config_from({"gen_dim": 0, "pbt": {"num_workers": 0, "hps": {"kl_ic_weight": {"min": 3}}}}, "here")
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "pbt:\n  hps:\n   x: 1\n   x: 2", ""])
def test_not_a_mapping(text, tmp_path):
    (tmp_path / "search.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"search\.yaml"):
        read_config(tmp_path / "search.yaml")


@pytest.mark.parametrize("name", preset_names())
def test_presets(name):
    config = read_preset(name)
    ranges = {one.name: (one.minimum, one.maximum) for one in config.searched}
    assert ranges["learning_rate_init"] == (1e-5, 5e-3)
    assert ranges["dropout_rate"] == (0, 0.6)
    assert config.options.num_workers == 20
    search = with_data(config, 100, 30, 7)
    assert search.hyperparameters.kl_increase_steps == 80 * 7
    scaled = {one.name: (one.minimum, one.maximum) for one in search.searched}
    assert scaled["kl_co_weight"] == (1e-6, 1e-4)
    assert scaled["learning_rate_init"] == (1e-5, 5e-3)


def test_numbers_that_yaml_takes_for_text(tmp_path):
    (tmp_path / "a.yaml").write_text("pbt:\n  hps:\n    l2_gen_scale: {min: 1e-4, max: 1e0, dist: loguniform}\n")
    assert read_config(tmp_path / "a.yaml").searched[0].minimum == 1e-4


def test_names_of_the_run_manager_and_the_models_own_epochs():
    config = config_from(pbt(max_epochs=None) | {"max_epochs": 77, "c_gen_dim": 9}, "here")
    assert config.options.max_epochs == 77
    assert config.given["gen_dim"] == 9


NEUROCAAS = {
    "seed": None,
    "model": {
        "_target_": "a.b.LFADS", "encod_data_dim": 7, "encod_seq_len": 9, "recon_seq_len": 9, "gen_dim": 12,
        "fac_dim": 5,
        "ci_lag": 1, "readout": {"modules": [{"_target_": "c", "in_features": "${model.fac_dim}", "out_features": 7}]},
        "ic_prior": {"mean": 0, "variance": 0.2}, "co_prior": {"tau": 8.0, "nvar": 0.1}, "dropout_rate": 0.25,
        "l2_gen_scale": 0.01, "kl_increase_epoch": 60, "lr_adam_epsilon": 1e-8, "l2_ic_enc_scale": 0.5, "co_dim": 2,
    },
    "datamodule": {"_target_": "d", "batch_size": 16, "data_paths": ["${relpath:x.h5}"]},
    "trainer": {"max_epochs": 500, "gradient_clip_val": 150},
    "callbacks": {"raster_plot": {"log_every_n_epochs": 200}},
    "pbt": {
        "metric": "valid/recon_smth", "num_samples": 16, "perturbation_interval": 20, "burn_in_period": 80,
        "resources_per_trial": {"cpu": 2, "gpu": 0.5}, "quantile_fraction": 0.25, "surprise": 3,
        "hps": {
            "model.lr_init": {"init_range": [4e-3, 4e-3], "resamp_range": [1e-4, 5e-3], "dist": "loguniform"},
            "model.dropout_rate": {"min": 0.0, "max": 0.2, "explore_wt": 0.3, "sample_fn": "uniform"},
            "model.kl_co_scale": {"init_range": [1e-6, 1e-3], "resamp_range": [1e-6, 1e-3], "dist": "loguniform"},
            "model.weight_decay": {"init_range": [1e-10, 1e-2], "resamp_range": [1e-10, 1e-2], "dist": "loguniform"},
        },
    },
}  # fmt: skip


def test_neurocaas(tmp_path):
    path = Path(tmp_path / "pbt_neurocaas.yaml")
    path.write_text(yaml.safe_dump(NEUROCAAS))
    config = read_config(path)
    assert config.options.num_workers == 16
    assert (config.options.cpu, config.options.gpu, config.options.max_epochs) == (2, 0.5, 500)
    (note,) = config.notes
    assert "pbt.surprise=3" in note
    assert "lr_adam" not in note and "callbacks" not in note and "_target_" not in note
    search = with_data(config, 9, 7, 3)
    hp = search.hyperparameters
    assert (hp.gen_dim, hp.factors_dim, hp.batch_size, hp.max_grad_norm, hp.co_dim) == (12, 5, 16, 150, 2)
    assert (hp.keep_prob, hp.ic_prior_var_min, hp.prior_ar_atau) == (0.8, 0.2, 8.0)
    assert (hp.l2_gen_scale, hp.recon_reduce, hp.l2_ic_enc_scale, hp.adam_epsilon) == (0.01, "mean", 0.5, 1e-8)
    assert hp.kl_increase_epochs == 60
    ranges = {one.name: one for one in search.searched}
    assert ranges["learning_rate_init"].init == (4e-3, 4e-3)
    assert ranges["dropout_rate"].explore_weight == 0.3
    assert ranges["kl_co_weight"].maximum == 1e-3
    assert ranges["weight_decay"].minimum == 1e-10


def test_neurocaas_against_other_data(tmp_path):
    path = Path(tmp_path / "a.yaml")
    path.write_text(yaml.safe_dump(NEUROCAAS))
    with pytest.raises(SettingsError) as caught:
        with_data(read_config(path), 10, 8, 3)
    text = str(caught.value)
    assert "model.encod_data_dim is 7, but the data have 8 encoded channels" in text
    assert "model.readout.modules.0.out_features is 7" in text
    assert "model.recon_seq_len is 9, but the data have 10 bins" in text


def test_limits_that_are_not_enforced_are_still_possible_values():
    (one,) = config_from(hps(enforce_limits=False, min=0.5), "here").searched
    assert one.allowed(3.0)
    assert not one.allowed(-1e-3)
    assert not dataclasses.replace(one, enforce_limits=True).allowed(3.0)


def test_weights_per_entry():
    hps = {"kl_ic_weight": {"min": 1e-6, "max": 1e-3, "init": 1e-4, "dist": "loguniform", "per_entry": True}}
    config = config_from(pbt(hps=hps), "here")
    (one,) = with_data(config, 100, 30, 7).searched
    assert (one.minimum, one.maximum, *one.init) == pytest.approx((3e-3, 3.0, 0.3, 0.3))
    (one,) = with_data(dataclasses.replace(config, given={"recon_reduce": "mean"}), 100, 30, 7).searched
    assert one.maximum == 1e-3


def test_settings_that_go_with_a_searched_one():
    hps = {"cd_rate": {"min": 0.1, "max": 0.7}, "dropout_rate": {"min": 0, "max": 0.6}}
    content = pbt(hps=hps) | {"augmentations": "coordinated_dropout", "cd_pass_rate": 0.1}
    search = with_data(config_from(content, "here"), 9, 7, 3)
    assert search.hyperparameters.cd_rate == 0.7
    with pytest.raises(SettingsError, match="cd_pass_rate is a part of coordinated dropout"):
        with_data(config_from(pbt() | {"cd_pass_rate": 0.1}, "here"), 9, 7, 3)
