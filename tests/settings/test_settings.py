"""Settings: the declaration, YAML and JSON, the command line, and what wins over what."""

from __future__ import annotations

import math

import pytest

import flags
from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import HyperParameters, declared, problems, value_problem
from lfads_tf2.settings.mapping import IGNORED, from_mapping, plain_name
from lfads_tf2.settings.yaml_files import read_yaml

# The hyperparameter page of the original, by kind of value. Written out here so that a lost field is noticed.
PAGE = {
    int: "max_ckpt_to_keep max_ckpt_to_keep_lve learning_rate_n_to_compare batch_size temporal_spike_jitter_width "
    "kl_start_step kl_increase_steps l2_start_step l2_increase_steps ext_input_dim co_dim controller_input_lag "
    "ci_enc_dim con_dim num_steps_for_gen_ic ic_dim ic_enc_dim gen_dim factors_dim ps_nexamples_to_process",
    float: "learning_rate_init learning_rate_decay_factor learning_rate_stop max_grad_norm cell_clip_value keep_prob "
    "l2_gen_scale l2_con_scale co_mean_corr_scale kl_ic_weight kl_co_weight prior_ar_atau prior_ar_nvar "
    "co_prior_var_scale ic_prior_var_min ic_prior_var_scale ic_prior_var_max ic_post_var_min cell_weight_scale "
    "gen_cell_input_weight_scale gen_cell_rec_weight_scale _clip_value",
    bool: "allow_gpu_growth inject_ext_input_to_gen do_train_prior_ar_atau do_train_prior_ar_nvar do_causal_controller "
    "do_feed_factors_to_controller do_train_readin do_train_io_only do_train_encoder_only do_reset_learning_rate",
    str: "kind data_dir data_filename_stem lfads_save_dir checkpoint_pb_load_name checkpoint_name output_filename_stem "
    "csv_log device feedback_factors_or_rates output_dist",
}
NUMERIC = [name for name, field in declared().items() if type(field.default) in (int, float)]


# The declaration


def test_the_page_is_declared_with_its_types():
    for kind, names in PAGE.items():
        for name in names.split():
            assert type(declared()[name].default) is kind, name


@pytest.mark.parametrize("name", declared())
def test_every_field_explains_itself(name):
    field = declared()[name]
    assert len(field.metadata["help"]) > 8 and not field.metadata["help"].endswith(".")
    assert field.metadata["section"]
    assert field.metadata.get("tuned", "once") in ("once", "sometimes", "often")
    assert type(field.default) in (bool, int, float, str)
    assert value_problem(name, field.default) is None


def test_defaults_are_those_of_the_page():
    hp = HyperParameters()
    expected = {
        "gen_dim": 100, "batch_size": 256, "co_dim": 4, "learning_rate_decay_factor": 0.95, "l2_gen_scale": 500.0,
        "l2_con_scale": 500.0, "kl_increase_steps": 900, "l2_increase_steps": 900, "factors_dim": 50, "ic_dim": 64,
        "keep_prob": 0.95, "_clip_value": 80.0, "num_steps_for_gen_ic": 4294967295, "learning_rate_stop": 1e-5,
    }  # fmt: skip
    assert {name: getattr(hp, name) for name in expected} == expected
    assert problems(hp) == []


@pytest.mark.parametrize("name", NUMERIC)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_refuse_nan_and_infinity(name, value):
    assert f"--{name} must be" in value_problem(name, value)


@pytest.mark.parametrize("name", declared())
def test_wrong_types_are_refused(name):
    kind = type(declared()[name].default)
    wrong = {
        int: [1.5, "3", True, None, [1]],
        float: ["0.1", True, None, {}],
        bool: [1, 0.0, "true", None],
        str: [1, None],
    }
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    for value in wrong[kind]:
        assert value_problem(name, value) == f"--{name} must be {words[kind]}, got {value!r}"


