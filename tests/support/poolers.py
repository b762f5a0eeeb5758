"""A real pgbouncer between a client and a PostgreSQL server, in transaction pooling."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conditions import wait_for
from postgres_servers import PostgresServer
from users import OTHER_USER

from fastlog.drill.processes import dying_with_parent

PORT = 6432


class Pooler:
    """A pgbouncer that listens on a Unix socket in the directory of its server."""

    def __init__(self, program: str, server: PostgresServer) -> None:
        self._program, self._server = program, server
        self._file: Path = server.home / "pgbouncer.ini"
        self._process: subprocess.Popen[bytes] | None = None
        self._file.write_text(
            f"[databases]\n* = host={server.home} port={server.port} user=postgres\n"
            f"[pgbouncer]\nunix_socket_dir = {server.home}\nlisten_port = {PORT}\n"
            f"auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n"
            f"logfile = {server.home}/pgbouncer.log\n"
        )
        self._file.chmod(0o644)  # another user reads it, whatever the umask is

    def url(self, database: str, **options: str) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"postgresql://postgres@/{database}?host={self._server.home}&port={PORT}{more}"

    def start(self) -> None:
        user: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = {"user": OTHER_USER, "group": OTHER_USER, "extra_groups": []}
        self._process = subprocess.Popen(
            dying_with_parent([self._program, "-q", self._file]),
            cwd="/",
            stderr=subprocess.DEVNULL,
            **user,
        )
        try:
            wait_for(self._answers, "pgbouncer answers")
        except AssertionError as error:
            log = self._server.home / "pgbouncer.log"
            raise AssertionError(log.read_text() if log.exists() else "it has no log") from error

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True


@contextlib.contextmanager
def pooler(server: PostgresServer) -> Iterator[Pooler]:
    """Run a pgbouncer; skip the test if there is none."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("no pgbouncer (Debian: apt-get install pgbouncer)")
    made = Pooler(program, server)
    made.start()
    try:
        yield made
    finally:
        made.stop()
