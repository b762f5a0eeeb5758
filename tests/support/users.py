"""Other users of the machine: processes that run as one, where root runs the suite."""

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

NO_SLOT = 65534
GROUP = 1
"""Of which `NO_SLOT` is no member unless it is told so: `daemon`."""
_SITE = [path for path in sys.path if path.endswith("site-packages")]
_ROOT = Path(__file__).parent.parent.parent


def environment() -> dict[str, str]:
    """The variables of another user's processes: they find what is installed here."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *_SITE]), "HOME": "/"}


@functools.cache
def _interpreter() -> str | None:
    """A Python of this version that another user may run; ours may lie in root's home."""
    name = f"python3.{sys.version_info.minor}"
    for path in (sys.executable, *(f"{place}/{name}" for place in ("/usr/bin", "/usr/local/bin"))):
        command = [path, "-c", "import fastlog.server, fastlog.cli"]
        try:
            done = subprocess.run(
                command, user=NO_SLOT, group=NO_SLOT, extra_groups=[], env=environment(), cwd="/",
                capture_output=True, check=False,
            )  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0:
            return path
    return None


def interpreter() -> str:
    """The same; skips the test where there is none."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    path = _interpreter()
    if path is None:
        pytest.skip("no Python of this version that uid 65534 may run, with this tree readable")
    return path


def run_as_nobody(
    arguments: Sequence[object], groups: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """Runs `python ARGUMENTS` as that user, who is in these groups besides."""
    return subprocess.run(
        [interpreter(), *map(str, arguments)],
        user=NO_SLOT, group=NO_SLOT, extra_groups=list(groups), env=environment(), cwd="/",
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@contextmanager
def shared_directory(owner: int = 0) -> Iterator[Path]:
    """A directory that every user can get to; pytest's own are root's alone."""
    path = Path(tempfile.mkdtemp(prefix="fastlog-test-"))
    try:
        path.chmod(0o755)
        os.chown(path, owner, owner)
        yield path
    finally:
        shutil.rmtree(path)