@pytest.mark.parametrize("name", [n for n, f in declared().items() if "choices" in f.metadata])
def test_choices(name):
    choices = declared()[name].metadata["choices"]
    assert all(value_problem(name, choice) is None for choice in choices)
    message = value_problem(name, choices[0].upper())
    assert message.startswith(f"--{name} must be one of {', '.join(choices)}, got {choices[0].upper()!r}")


@pytest.mark.parametrize("name", NUMERIC)
def test_bounds(name):
    field = declared()[name]
    kind, facts = type(field.default), field.metadata
    small = 1 if kind is int else 1e-6
    inside = {"minimum": 0, "maximum": 0, "above": small, "below": -small}
    outside = {"minimum": -small, "maximum": small, "above": 0, "below": 0}
    found = [fact for fact in inside if fact in facts]
    assert found, f"{name} has no bound at all"
    for fact in found:
        assert value_problem(name, kind(facts[fact] + inside[fact])) is None, fact
        assert f"--{name} must be" in value_problem(name, kind(facts[fact] + outside[fact])), fact


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ic_prior_var_scale": 0.05}, "prior variances must be ordered .* got 0.1, 0.05, 0.1"),
        ({"ic_prior_var_max": 0.01}, "prior variances must be ordered"),
        ({"inject_ext_input_to_gen": True}, "--inject_ext_input_to_gen needs --ext_input_dim of at least 1, got 0"),
        ({"do_train_io_only": True, "do_train_encoder_only": True}, "exclude each other"),
        ({"do_train_encoder_only": True, "ic_dim": 0}, "needs an initial-condition encoder"),
        (
            {"learning_rate_stop": 0.02},
            r"--learning_rate_stop \(0.02\) must be less than --learning_rate_init \(0.01\)",
        ),
        ({"output_dist": "gaussian", "temporal_spike_jitter_width": 1}, "needs --output_dist=poisson"),
        ({"checkpoint_name": "a/b"}, "--checkpoint_name must be a file name without folders, .* got 'a/b'"),
        ({"checkpoint_name": "x" * 300}, "--checkpoint_name must be a file name .* at most 100"),
        *(({"checkpoint_name": f"a{odd}b"}, "--checkpoint_name must be a file name") for odd in "[]*?\"'\n\\:"),
        ({"csv_log": ""}, "--csv_log must be a file name"),
        ({"csv_log": "metrics"}, "--csv_log=metrics is the name of the other log"),
    ],
)
def test_contradictions(settings, message):
    import re

    assert re.search(message, "\n".join(problems(HyperParameters(**settings))))


def test_several_problems_are_reported_together():
    found = problems(HyperParameters(gen_dim=0, keep_prob=2.0, kind="dance"))
    assert len(found) == 3
    found = problems(HyperParameters(ic_prior_var_scale=0.05, csv_log="", learning_rate_stop=1.0))
    assert len(found) == 3


# YAML


