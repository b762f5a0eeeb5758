"""The type stubs of `fastlog_client`: they are complete, and agree with the code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from places import CLIENT, SUPPORT


def check(folder: Path, types: Path, *words: object) -> None:
    """Run a module of mypy, which finds the types of the package in that folder."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        env={**os.environ, "MYPYPATH": str(types), "PYTHONPATH": str(CLIENT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_strict_type_checker_accepts_the_whole_public_interface(tmp_path: Path):
    check(tmp_path, CLIENT, "mypy", "--strict", SUPPORT / "typed_client.py")


def test_the_stubs_have_the_names_and_arguments_of_the_code(tmp_path: Path):
    stubs = tmp_path / "fastlog_client"  # without modules, which mypy would read too
    stubs.mkdir()
    for path in (CLIENT / "fastlog_client").glob("*.pyi"):
        shutil.copy(path, stubs)
    check(tmp_path, tmp_path, "mypy.stubtest", "--ignore-missing-stub", "fastlog_client")
