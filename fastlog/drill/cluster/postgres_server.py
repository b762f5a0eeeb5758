"""A real PostgreSQL server, started and stopped without root and Docker.

PostgreSQL refuses to run as root: then its processes are those of another user. A server listens on
a Unix socket in its own directory, so no two of them can want the same port.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastlog.drill.cluster.programs import Installation, user_options
from fastlog.drill.processes import TIMEOUT, last_line, start_program, wait_for
from fastlog.errors import FastlogError
from fastlog.sinks.postgres_connection import psycopg

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "fsync": "off",  # processes are killed here, and the kernel does not crash
    "shared_buffers": "16MB",
    "max_connections": "40",
    "max_wal_size": "256MB",
    "autovacuum_naptime": "5s",
    "log_min_messages": "warning",
    "lc_messages": "C",
    "timezone": "Asia/Kolkata",  # nothing may depend on it
}


def init_data(installation: Installation, data: Path) -> None:
    """Make the directory of a server's data.

    Raises:
        FastlogError: `initdb` failed.
    """
    command: list[Any] = [installation.programs / "initdb", "-D", data, "-U", "postgres"]
    command += ["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
    done = subprocess.run(  # noqa: S603 - a program that was found
        [str(word) for word in command],
        capture_output=True,
        text=True,
        cwd="/",
        process_group=0,
        check=False,
        **user_options(),
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it says nothing"]
        raise FastlogError(f"initdb of PostgreSQL failed: {lines[-1]}")


class PostgresServer:
    """A server with its own data.

    Args:
        home: The directory of its socket and its log, and of `data`. Its user must own it.
    """

    def __init__(self, installation: Installation, home: Path, **settings: str) -> None:
        self.installation, self.home, self.port = installation, home, 5432
        self.data, self.log = home / "data", home / "log"
        self._settings = {**SETTINGS, **settings}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> PostgresServer:
        """Start the server, and wait until it accepts connections.

        Raises:
            FastlogError: It does not.
        """
        try:
            wait_for(self._try_to_start, "PostgreSQL is started")
        except FastlogError as error:
            raise FastlogError(f"{error}: {last_line(self.log)}") from None
        return self

    def _try_to_start(self) -> bool:
        """The processes of a server that was killed may still be there: then it is tried again."""
        command: list[Any] = [self.installation.programs / "postgres", "-D", self.data]
        command += ["-k", self.home, "-p", self.port]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        process = self._process = start_program(command, self.log, cwd="/", **user_options())
        wait_for(lambda: process.poll() is not None or self._answers(), "PostgreSQL answers")
        return process.poll() is None

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Return a connection in autocommit mode."""
        return psycopg.connect(self.url(database), autocommit=True)

    def url(self, database: str, user: str = "postgres", **options: str) -> str:
        """Return the URL of a database."""
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"postgresql://{user}@/{database}?host={self.home}&port={self.port}{more}"

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute a statement, and return its rows."""
        with self.connect(database) as connection:
            done = connection.execute(sql)
            return done.fetchall() if done.description else []

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT ends its sessions, SIGQUIT and SIGKILL are crashes."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(TIMEOUT)
            self._process = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None

    def messages(self) -> str:
        """Return its log."""
        return self.log.read_text("utf-8", "replace")


def make_home(path: Path) -> None:
    """Make the directory of a server, which its user owns and can reach."""
    path.mkdir(exist_ok=True)
    path.chmod(0o755)
    if "user" in (options := user_options()):
        os.chown(path, options["user"], options["group"])
