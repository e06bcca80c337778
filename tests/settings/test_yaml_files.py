"""YAML that would keep the program busy, or end in a traceback, is refused at once and in words."""

from __future__ import annotations

import time

import pytest

from lfads_tf2.autolfads.files import read_config
from lfads_tf2.errors import SettingsError
from lfads_tf2.settings.yaml_files import read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {
    "bomb": (BOMB, "aliases are not read"),
    "bomb in a list": ("- &a [x, x]\n- [*a, *a]\n", "aliases are not read"),
    "recursive": ("co_dim: &a [*a]\n", "aliases are not read"),
    "merge key": ("base: &b {co_dim: 2}\n<<: *b\n", "aliases are not read"),
    "no boolean": ("report: !!bool abc\n", "not readable YAML"),
    "python object": ("co_dim: !!python/object/apply:os.system ['true']\n", "not readable YAML"),
    "unhashable key": ("? [1, 2]\n: 3\n", "not readable YAML"),
    "twice": ("co_dim: 1\nco_dim: 2\n", "co_dim is given twice"),
    "deep": ("co_dim: " + "[" * 20000, "not readable YAML"),
    "no text": (b"\xff\xfe\x00", "not readable YAML"),
    "list": ("- 1\n" * 5000, "must hold lines of the form name: value, got"),
    "large": ("# " + "x" * 2**20, "settings need no more than"),
    "many unknown": ("".join(f"name_{n}: {n}\n" for n in range(30000)), "unknown name 'name_0'"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("reader", [read_yaml, read_config])
def test_refused(tmp_path, name, reader):
    content, said = REFUSED[name]
    path = tmp_path / "settings.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    started = time.monotonic()
    with pytest.raises(SettingsError, match=said) as error:
        reader(path)
    assert time.monotonic() - started < 15 and len(str(error.value)) < 6000


@pytest.mark.parametrize("section", ["[1, 2]", "3", "text", "{hps: [1]}", "{hps: {keep_prob: 7}}", "{num_workers: {}}"])
def test_a_malformed_section_of_a_search(tmp_path, section):
    path = tmp_path / "search.yaml"
    path.write_text(f"pbt: {section}\n")
    with pytest.raises(SettingsError):
        read_config(path)
