"""Full disks: what is stored is freed while nothing can be written; the log says what happens."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conditions import wait_for
from day_files import make_record, write_day
from faults import SMALL_JOURNAL, fill, numbers, small_disk, stopped
from lossless_clients import FAST, Client, assert_exact
from senders import stock_frame
from servers import FASTLOG, Server, rows

# The default size of the journal, 1 GiB, is far more than these disks have.
CONFIG = '[journal]\nmemory = "1 MiB"\n[limits]\nlag = 0\n'


def send(server: Server, first: int, count: int, size: int = 1000) -> None:
    """Send records, and return when the server has read them: the kernel would hold many more."""
    with server.connect() as client:
        for number in range(first, first + count):
            client.sendall(stock_frame("x" * size, client="a", number=number))
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b"", "the server closes the connection at its end"


def is_complete(server: Server, sent: int) -> bool:
    return sum(row["count"] for row in server.losses()) + server.stored() == sent


def journal_lines(server: Server) -> list[str]:
    return [line for line in server.messages().splitlines() if "receiver: journal " in line]


@pytest.mark.long
def test_a_journal_that_has_filled_the_disk_is_stored_and_freed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", "64m") as disk, Server(tmp_path, config=CONFIG) as server:
        send(server, 0, 10)
        server.wait_stored(10)
        sent = 10
        with stopped(server.children()["worker sqlite"]):
            while not server.status()["dropped"]:
                send(server, sent, 500, 4000)
                sent += 500
            assert server.status()["failure"] == "cannot write: disk full"
            size = server.status()["size"]
            assert size > 40 << 20
        wait_for(lambda: is_complete(server, sent), "all is stored or counted")
        wait_for(lambda: server.status()["size"] < size / 4, "the journal is freed")
        send(server, sent, 100)
        wait_for(lambda: numbers(server.records())["a"][-100:] == list(range(sent, sent + 100)))
        wait_for(lambda: "takes blocks again" in server.messages())
        full, over = journal_lines(server)
        assert f"journal {disk}/journal: cannot write: disk full: " in full
        assert "MiB must be left for the sinks; make room for " in full
        assert "then those of stock clients are dropped and counted" in full
        assert f"journal {disk}/journal: the disk takes blocks again, after " in over
        assert server.stop() == 0
        stored = numbers(server.records())["a"]
        assert len(stored) == len(set(stored))


def test_segments_are_deleted_while_another_program_has_filled_the_disk(tmp_path: Path) -> None:
    config = f'sink = ["sqlite://{tmp_path}/logs"]\n{CONFIG}'
    with small_disk(tmp_path / "data", "8m") as disk, Server(tmp_path, config=config) as server:
        server.logs = tmp_path / "logs"
        send(server, 0, 10)
        server.wait_stored(10)
        with stopped(server.children()["worker sqlite"]):
            send(server, 10, 2000)
            wait_for(lambda: server.status()["index"] == 2010)
            assert server.status()["size"] > 2 << 20
            ballast = fill(disk)
            at = server.status()["at"]
            wait_for(lambda: server.status()["at"] > at + 1, "the status is still written")
        for sent in range(2010, 4010, 500):
            wait_for(lambda sent=sent: is_complete(server, sent))
            send(server, sent, 500)
        wait_for(lambda: is_complete(server, 4010))
        assert ballast.exists()
        assert server.losses() == [], "all that came was stored in the space of what had been"


def test_fastlog_clients_continue_in_the_space_of_what_is_stored(tmp_path: Path) -> None:
    config = f'sink = ["sqlite://{tmp_path}/logs"]\n{FAST}[journal]\nmemory = "1 MiB"\n'
    with small_disk(tmp_path / "data", "8m") as disk, Server(tmp_path, config=config) as server:
        server.logs = tmp_path / "logs"
        with Client(server.port) as client:
            with stopped(server.children()["worker sqlite"]):
                client.log(2000, size=1000)
                client.flush()
                ballast = fill(disk)
            client.log(4000, size=1000)
            client.flush()
            assert ballast.exists()
        assert_exact(server, "a", 6000)


def test_retention_frees_a_full_disk_of_the_sink(tmp_path: Path) -> None:
    config = f'sink = ["sqlite://{tmp_path}/disk/logs"]\n[retention]\nkeep_free = "1 MiB"\n'
    with small_disk(tmp_path / "disk", "16m") as disk:
        logs = disk / "logs"
        days = [
            f"{datetime.now(UTC).date() - timedelta(days=n):%Y-%m-%d}.db" for n in range(9, 0, -1)
        ]
        for name in days:
            write_day(logs / name, [make_record(at, message=f"{at}" * 200) for at in range(50)])
        fill(disk)
        with Server(tmp_path, config=config) as server:
            server.logs = logs
            send(server, 0, 100)
            wait_for(lambda: any(path.name > days[-1] for path in logs.glob("*.db")))
            wait_for(lambda: sum(len(rows_of_a(path)) for path in logs.glob("*.db")) == 100)
            left = [name for name in days if (logs / name).exists()]
            assert left == days[-len(left) :] if left else True, "the oldest went first"
            lines = [line for line in server.messages().splitlines() if "retention:" in line]
            assert len(lines) >= len(days) - len(left)
            assert "sink sqlite: retention: deleted" in lines[0]
            assert "less than 1 MiB of the disk were free" in lines[0]


def rows_of_a(path: Path) -> list[dict[str, Any]]:
    return [row for row in rows(path) if '"client":"a"' in row["extra"]]


def test_a_full_disk_of_a_sink_is_said_in_one_line(tmp_path: Path) -> None:
    config = f'sink = ["sqlite://{tmp_path}/disk/logs", "ndjson://{tmp_path}/disk/app.ndjson"]\n'
    with small_disk(tmp_path / "disk", "16m") as disk, Server(tmp_path, config=config) as server:
        server.logs = disk / "logs"
        send(server, 0, 100)
        server.wait_stored(100)
        ballast = fill(disk)
        send(server, 100, 1000)
        for sink in ("sqlite", "ndjson"):
            wait_for(lambda sink=sink: f"sink {sink}: disk full: cannot" in server.messages())
        stats = subprocess.run(
            [FASTLOG, "stats", "--json", "--data-dir", server.data],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        sinks = {sink["name"]: sink["error"] for sink in json.loads(stats.stdout)["sinks"]}
        assert all("disk full" in error for error in sinks.values())
        ballast.unlink()
        wait_for(lambda: server.messages().count("works again, after") == 2)
        server.wait_stored(1100)
        lines = [line for line in server.messages().splitlines() if "disk full" in line]
        assert len(lines) == 2
        assert all("its records wait in the journal" in line for line in lines)
        assert "Traceback" not in server.messages()


def test_the_log_names_the_sink_that_a_full_journal_waits_for(tmp_path: Path) -> None:
    config = f'sink = ["ndjson://{tmp_path}/a.ndjson", "sqlite:"]\n{SMALL_JOURNAL}'
    with Server(tmp_path, config=config) as server:
        with stopped(server.children()["worker ndjson"]):
            send(server, 0, 3000)
            wait_for(lambda: "journal full; it waits for sink ndjson (" in server.messages())
            send(server, 3000, 3000)
            wait_for(lambda: server.status()["frames"] == 6000)
        assert server.messages().count("dropped records of stock clients") == 1, "once a minute"
        assert server.stop() == 0
        lines = [line for line in server.messages().splitlines() if "dropped records" in line]
        counts = [int(re.findall(r"\((\d+)", line)[-1]) for line in lines]
        assert sum(counts) == sum(row["count"] for row in server.losses())
