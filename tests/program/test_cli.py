"""The command line as a person meets it: what is refused, how, and that nothing is left behind."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from data.malformed import MALFORMED, good, write_session

import run_lfads

MOST_LINES = 40
LONGEST_LINE = 2000


def tree(folder: Path) -> dict[str, object]:
    """Everything below a folder: size, time and kind of each entry; links are not followed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        found[str(path.relative_to(folder))] = (facts.st_mode, facts.st_size, facts.st_mtime_ns)
    return found


def refused(capsys, *argv: str) -> str:
    """Runs a command that must be refused with exit code 2, one screen on stderr and no traceback; that text."""
    code = run_lfads.main([str(argument) for argument in argv])
    out, err = capsys.readouterr()
    assert code == 2, f"exit code {code}: {err}"
    assert "Traceback" not in out + err
    assert err.startswith("run_lfads.py: error:\n")
    lines = err.splitlines()
    assert 2 <= len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= LONGEST_LINE
    return err


def test_there_are_enough_malformed_folders():
    assert len({case.name for case in MALFORMED}) == len(MALFORMED) >= 40


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.name)
def test_malformed_data(case, tmp_path, capsys):
    data = tmp_path / "data"
    case.write(str(data))
    before = tree(tmp_path)
    settings = [f"--{name}={value}" for name, value in case.settings.items()]
    message = refused(capsys, "--kind=train", f"--data_dir={data}", *settings)
    assert re.search(case.message, message, re.DOTALL), message
    assert tree(tmp_path) == before
    assert not (data / "lfads_output").exists()


@pytest.fixture
def data(tmp_path) -> Path:
    write_session(str(tmp_path / "data"), **good())
    return tmp_path / "data"


# Flags, and what must be said about them.
BAD_FLAGS = [
    (["--gen_dimm=3"], r"unknown flag --gen_dimm; did you mean --gen_dim\?"),
    (["--c_gen_dimm=3"], r"unknown flag --c_gen_dimm; did you mean --gen_dim\?"),
    (["--GEN_DIM=3"], r"unknown flag --GEN_DIM; did you mean --gen_dim\?"),
    (["--learning_rate=0.1"], r"unknown flag --learning_rate; did you mean --learning_rate_\w+\?"),
    (["--batchsize=3"], r"did you mean --batch_size\?"),
    (["--datadir=x"], r"did you mean --data_dir\?"),
    (["--epochs=3"], r"did you mean --max_epochs\?"),
    (["--noreports"], r"unknown flag --noreports; did you mean --report\?"),
    (["--zzzzzzz"], r"unknown flag --zzzzzzz \(--help lists all flags\)"),
    (["more"], r"unexpected argument 'more': settings are given as --name=value"),
    (["--report", "false"], r"unexpected argument 'false'"),
    (["--gen_dim=many"], r"--gen_dim=many.*invalid literal"),
    (["--gen_dim=1.5"], r"--gen_dim=1\.5"),
    (["--gen_dim="], r"--gen_dim"),
    (["--report=maybe"], r"--report=maybe"),
    (["--kind"], r"[Mm]issing value for flag --kind"),
    (["--gen_dim=0"], r"--gen_dim must be at least 1, got 0"),
    (["--co_dim=-1"], r"--co_dim must be at least 0, got -1"),
    (["--keep_prob=0"], r"--keep_prob must be greater than 0, got 0\.0"),
    (["--keep_prob=1.01"], r"--keep_prob must be at most 1, got 1\.01"),
    (["--keep_prob=nan"], r"--keep_prob must be .*, got nan"),
    (["--l2_gen_scale=inf"], r"--l2_gen_scale must be at least 0, got inf"),
    (["--learning_rate_decay_factor=1"], r"must be less than 1, got 1\.0"),
    (["--seed=-2"], r"--seed must be at least -1, got -2"),
    (["--seed=4294967296"], r"--seed must be at most 2147483647"),
    (["--learning_rate_n_to_compare=0"], r"must be at least 1, got 0"),
    (["--kind=dance"], r"--kind must be one of train, posterior_sample_and_average.*got 'dance'"),
    (["--output_dist=Poisson"], r"--output_dist must be one of poisson, gaussian, gamma.*, got 'Poisson'"),
    (["--gen_dim=0", "--keep_prob=3"], r"(?s)--gen_dim must be.*--keep_prob must be"),
    (["--ic_prior_var_min=0.2"], r"ic_prior_var_min <= --ic_prior_var_scale .*got 0\.2, 0\.1, 0\.1"),
    (["--inject_ext_input_to_gen"], r"needs --ext_input_dim of at least 1"),
    (["--do_train_io_only", "--do_train_encoder_only"], r"exclude each other"),
    (["--learning_rate_init=1e-6"], r"--learning_rate_stop .*must be less than"),
    (["--output_dist=gaussian", "--temporal_spike_jitter_width=2"], r"needs --output_dist=poisson"),
    (["--augmentations=dropout"], r"--augmentations must name .* or a class, module:Class, got 'dropout'"),
    (["--augmentations=gone:Own"], r"--augmentations=gone:Own: cannot import gone"),
    (["--output_dist=gone:Own"], r"--output_dist=gone:Own: cannot import gone"),
    (["--co_prior=gone:Own"], r"--co_prior=gone:Own: cannot import gone"),
    (["--cd_rate=1"], r"--cd_rate must be less than 1, got 1\.0"),
    (["--ic_enc_seq_len=2", "--num_steps_for_gen_ic=3"], r"exclude each other"),
    (["--kl_increase_epochs=-1"], r"--kl_increase_epochs must be at least 0"),
    (["--csv_log=../log"], r"--csv_log must be a file name without folders, .*got '\.\./log'"),
    (["--preset=lorentz"], r"--preset must be one of .*lorenz.*got 'lorentz'"),
    (["--preset=../presets/lorenz"], r"--preset must be one of"),
    (["--config=gone.yaml"], r"--config: there is no file gone\.yaml"),
    (["--flagfile=gone.flags"], r"gone\.flags"),
    (
        ["--kind=posterior_push_mean"],
        r"no trained model in .*lfads_output; train one: lfads train .* \(run_lfads.py: --kind=train\)",
    ),
    (["--kind=posterior_sample_and_average"], r"no trained model in"),
    (["--kind=prior_sample"], r"no trained model in"),
    (["--kind=write_model_params"], r"no trained model in"),
    (["--ext_input_dim=2"], r"train_ext_input: missing, but --ext_input_dim=2"),
    (["--controller_input_lag=5"], r"trials have only 5 bins"),
    (["--data_filename_stem=other"], r"no file is called other_<session>"),
]


