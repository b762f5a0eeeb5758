"""Processes of another user, for test runs by root."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

OTHER_USER = 65534
GROUP = 1
"""The group `daemon`, of which `OTHER_USER` is a member only where a test adds it."""
_SITE = [path for path in sys.path if path.endswith("site-packages")]
_ROOT = Path(__file__).parent.parent.parent


def environment() -> dict[str, str]:
    """Return environment variables with which another user's processes find this installation."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *_SITE]), "HOME": "/"}


@functools.cache
def _interpreter() -> str | None:
    """Return a Python of this version that another user may run; this one may be in root's home."""
    name = f"python3.{sys.version_info.minor}"
    for path in (sys.executable, *(f"{place}/{name}" for place in ("/usr/bin", "/usr/local/bin"))):
        command = [path, "-c", "import fastlog.server, fastlog.cli"]
        try:
            done = subprocess.run(
                command, user=OTHER_USER, group=OTHER_USER, extra_groups=[], cwd="/",
                env=environment(), capture_output=True, check=False,
            )  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0:
            return path
    return None


def interpreter() -> str:
    """Return such a Python; skip the test if there is none."""
    if os.geteuid() != 0:
        pytest.skip("only root can start processes of another user")
    path = _interpreter()
    if path is None:
        pytest.skip("no Python of this version that uid 65534 may run, with this tree readable")
    return path


def run_as_other_user(
    arguments: Sequence[object], groups: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` as the other user, as a member of these groups, too."""
    return subprocess.run(
        [interpreter(), *map(str, arguments)],
        user=OTHER_USER, group=OTHER_USER, extra_groups=list(groups), env=environment(), cwd="/",
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@contextmanager
def shared_directory(owner: int = 0) -> Iterator[Path]:
    """Make a directory that every user can enter; pytest's own are only for root."""
    path = Path(tempfile.mkdtemp(prefix="fastlog-test-"))
    try:
        path.chmod(0o755)
        os.chown(path, owner, owner)
        yield path
    finally:
        shutil.rmtree(path)
