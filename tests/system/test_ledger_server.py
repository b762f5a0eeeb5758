"""The ledger of a real server: gaps with any times, damage, and a file of a newer version."""

from __future__ import annotations

import random
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conditions import wait_for
from protocol_client import Speaker, frame, gap
from servers import FASTLOG, Server, processes_of

from fastlog.block import LENGTH
from fastlog.ledger import SCHEMA, LedgerError, check_whole, limits

NOTHING = LENGTH.pack(9) + b"no pickle"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def lost(server: Server) -> int:
    return sum(row["count"] for row in server.losses())


@pytest.mark.parametrize(
    "moment",
    [
        lambda n: (253_402_300_000 - n) * 1_000_000,
        lambda n: (0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)[n % 5] - (n if n % 5 > 1 else 0),
        lambda n: n * 1_000_000,
    ],
    ids=["backwards from the year 9999", "the ends of 64 bits", "from 1970 on"],
)
def test_gaps_of_any_time_leave_a_bounded_ledger_that_counts_them(
    server: Server, moment: Any
) -> None:
    gaps = 6000
    with Speaker(server.port) as client:
        client.greet()
        times = [moment(n) for n in range(gaps)]
        client.send(
            b"".join(gap(n, n, 1 + n % 3, t0, times[n // 2]) for n, t0 in enumerate(times, 1))
        )
        client.until(gaps)
        wait_for(lambda: lost(server) == gaps, "all gaps are in the ledger")
    path = server.data / "ledger.db"
    received = {row["offset"] for row in server.losses()}
    assert len(server.losses()) <= (limits.ROWS_PER_SECOND + 11) * 30, len(received)
    (row,) = query(path, "SELECT count(*), count(DISTINCT second) FROM seconds")
    assert row[0] < 2 * limits.ROWS_PER_SECOND
    assert row[1] == 1
    for row in server.losses():
        assert 0 < row["first"] <= row["last"] <= 2**32
    for command in (["stats"], ["stats", "--json"]):
        done = subprocess.run(
            [FASTLOG, *command, "--data-dir", server.data], timeout=60, check=False
        )
        assert done.returncode == 0


def test_names_that_clients_choose_make_no_more_rows_than_the_bound(server: Server) -> None:
    for number in range(60):
        key = f"[/{number}]\x1b".encode()
        with Speaker(server.port) as client:
            payload = client.hello_payload(1, 1)[:-1] + bytes([len(key)]) + key
            client.send(frame(1, payload))
    with server.connect(NOTHING * 100):
        wait_for(lambda: sum(row["count"] for row in server.rejected()) >= 100)
    assert len(server.rejected()) <= 60
    assert len(query(server.data / "ledger.db", "SELECT * FROM seconds")) < 100


def rejected(server: Server) -> int:
    return sum(row["count"] for row in server.rejected())


def test_a_server_sets_a_damaged_ledger_aside_and_continues(tmp_path: Path) -> None:
    server = Server(tmp_path, sinks=("sqlite:", f"ndjson://{tmp_path}/out.ndjson"))
    path = server.data / "ledger.db"
    server.data.mkdir()
    broken = random.Random(3).randbytes(20_000)
    path.write_bytes(broken)
    with server:
        with server.connect(NOTHING):
            wait_for(lambda: path.exists() and rejected(server) == 1, "it is in a new ledger")
        assert path.with_name("ledger.db.damaged").read_bytes() == broken
        assert [row["count"] for row in server.losses()] == [-1]
        # Again, while the workers have it open.
        (tmp_path / "broken").write_bytes(broken)
        (tmp_path / "broken").replace(path)
        for part in ("-wal", "-shm"):
            path.with_name(path.name + part).unlink(missing_ok=True)
        # A worker that had not read the first rejection yet enters it in the third file too.
        with server.connect(NOTHING * 2):
            wait_for(lambda: is_sound(path) and rejected(server) in (2, 3), "both are in a third")
        assert server.messages().count(" is damaged (") == 2
        assert "Traceback" not in server.messages()
        assert server.stop() == 0


def is_sound(path: Path) -> bool:
    try:
        check_whole(path)
    except (LedgerError, sqlite3.Error):
        return False
    return True


def test_a_server_does_not_start_with_the_ledger_of_a_newer_version(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.data.mkdir()
    with closing(sqlite3.connect(server.data / "ledger.db")) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    before = (server.data / "ledger.db").read_bytes()
    done = subprocess.run(
        server.command(), capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "layout" in line]
    assert "install the newer fastlog" in line
    assert "Traceback" not in done.stderr
    assert not processes_of(server.data)
    assert (server.data / "ledger.db").read_bytes() == before
