"""A backup of a server under load, and what is restored of it: compared with what was sent.

Clients number their records from 1. What a restored server has of a client is 1 … N, each once, and
N is at least what was acknowledged before the backup began.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conditions import wait_for
from faults import numbers, stopped
from lossless_clients import FAST, Client
from servers import Server
from transfers import (
    assert_prefix,
    killed_after,
    killed_when,
    load,
    numbers_of_lines,
    run,
)

CONFIG = f'{FAST}[journal]\nsegment = "256 KiB"\nsize = "8 MiB"\n'
"""Segments are deleted all the time."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "lines").mkdir()
    lines = f"ndjson://{tmp_path}/lines/app.ndjson?rotate_size=100KiB"
    config = f'{CONFIG}[[sink]]\nurl = "sqlite:"\n[[sink]]\nurl = "{lines}"\n'
    with Server(tmp_path, config=config).fixed() as server:
        yield server


def backup(server: Server) -> None:
    config = server.home / "fastlog.toml"
    run("backup", server.home / "backups", "--config", config, "--data-dir", server.data)


def of_restore(server: Server, new: Server) -> tuple[object, ...]:
    return "restore", server.home / "backups", new.data, "--config", server.home / "fastlog.toml"


def next_server(server: Server) -> Server:
    """Return a server in another directory, which is not started."""
    home = server.home / "new"
    home.mkdir()
    return Server(home, listen=server._listen, config=(server.home / "fastlog.toml").read_text())


def numbers_of_sink(new: Server) -> dict[str, list[int]]:
    """Return what the files of the `ndjson:` sink have, which were not in the data directory."""
    folder = new.data / "restored/ndjson"
    return numbers_of_lines(*sorted(folder.glob("*.ndjson.*")), folder / "app.ndjson")


def test_a_backup_under_load_has_all_that_was_acknowledged(server: Server) -> None:
    with load(server) as client:
        wait_for(lambda: client.stats["acked"] > 1000)
        for _ in range(2):
            acked = client.stats["acked"]
            backup(server)
    new = next_server(server)
    server.kill()
    run(*of_restore(server, new))
    found = numbers(new.records())
    assert_prefix(found["load"], acked)
    assert_prefix(found["stock"], 1, first=0)
    assert numbers_of_sink(new) == found
    assert new.losses() == new.rejected() == []
    assert "sound" in run("check", "--deep", "--data-dir", new.data)


def test_what_a_sink_had_not_stored_is_stored_by_the_restore(server: Server) -> None:
    with Client(server.port, "late") as client, ExitStack() as stack:
        client.log(50)
        client.flush()
        wait_for(lambda: server.stored() == 50)  # the day file is made
        for sink in ("sqlite", "ndjson"):
            stack.enter_context(stopped(server.children()[f"worker {sink}"]))
        client.log(200)
        server.connect(b"\0\0\0\7garbage").close()
        wait_for(lambda: server.status()["frames"] >= 251)
        client.log(100)
        client.flush()
        backup(server)
    server.kill()
    new = next_server(server)
    run(*of_restore(server, new))
    assert numbers(new.records()) == {"late": [*range(1, 351)]}
    assert numbers_of_sink(new) == numbers(new.records())
    assert [row["count"] for row in new.rejected()] == [1]


def test_a_client_continues_with_the_restored_server(server: Server) -> None:
    """What was acknowledged after the backup is named in the log; nothing is there twice."""
    with Client(server.port, "a") as client:
        client.log(100)
        client.flush()
        backup(server)
        client.log(30)
        client.flush()
        wait_for(lambda: server.stored() == 130)
        server.kill()
        client.log(20)
        new = next_server(server)
        run(*of_restore(server, new))
        with new:
            client.flush()
            wait_for(lambda: len(new.records()) >= 120)
            assert sorted(numbers(new.records())["a"]) == [*range(1, 101), *range(131, 151)]
            what = "its records 101 to 130 were acknowledged by another server"
            wait_for(lambda: what in new.messages())
            assert len({row["node"] for row in new.records()}) == 2
        added = run("import", server.data, "--data-dir", new.data)
        assert added.startswith("added 30 records")  # the old server stored them
        assert sorted(numbers(new.records())["a"]) == [*range(1, 151)]


def test_a_killed_backup_is_none_and_can_be_repeated(server: Server) -> None:
    backups = server.home / "backups"
    work = backups / "incomplete"
    config = server.home / "fastlog.toml"
    words = ("backup", backups, "--config", config, "--data-dir", server.data)
    with load(server) as client:
        wait_for(lambda: client.stats["acked"] > 1000)
        day = max(wait_for(lambda: list(server.logs.glob("*.db"))))
        moments = ("sinks/sqlite", f"sinks/sqlite/{day.name}", "ledger.db", "journal/node")
        was_killed = [killed_when((work / each).exists, *words) for each in moments]
        complete = [path for path in backups.iterdir() if path != work]
        assert all((path / "manifest.json").exists() for path in complete)
        if not complete:
            assert "no complete backup; the only one was interrupted" in run(
                "restore", backups, server.home / "x", code=1
            )
        acked = client.stats["acked"]
        backup(server)
    assert any(was_killed)
    assert not work.exists()
    server.kill()
    new = next_server(server)
    work = new.data / "restoring"
    restore = of_restore(server, new)
    for at, each in enumerate(("sinks/sqlite", "positions", "journal.new/node")):
        if at == 0 or work.exists():
            killed_when((work / each).exists, *restore)
    if work.exists():
        with pytest.raises(AssertionError, match="a restore was interrupted"):
            new.start()
        run(*restore)
    assert not work.exists()
    found = numbers(new.records())
    assert_prefix(found["load"], acked)
    assert_prefix(found["stock"], 1, first=0)
    assert numbers_of_sink(new) == found
    assert "is not empty" in run(*restore, code=1)


@pytest.mark.soak
def test_backups_that_are_killed_at_random_moments_lose_nothing(server: Server) -> None:
    backups, config = server.home / "backups", server.home / "fastlog.toml"
    words = ("backup", backups, "--config", config, "--data-dir", server.data, "--keep", 2)
    dice = random.Random(11)
    with load(server) as client:
        wait_for(lambda: client.stats["acked"] > 1000)
        for number in range(8):
            killed_after(dice.uniform(0.2, 1.5), *words)
            acked = client.stats["acked"]
            backup(server)
            new = Server(server.home / f"new{number}")
            run("restore", backups, new.data, "--config", config)
            found = numbers(new.records())
            assert_prefix(found["load"], acked)
            assert_prefix(found["stock"], 1, first=0)
            assert numbers_of_sink(new) == found
            assert "sound" in run("check", "--deep", "--data-dir", new.data)
            shutil.rmtree(new.data)
