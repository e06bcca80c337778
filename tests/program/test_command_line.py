"""``lfads`` and its subcommands: what there is, what is refused, and how failures end."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
from conftest import ROOT
from small_runs import SMALL, write_spikes

from lfads_tf2.errors import LFADSError, SettingsError
from lfads_tf2.program import command_line
from lfads_tf2.program.command_line import COMMANDS, main, run_lfads
from lfads_tf2.program.screen import dispensable_messages
from lfads_tf2.settings import flags
from lfads_tf2.settings.arguments import Arguments, as_declared


def lfads(*arguments, **options) -> subprocess.CompletedProcess:
    """``python -m lfads_tf2`` in a process of its own."""
    command = [sys.executable, "-m", "lfads_tf2", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | options.pop("env", {})
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, **options)


def test_the_overview_names_every_command(capsys):
    for words in ([], ["--help"]):
        assert main(words) == 0
        out = capsys.readouterr().out
        assert all(f"  {name}" in out for name in COMMANDS)
        assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    try:
        assert main([name, "--help"]) == 0
    except SystemExit as end:  # as argparse ends
        assert end.code == 0
    assert f"lfads {name}" in capsys.readouterr().out


def test_help_of_inference_shows_what_inference_reads(capsys):
    main(["infer", "--help"])
    infer = capsys.readouterr().out
    main(["train", "--help"])
    train = capsys.readouterr().out
    assert "--num_samples_posterior=" in infer and "--batch_size=" in infer and "--gen_dim=" not in infer
    assert "--kind=" not in infer + train
    assert train.index("--co_dim=") < train.index("\nrun:")
    assert train.count("--co_dim=") == 1


def test_mistakes(capsys):
    for words, said in (
        (["trian"], "there is no command 'trian'; did you mean train?"),
        (["train", "--gen_dimm=3"], "did you mean --gen_dim?"),
        (["train", "a", "b"], "unexpected argument 'b'"),
        (["train", "a", "--data_dir=b"], "unexpected argument 'a'"),
        (["infer", "--kind=train", "a"], "--kind=train contradicts the command"),
        (["infer", "nodir"], "--data_dir=nodir: there is no such folder"),
        (["infer"], "no data folder is given: lfads infer DATA"),
        (["train"], "no data folder is given: lfads train DATA"),
        (["train", "--preset=small_dat", "a"], "did you mean small_data?"),
        (["simulate", "lorentz"], "SYSTEM must be one of lorenz, chaotic-rnn, got 'lorentz'; did you mean lorenz?"),
        (["simulate", "lorenz", "--sesions=2"], "unknown option --sesions; did you mean --sessions?"),
        (["simulate", "chaotic-rnn", "--preset=itb_rn"], "did you mean itb_rnn?"),
        (["train", "a", "--output_dist=posson"], "did you mean poisson?"),
        (["--kind=trian", "--data_dir=a"], "did you mean train?"),
        (["auto", "a", "--preset=smal"], "did you mean small?"),
        (["auto", "a", "--preset=small", "--population_mode=batch"], "did you mean batched?"),
        (["benchmark", "--shape=LLL"], "argument --shape: invalid choice: 'LLL'"),
        (["benchmark", "--steps=0"], "argument --steps: must be at least 1, got '0'"),
        (["evaluate", "--dta=x"], "unknown option --dta; did you mean --data?"),
        (["add-session", "--model_dir=x"], "required: --data_dir"),
        (["online", "x", "--stdinn"], "unknown option --stdinn; did you mean --stdin?"),
        (["import", "x", "--chp=3"], "unknown option --chp; did you mean --chop?"),
        (["runs", "run", "x", "--max_paralel=2"], "did you mean --max_parallel?"),
        (["auto", "a", "--data_dir=b", "--preset=small"], "unexpected argument 'a' beside --data_dir"),
    ):
        assert main(words) == 2, words
        assert said in capsys.readouterr().err, words


def test_the_original_program_knows_the_subcommands_too(capsys):
    assert run_lfads(["trian"]) == 2 and "unexpected argument 'trian'" in capsys.readouterr().err
    assert run_lfads(["train", "--gen_dimm=3"]) == 2 and capsys.readouterr().err.startswith("lfads train: error")


def test_dashes_and_underscores_are_the_same(capsys, monkeypatch):
    """In every option of every command; what differs beyond that is refused under the name that was typed."""
    given, _ = flags.parse(
        ["a", "--gen-dim=3", "--c-factors_dim", "4", "--noallow-gpu-growth", "--ps-nexamples_to-process=2"], "train"
    )
    assert given == {"data_dir": "a", "gen_dim": 3, "factors_dim": 4, "allow_gpu_growth": False, "kind": "train",
                     "ps_nexamples_to_process": 2}  # fmt: skip
    parsers: list[Arguments] = []

    def parse_known_args(parser, args, namespace=None):
        parsers.append(parser)
        raise SettingsError(["not now"])

    with monkeypatch.context() as patch:
        patch.setattr(Arguments, "parse_known_args", parse_known_args)
        for words in (["simulate", "lorenz"], ["simulate", "chaotic-rnn"], *([name] for name in COMMANDS)):
            main(words)
    kinds = ["train", "infer", "push-mean", "sample", "export-params"]
    assert len(parsers) == len(COMMANDS) + 1 - len(kinds)
    for parser in parsers:
        names = [option for option in parser.options() if option.startswith("--")]
        assert as_declared([name.replace("_", "-") + "=x_y" for name in names], names) == [f"{n}=x_y" for n in names]
        assert as_declared(["--" + name[2:].replace("-", "_") for name in names], names) == names
    capsys.readouterr()
    assert main(["import", "nowhere.nwb", "-o", "x", "--bin_ms", "20", "--min_rate=1"]) == 2
    assert "there is no file or folder nowhere.nwb" in capsys.readouterr().err
    assert main(["export", "nowhere", "--to=npz", "--bin-ms=20", "--data-dir=x"]) == 2
    assert "nowhere: there is no such folder" in capsys.readouterr().err
    assert main(["train", "a", "--gen-dimm=3"]) == 2 and "unknown flag --gen-dimm" in capsys.readouterr().err
    assert as_declared(["a_b", "-o_o", "--bin_ms", "--", "--bin_ms"], ["--bin-ms"]) == [
        "a_b", "-o_o", "--bin-ms", "--", "--bin_ms"
    ]  # fmt: skip


def test_a_whole_run_by_its_subcommands(tmp_path):
    write_spikes(tmp_path / "data" / "a.h5")
    small = [flag for flag in SMALL if not flag.startswith("--noreport")]
    for command in (["train", "data", *small, "--max_epochs=2"], ["infer", "data"], ["push-mean", "data"],
                    ["sample", "data"], ["export-params", "data"]):  # fmt: skip
        done = lfads(*command, "--device=cpu:0", "--noreport", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "data" / "lfads_output").iterdir()}
    assert {"model_params", "model_runs_prior_sample", "model_runs_a.h5_valid_posterior_push_mean"} <= names


def test_home_folders_are_found(tmp_path):
    write_spikes(tmp_path / "home" / "data" / "a.h5")
    home = {"HOME": str(tmp_path / "home")}
    flags = [flag for flag in SMALL if not flag.startswith("--kind")]
    done = lfads(
        "train", "--data_dir=~/data", "--lfads_save_dir=~/runs", *flags, "--max_epochs=1", cwd=tmp_path, env=home
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "home" / "runs" / "fitlog.csv").exists() and not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    "error, code, said",
    [
        (LFADSError("this is refused"), 2, "this is refused"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/full/file"),
            2,
            "/full/file: No space left on device",
        ),
        (RuntimeError("write failed: errno = 28, error message = '...'"), 2, "cannot go on: No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "/x"), 2, "read-only; choose another folder"),
        (MemoryError(), 2, "memory ran out"),
        (KeyboardInterrupt(), 130, ""),
        (ZeroDivisionError("division by zero"), 1, "a fault in the program: ZeroDivisionError: division by zero"),
    ],
)
def test_how_failures_end(error, code, said, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(command_line.tempfile, "tempdir", str(tmp_path))

    def run(argv):
        raise error

    assert command_line.guarded("lfads x", run, []) == code
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err and len(err.splitlines()) <= 3
    traces = list(tmp_path.glob("lfads_*.log"))
    if code == 1:
        assert "ZeroDivisionError" in traces[0].read_text() and str(traces[0]) in err
    else:
        assert not traces
    if code != 130:
        command_line.guarded("lfads x", run, ["--debug"])
        assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough(tmp_path):
    for words, said in (("train --help", "LFADS:"), ("--help", "LFADS:"), ("evaluate --help", "usage:")):
        command = f"set -o pipefail; {sys.executable} -m lfads_tf2 {words} | (read -r line; echo $line; exec <&-)"
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        assert done.stdout.startswith(said) and done.stderr == "" and done.returncode == 0, words


@pytest.mark.parametrize("how", ["2>&1 | head -1", ">&- 2>&-"])
def test_training_goes_on_without_a_screen(how, tmp_path):
    write_spikes(tmp_path / "data" / "a.h5")
    flags = [flag for flag in SMALL if not flag.startswith("--kind")]
    command = f"{sys.executable} -m lfads_tf2 train data {' '.join(flags)} --max_epochs=3 --device=gpu:7 {how}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert len((tmp_path / "data" / "lfads_output" / "fitlog.csv").read_text().splitlines()) == 3


def test_messages_on_a_full_disk_are_left_out(monkeypatch, tmp_path):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        with dispensable_messages():
            print("one", file=sys.stderr, flush=True)
            print("two", file=sys.stderr)
        assert sys.stderr is full


def test_paths_of_every_command_may_start_at_home(tmp_path):
    home = {"HOME": str(tmp_path)}
    done = lfads("simulate", "lorenz", "--output_dir=~/made", "--conditions=2", "--bins=5", cwd=tmp_path, env=home)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made" / "lorenz_dataset001.h5").exists() and not (tmp_path / "~").exists()
    (tmp_path / "search.yaml").write_text("gen_dimm: 3")
    (tmp_path / "flags").write_text("--gen_dimm=3")
    for words in (["auto", "made", "--config=~/search.yaml"], ["train", "made", "--config=~/search.yaml"],
                  ["train", "made", "--flagfile=~/flags"]):  # fmt: skip
        assert "did you mean" in lfads(*words, cwd=tmp_path, env=home).stderr, words
    done = lfads("evaluate", "--data=~/made/lorenz_dataset001.h5", "--results=~/none", cwd=tmp_path, env=home)
    assert done.returncode == 2 and f"{tmp_path}/none" in done.stderr
    assert f"{tmp_path}/runs holds no prepared runs" in lfads("runs", "status", "~/runs", env=home).stderr


def test_a_keras_that_is_set_up_otherwise(tmp_path):
    write_spikes(tmp_path / "data" / "a.h5")
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"floatx": "float64", "backend": "torch"}')
    environment = {"HOME": str(tmp_path), "KERAS_HOME": str(tmp_path / ".keras"), "KERAS_BACKEND": "torch"}
    done = lfads("train", tmp_path / "data", *SMALL, "--max_epochs=1", env=environment)
    assert done.returncode == 0, done.stderr


def test_faces_of_the_checkout_run():
    for tool in ("generate_lorenz", "generate_chaotic_rnn", "evaluate", "add_session", "benchmark"):
        done = subprocess.run([sys.executable, ROOT / "tools" / f"{tool}.py", "--help"], capture_output=True, text=True)
        assert done.returncode == 0 and "usage" in done.stdout, done.stderr
    assert len((ROOT / "run_lfads.py").read_text().splitlines()) <= 20
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")