def yaml_file(tmp_path, text: str | bytes):
    path = tmp_path / "settings.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_yaml_values(tmp_path):
    text = """
        # comments and blank lines are fine
        gen_dim: 64
        c_factors_dim: 8          # the run manager's prefix
        learning_rate_stop: 1e-5  # text in YAML 1.1
        learning_rate_init: "0.004"
        keep_prob: 1
        batch_size: 32.0
        max_epochs: "12"
        do_causal_controller: true
        do_train_readin: "False"
        report: no
        csv_log: log2
        _clip_value: 60
        c_ic_dim: None
        co_dim: null
        con_dim: ~
    """
    path = yaml_file(tmp_path, "\n".join(line.strip() for line in text.splitlines()))
    values = read_yaml(path)
    assert values == {
        "gen_dim": 64, "factors_dim": 8, "learning_rate_stop": 1e-5, "learning_rate_init": 0.004, "keep_prob": 1.0,
        "batch_size": 32, "max_epochs": 12, "do_causal_controller": True, "do_train_readin": False, "report": False,
        "csv_log": "log2", "_clip_value": 60.0,
    }  # fmt: skip
    assert all(type(value) is type(declared()[name].default) for name, value in values.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gendim: 3", "unknown name 'gendim'; did you mean gen_dim?"),
        ("c_gen_dimm: 3", "unknown name 'c_gen_dimm'; did you mean c_gen_dim?"),
        ("Learning_rate: 3", "unknown name 'Learning_rate'; did you mean learning_rate_"),
        ("qqqqqq: 3", "unknown name 'qqqqqq'; lfads train --help lists all names"),
        ("3: 4", "unknown name '3'"),
        ("gen_dim: [1, 2]", "gen_dim must be a whole number, got [1, 2]"),
        ("gen_dim: 2.5", "gen_dim must be a whole number, got 2.5"),
        ("gen_dim: many", "gen_dim must be a whole number, got 'many'"),
        ("gen_dim: true", "gen_dim must be a whole number, got True"),
        ("gen_dim: 0", "gen_dim must be at least 1, got 0"),
        ("keep_prob: .nan", "keep_prob must be"),
        ("keep_prob: nan", "keep_prob must be"),
        ("learning_rate_init: .inf", "learning_rate_init must be greater than 0, got inf"),
        ("do_train_readin: 1", "do_train_readin must be true or false, got 1"),
        ("do_train_readin: maybe", "do_train_readin must be true or false, got 'maybe'"),
        (
            "output_dist: binomial",
            "output_dist must be one of poisson, gaussian, gamma, zero_inflated_gamma, got 'binomial'",
        ),
        ("data_dir: 3", "data_dir must be text, got 3"),
        ("gen_dim: 1\ngen_dim: 1", "gen_dim is given twice"),
        ("gen_dim: 1\nc_gen_dim: 2", "gen_dim is given twice, as 1 and 2"),
        ("- gen_dim", "must hold lines of the form name: value"),
        ("gen_dim", "must hold lines of the form name: value"),
        ("", "must hold lines of the form name: value, got None"),
        ("gen_dim: [", "is not readable YAML"),
        ("gen_dim: 1\n\tco_dim: 2", "is not readable YAML"),
        ("[1, 2]: 3", "is not readable YAML"),
        ("{a: 1}: 3", "is not readable YAML"),
        (b"gen_dim: \xff\xfe", "is not readable YAML"),
        (b"gen_dim: \x00", "is not readable YAML"),
        ("gen_dim: !!timestamp 2001-99-99", "is not readable YAML"),
        ("--- 1\n--- 2", "is not readable YAML"),
    ],
)
def test_yaml_refusals_name_file_key_and_value(tmp_path, text, message):
    path = yaml_file(tmp_path, text)
    with pytest.raises(SettingsError) as error:
        read_yaml(path)
    assert message in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.system ['touch {0}']", "!!python/name:os.system", "!!python/module:os", "!unknown x"],
)
def test_yaml_never_runs_code(tmp_path, tag):
    marker = tmp_path / "ran"
    path = yaml_file(tmp_path, "data_dir: " + tag.format(marker))
    with pytest.raises(SettingsError, match="is not readable YAML: could not determine a constructor"):
        read_yaml(path)
    assert not marker.exists()


def test_yaml_not_there_or_a_folder(tmp_path):
    with pytest.raises(SettingsError, match=r"--config: there is no file .*gone.yaml"):
        read_yaml(tmp_path / "gone.yaml")
    with pytest.raises(SettingsError, match=r"is not readable YAML: .*directory"):
        read_yaml(tmp_path)


def test_yaml_lists_all_problems(tmp_path):
    with pytest.raises(SettingsError) as error:
        read_yaml(yaml_file(tmp_path, "gen_dimm: 3\nkeep_prob: 3\nco_dim: -1"))
    assert len(error.value.problems) == 3


