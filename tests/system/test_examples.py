"""The examples of each help, run against a server with the default configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conditions import wait_for
from servers import BIN, Server

from fastlog.cli.examples import EXAMPLES

PROGRAM = """
import logging, logging.handlers, sys
# more lines













handler = logging.handlers.SocketHandler("127.0.0.1", int(sys.argv[1]))
logger = logging.getLogger("app.db")
logger.addHandler(handler)
logger.error("disk is slow, it took 1234 ms", extra={"user": 77})
logger.warning("disk is slow, it took 235 ms", extra={"user": 78})
handler.close()
"""
"""A record that every example finds, which is logged below line 10, and one to erase."""

LINES = [
    each.line
    for name, examples in EXAMPLES.items()
    for each in examples
    if name not in ("fastlog drill", "fastlog web", "fastlog-server")
    and " -f" not in each.line
    and "--url http" not in each.line
    and "--watch" not in each.line
    and "/srv/old" not in each.line
    and "/var/lib" not in each.line
]
"""The examples that end by themselves, and soon."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a server that stores in ./fastlog-data, with a record."""
    home = tmp_path_factory.mktemp("home")
    config = 'data_dir = "fastlog-data"\n'
    with Server(home, config=config) as server:
        program = [sys.executable, "-c", PROGRAM, str(server.port)]
        subprocess.run(program, check=True, timeout=60)
        server.wait_stored(2)
        (home / "fastlog-data").symlink_to(server.data)
        (home / "fastlog.toml").write_text(f'{config}listen = ["{server.urls()[0]}"]\n')
        (home / "port").write_text(str(server.port))
        # For the commands it is noon, so that the records are of today as long as the tests take.
        (home / "zone").write_text(f"NOON{datetime.now(UTC).hour - 12:+d}")
        for words in (["export", "--output", "all.ndjson"], ["backup", "backups"]):
            subprocess.run([BIN / "fastlog", *words], cwd=home, check=True, timeout=60)
        yield home


@pytest.mark.parametrize("line", LINES)
def test_each_example_of_the_help_runs(line: str, home: Path):
    configured = {name for name in os.environ if name.startswith("FASTLOG_")}
    environ = {name: value for name, value in os.environ.items() if name not in configured}

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", line.replace("9020", (home / "port").read_text())],
            cwd=home,
            env={
                **environ,
                "PATH": f"{BIN}:{os.environ['PATH']}",
                "TZ": (home / "zone").read_text(),
            },
            capture_output=True,
            text=True,
            timeout=120,
        )

    result = run(line)
    assert (result.returncode, result.stderr) == (0, "")
    if "fastlog send" in line:
        wait_for(lambda: not run("fastlog query").stderr, "what was sent is stored")
    assert result.stdout or "> today.ndjson" in line


def test_the_example_of_an_export_has_written_the_records(home: Path):
    [line] = [line for line in LINES if "> today.ndjson" in line]
    test_each_example_of_the_help_runs(line, home)
    assert '"disk is slow' in (home / "today.ndjson").read_text()
