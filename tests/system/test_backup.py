"""A backup of a server under load, and what is restored of it: compared with what was sent.

Clients number their records from 1. What a restored server has of a client is 1 … N, each once, and
N is at least what was acknowledged before the backup began.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conditions import wait_for
from faults import numbers, stopped
from lossless_clients import FAST, Client
from senders import Sender
from servers import FASTLOG, Server, kill

CONFIG = f'{FAST}[journal]\nsegment = "256 KiB"\nsize = "8 MiB"\n'
"""Segments are deleted all the time."""


def run(*words: object, code: int = 0) -> str:
    """Run a command; return what it has printed."""
    result = subprocess.run(
        [FASTLOG, *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == code, (result.stdout, result.stderr)
    return result.stdout if code in (0, 3) else result.stderr


class Load(threading.Thread):
    """A fastlog client that logs until it is stopped."""

    def __init__(self, client: Client, size: int = 200) -> None:
        super().__init__(daemon=True)
        self._client, self._size, self._end = client, size, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._end.wait(0.002):
            self._client.log(20, self._size)

    def stop(self) -> None:
        self._end.set()
        self.join(30)


@contextmanager
def load(server: Server) -> Iterator[Client]:
    """Let a fastlog client and a stock client send inside the block."""
    with Client(server.port, "load") as client:
        sender = Sender("stock", lambda: server.port)
        loading = Load(client)
        try:
            yield client
        finally:
            loading.stop()
            sender.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "lines").mkdir()
    lines = f"ndjson://{tmp_path}/lines/app.ndjson?rotate_size=100KiB"
    config = f'{CONFIG}[[sink]]\nurl = "sqlite:"\n[[sink]]\nurl = "{lines}"\n'
    with Server(tmp_path, config=config) as server:
        yield server.fixed()


def options(server: Server) -> list[object]:
    return ["--config", server.home / "fastlog.toml", "--data-dir", server.data]


def restored(tmp_path: Path, backup: Path, server: Server, name: str = "new") -> Server:
    """Restore a backup, and return its server, which is not started."""
    home = tmp_path / name
    home.mkdir()
    new = Server(home, config=(server.home / "fastlog.toml").read_text())
    run("restore", backup, new.data, "--config", server.home / "fastlog.toml")
    return new


def assert_prefix(found: list[int], least: int, first: int = 1) -> None:
    """Check that these are all numbers from the first on, each once, and at least so many."""
    assert found == list(range(first, first + len(found)))
    assert len(found) >= least


def line_numbers(folder: Path) -> dict[str, list[int]]:
    """Return the numbers in the files of an `ndjson:` sink, by client."""
    *rotated, first = sorted(folder.iterdir(), key=lambda path: (path.suffix == ".ndjson", path))
    rows = [
        {**line, "extra": json.dumps(line["extra"])}
        for path in (*rotated, first)
        for line in map(json.loads, path.read_text().splitlines())
    ]
    return numbers(rows)


def test_a_backup_under_load_has_all_that_was_acknowledged(server: Server, tmp_path: Path) -> None:
    with Client(server.port, "before") as before, load(server) as client:
        before.log(500)
        before.flush()
        wait_for(lambda: client.stats["acked"] > 1000)
        for _ in range(3):
            acked = client.stats["acked"]
            run("backup", tmp_path / "backups", *options(server))
    new = restored(tmp_path, tmp_path / "backups", server)
    assert "sound" in run("check", "--deep", "--data-dir", new.data)
    with new:
        found = numbers(new.records())
        assert found["before"] == list(range(1, 501))
        assert_prefix(found["load"], acked)
        assert_prefix(found["stock"], 1, first=0)
        assert line_numbers(new.data / "restored/ndjson") == found
        assert new.losses() == new.rejected() == []


def test_what_a_sink_had_not_stored_is_stored_by_the_restore(server: Server, tmp_path: Path):
    with Client(server.port, "late") as client:
        client.log(50)
        client.flush()
        with (
            stopped(server.children()["worker sqlite"]),
            stopped(server.children()["worker ndjson"]),
        ):
            client.log(300)
            client.flush()
            run("backup", tmp_path / "backups", *options(server))
    server.kill()
    new = restored(tmp_path, tmp_path / "backups", server)
    found = {"late": list(range(1, 351))}
    assert numbers(new.records()) == found
    assert line_numbers(new.data / "restored/ndjson") == found


def test_a_client_continues_with_the_restored_server(server: Server, tmp_path: Path) -> None:
    """What was acknowledged after the backup is named in the log; nothing is there twice."""
    with Client(server.port, "a") as client:
        client.log(100)
        client.flush()
        run("backup", tmp_path / "backups", *options(server))
        client.log(30)
        client.flush()
        server.kill()
        client.log(20)
        new = restored(tmp_path, tmp_path / "backups", server)
        new._listen = server._listen
        with new:
            client.flush()
            wait_for(lambda: len(new.records()) >= 120)
            assert numbers(new.records()) == {"a": [*range(1, 101), *range(131, 151)]}
            assert "its records 101 to 130 were acknowledged by another server" in new.messages()
            nodes = {row["node"] for row in new.records()}
            assert len(nodes) == 2  # the restored server is another one
            assert "restoring" not in {path.name for path in new.data.iterdir()}


def killed(seconds: float, *words: object) -> None:
    """Start a command and kill it with SIGKILL, after that time at the latest."""
    process = subprocess.Popen(
        [FASTLOG, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    kill(process.pid)
    process.wait(30)


MOMENTS = (0.25, 0.4, 0.6)
"""Seconds after which a command is killed: in its imports, or in the middle of its work."""


def test_a_killed_backup_is_none_and_can_be_repeated(server: Server, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    with load(server) as client:
        wait_for(lambda: client.stats["acked"] > 1000)
        for seconds in MOMENTS:
            killed(seconds, "backup", backups, *options(server))
            complete = [path for path in backups.glob("*Z") if (path / "manifest.json").exists()]
            assert complete == list(backups.glob("*Z"))
        acked = client.stats["acked"]
        run("backup", backups, *options(server))
    server.kill()
    assert not (backups / "incomplete").exists()
    home = tmp_path / "new"
    home.mkdir()
    new = Server(home, config=(server.home / "fastlog.toml").read_text())
    for seconds in MOMENTS:
        killed(seconds, "restore", backups, new.data, "--config", home / "fastlog.toml")
    run("restore", backups, new.data, "--config", server.home / "fastlog.toml") if (
        not new.data.exists() or (new.data / "restoring").exists() or not new.logs.exists()
    ) else None
    found = numbers(new.records())
    assert_prefix(found["load"], acked)
    assert_prefix(found["stock"], 1, first=0)