def test_the_neurocaas_configuration(tmp_path):
    text = """
kind: posterior_sample_and_average
data_dir: /data/
lfads_save_dir: None
data_filename_stem: lfads
output_filename_stem: ""
checkpoint_pb_load_name: checkpoint
checkpoint_name: lfads_vae
csv_log: fitlog
output_dist: poisson
_clip_value: 80
device: "/gpu:0"
allow_gpu_growth: false
ps_nexamples_to_process: 1e8
max_ckpt_to_keep: 5
learning_rate_stop: 1e-05
num_steps_for_gen_ic: 4294967295
ic_prior_var_min: None
do_train_io_only: false
tf_debug_cli: false
debug_verbose: false
"""
    values = read_yaml(yaml_file(tmp_path, text.replace("1e8", "100000000")))
    assert values["kind"] == "posterior_sample_and_average"
    assert values["_clip_value"] == 80.0 and values["device"] == "/gpu:0" and values["checkpoint_name"] == "lfads_vae"
    assert values["ps_nexamples_to_process"] == 100000000 and values["learning_rate_stop"] == 1e-5
    assert not {"lfads_save_dir", "ic_prior_var_min", "tf_debug_cli", "debug_verbose"} & set(values)


# The command line


def given(*argv):
    return flags.parse(list(argv))[0]


def test_only_what_is_given_is_returned():
    assert given() == {}
    assert given("--gen_dim=100") == {"gen_dim": 100}


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--gen_dim=7", {"gen_dim": 7}),
        ("-gen_dim=7", {"gen_dim": 7}),
        ("--c_gen_dim=7", {"gen_dim": 7}),
        ("--keep_prob=1", {"keep_prob": 1.0}),
        ("--learning_rate_stop=1e-5", {"learning_rate_stop": 1e-5}),
        ("--do_causal_controller", {"do_causal_controller": True}),
        ("--nodo_train_readin", {"do_train_readin": False}),
        ("--c_do_train_readin=False", {"do_train_readin": False}),
        ("--_clip_value=60", {"_clip_value": 60.0}),
        ("--c__clip_value=60", {"_clip_value": 60.0}),
        ("--output_filename_stem=", {"output_filename_stem": ""}),
    ],
)
def test_forms_of_flags(argument, expected):
    assert given(argument) == expected


def test_values_may_follow_as_arguments_of_their_own():
    assert given("--gen_dim", "7", "--kind", "train") == {"gen_dim": 7, "kind": "train"}


def test_command_line_over_config_over_preset(tmp_path):
    path = yaml_file(tmp_path, "gen_dim: 11\nfactors_dim: 12\nic_dim: None\n")
    preset, config = "--preset=tf1_defaults", f"--config={path}"
    assert given(preset)["gen_dim"] == 200
    assert given(config) == {"gen_dim": 11, "factors_dim": 12}
    for order in ((preset, config, "--gen_dim=10"), ("--c_gen_dim=10", config, preset)):
        values = given(*order)
        assert values["gen_dim"] == 10, "the command line wins"
        assert values["factors_dim"] == 12, "then the configuration file"
        assert values["l2_gen_scale"] == 2000.0, "then the preset"
        assert "ic_dim" not in values
    assert given(preset, config)["gen_dim"] == 11


def test_flag_files_are_like_the_command_line(tmp_path):
    (tmp_path / "a.flags").write_text("# comment\n--gen_dim=9\n--c_co_dim=2\n")
    assert given(f"--flagfile={tmp_path / 'a.flags'}") == {"gen_dim": 9, "co_dim": 2}


