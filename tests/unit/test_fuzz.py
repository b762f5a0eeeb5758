"""The fuzz targets compile, and pass on their corpora and on some mutants.

`make fuzz` runs them for longer.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from places import ROOT

FUZZ = ROOT / "tests" / "fuzz"
sys.path.insert(0, str(FUZZ))

from seeds import SEEDS  # noqa: E402

TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in FUZZ.glob("fuzz_*.c"))


def _variable(name: str) -> list[str]:
    """Return the words of a variable of the Makefile."""
    command = ["make", "--silent", "--file", "-", f"print-{name}"]
    makefile = f"include Makefile\nprint-{name}:\n\t@echo $({name})\n"
    return subprocess.run(
        command, cwd=ROOT, input=makefile, capture_output=True, text=True, check=True
    ).stdout.split()


def test_make_fuzz_runs_every_target() -> None:
    assert sorted(_variable("FUZZ_TARGETS")) == TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_passes_on_its_corpus_and_some_mutants(target: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    subprocess.run(["cp", "-r", FUZZ / "corpus" / target, corpus], check=True)
    program = tmp_path / target
    compiler = sysconfig.get_config_var("CC").split()[0]
    subprocess.run(
        [compiler, "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1", "-Icsrc",
         "tests/fuzz/driver.c", f"tests/fuzz/fuzz_{target}.c", *_variable(f"FUZZ_{target}"),
         "-o", program],
        check=True, cwd=ROOT,
    )  # fmt: skip
    out = subprocess.run([program, "1", corpus], capture_output=True, text=True, check=False)
    assert re.search(r"from (\d+) files, .*: all well\n", out.stdout), out.stderr
    assert out.returncode == 0


@pytest.mark.parametrize("target", SEEDS)
def test_a_corpus_equals_its_seeds(target: str) -> None:
    """Run `python tests/fuzz/seeds.py` when this fails."""
    found = {path.name: path.read_bytes() for path in (FUZZ / "corpus" / target).iterdir()}
    assert SEEDS[target]() == found