@pytest.mark.parametrize(("argv", "message"), BAD_FLAGS, ids=[" ".join(argv) for argv, _ in BAD_FLAGS])
def test_bad_flags(argv, message, data, capsys):
    before = tree(data.parent)
    kind = [] if any(argument.startswith("--kind") for argument in argv) else ["--kind=train"]
    assert re.search(message, refused(capsys, *kind, f"--data_dir={data}", *argv))
    assert tree(data.parent) == before


def test_no_flags_at_all(capsys):
    assert "no data folder is given: lfads train DATA (or --data_dir=DATA)" in refused(capsys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gen_dimm: 3", r"unknown name 'gen_dimm'; did you mean gen_dim\?"),
        ("gen_dim: 0", r"gen_dim must be at least 1, got 0"),
        ("gen_dim: 2\nic_prior_var_min: 0.3", r"prior variances must be ordered"),
        ("- a", r"must hold lines of the form name: value"),
        ("data_dir: !!python/object/apply:os.getcwd []", r"is not readable YAML"),
        ("kind: posterior_push_mean", r"no trained model in"),
    ],
)
def test_bad_configuration_files(text, message, data, capsys):
    config = data.parent / "settings.yaml"
    config.write_text(text)
    before = tree(data.parent)
    assert re.search(message, refused(capsys, f"--data_dir={data}", f"--config={config}"))
    assert tree(data.parent) == before


def test_a_run_folder_that_cannot_be_made(data, capsys):
    (data.parent / "file").write_text("not a folder")
    before = tree(data.parent)
    argv = ["--kind=train", f"--data_dir={data}", f"--lfads_save_dir={data.parent / 'file' / 'run'}", "--device=cpu:0"]
    message = refused(capsys, *argv)
    assert re.search(r"--lfads_save_dir: cannot make the folder .*file/run: Not a directory", message)
    assert tree(data.parent) == before


@pytest.mark.parametrize("kind", ["train", "posterior_push_mean"])
def test_model_files_that_are_none(kind, data, capsys):
    (data.parent / "text").write_text("no model")
    for name, words in (("text", "which is neither"), ("gone", "which is not there")):
        argv = [f"--kind={kind}", f"--data_dir={data}", f"--model_params_file={data.parent / name}", "--gen_dim=4"]
        message = refused(capsys, *argv, "--device=cpu:0")
        assert "--model_params_file must be a model_params HDF5 file or the prefix of" in message and words in message
        assert not (data / "lfads_output").exists(), "a refused model leaves nothing behind"


@pytest.mark.parametrize("form", ["--help", "-h", "--helpfull", "--helpshort"])
def test_help(form, capsys):
    assert run_lfads.main([form]) == 0
    out = capsys.readouterr().out
    for name in ("kind", "data_dir", "gen_dim", "learning_rate_stop", "_clip_value"):
        assert f"--{name}=" in out
    for preset in ("tf1_defaults", "lorenz"):
        assert preset in out
    assert max(map(len, out.splitlines())) <= 130


def test_ignored_flags_are_said_once(capsys, caplog, tmp_path):
    caplog.set_level(logging.INFO, "lfads_tf2")
    debug = ["--tf_debug_cli=false", "--debug_verbose=false", "--tf_debug_dump_root=x"]
    refused(capsys, f"--data_dir={tmp_path / 'gone'}", *debug)
    said = [record.getMessage() for record in caplog.records if "Ignored" in record.getMessage()]
    assert said == [
        "Ignored, as they only changed how the original was debugged: --tf_debug_cli, --tf_debug_dump_root, "
        "--debug_verbose"
    ]


LIGHT = """
import sys
import run_lfads
codes = [run_lfads.main(argv) for argv in (["--help"], ["--gen_dimm=3"], ["--data_dir=/nowhere/at/all"])]
heavy = {"tensorflow", "keras", "tensorflow_probability", "matplotlib", "tf_keras"} & set(sys.modules)
print(codes, sorted(heavy))
"""


def test_help_and_mistakes_do_not_load_tensorflow():
    done = subprocess.run([sys.executable, "-c", LIGHT], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[0, 2, 2] []"
    assert "did you mean --gen_dim?" in done.stderr


def test_a_mistyped_flag_as_a_program():
    command = [sys.executable, "-X", "importtime", str(ROOT / "run_lfads.py"), "--gen_dimm=3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "did you mean --gen_dim?" in done.stderr
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "lfads_tf2.settings.combination" in imported
    assert not {"tensorflow", "keras", "numpy", "h5py"} & imported