# What the run manager writes for its parameters, its debug flags included (which must change nothing).
RUN_MANAGER_LINE = [
    "--allow_gpu_growth=true", "--max_ckpt_to_keep=5", "--max_ckpt_to_keep_lve=5", "--device=/gpu:0",
    "--learning_rate_init=0.010000000", "--learning_rate_decay_factor=0.980000000", "--learning_rate_n_to_compare=6",
    "--learning_rate_stop=0.000010000", "--max_grad_norm=200.000000000", "--batch_size=150",
    "--cell_clip_value=5.000000000", "--temporal_spike_jitter_width=0", "--keep_prob=0.950000000",
    "--l2_gen_scale=500.000000000", "--l2_con_scale=500.000000000", "--co_mean_corr_scale=0.000000000",
    "--kl_ic_weight=1.000000000", "--kl_co_weight=1.000000000", "--kl_start_step=0", "--kl_increase_steps=900",
    "--l2_start_step=0", "--l2_increase_steps=900", "--ext_input_dim=0", "--inject_ext_input_to_gen=false",
    "--co_dim=0", "--prior_ar_atau=10.000000000", "--do_train_prior_ar_atau=true", "--prior_ar_nvar=0.100000000",
    "--do_train_prior_ar_nvar=true", "--do_causal_controller=false", "--do_feed_factors_to_controller=true",
    "--feedback_factors_or_rates=factors", "--controller_input_lag=1", "--ci_enc_dim=128", "--con_dim=128",
    "--co_prior_var_scale=0.100000000", "--num_steps_for_gen_ic=4294967295", "--ic_dim=64", "--ic_enc_dim=64",
    "--ic_prior_var_min=0.100000000", "--ic_prior_var_scale=0.100000000", "--ic_prior_var_max=0.100000000",
    "--ic_post_var_min=0.000100000", "--cell_weight_scale=1.000000000", "--gen_dim=64",
    "--gen_cell_input_weight_scale=1.000000000", "--gen_cell_rec_weight_scale=1.000000000", "--factors_dim=8",
    "--output_dist=poisson", "--do_train_readin=true",
]  # fmt: skip
DEBUG_LINE = [
    "--tf_debug_cli=false", "--tf_debug_tensorboard=false", "--tf_debug_tensorboard_hostport=localhost:6064",
    "--debug_verbose=false", "--debug_print_each_step=false",
]  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "c_"])
def test_run_manager_command_lines(prefix):
    files = ["--data_dir=/d", "--data_filename_stem=lfads", "--lfads_save_dir=/s", "--kind=train"]
    parameters = [f"--{prefix}{argument[2:]}" for argument in RUN_MANAGER_LINE + DEBUG_LINE]
    values, ignored = flags.parse(files + parameters)
    assert len(values) == len(files) + len(RUN_MANAGER_LINE)
    assert values["gen_dim"] == 64 and values["inject_ext_input_to_gen"] is False and values["batch_size"] == 150
    assert ignored == [argument[2:].split("=")[0] for argument in IGNORED_ORDER]
    assert problems(HyperParameters(**values)) == []


IGNORED_ORDER = [line for name in IGNORED for line in DEBUG_LINE if line[2:].split("=")[0] == name]


@pytest.mark.parametrize("name", [n for n in declared() if n not in ("kind",)])
def test_every_name_has_its_prefixed_alias(name):
    default = declared()[name].default
    text = str(default).lower() if isinstance(default, bool) else str(default)
    assert given(f"--c_{name}={text}") == {name: default}
    assert plain_name(f"c_{name}") == name


@pytest.mark.parametrize("name", ["tf_debug_cli", "tf_debug_tensorboard", "debug_verbose", "debug_print_each_step"])
def test_boolean_debug_flags_take_no_value_from_the_next_argument(name):
    for form in (f"--{name}", f"--no{name}", f"--{name}=true", f"--c_{name}"):
        assert flags.parse([form, "--gen_dim=7"]) == ({"gen_dim": 7}, [name]), form


@pytest.mark.parametrize("name", IGNORED)
def test_debug_names_in_a_mapping_are_passed_over(name):
    assert from_mapping({name: False, f"c_{name}": None}, "here") == {}
