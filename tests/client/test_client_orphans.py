"""Spools of ended processes: a bad one is reported once, and does not delay the others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from client_handlers import Hook, emit, handler_of
from client_spools import STAMP, crash, make, record
from conditions import wait_for
from fastlog_client import connection, directory, orphans
from fastlog_client.session import Session
from fastlog_client.spool import Spool
from planted_files import make_folder, make_segment
from protocol_server import FakeServer


def test_a_folder_is_reported_once_however_often_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = make_folder(tmp_path, "a")
    folder.chmod(0o700)
    os.mkfifo(folder / "state")
    make_segment(folder, 1, 1)
    looks = []
    spools_in = directory.find_spool_folders
    monkeypatch.setattr(orphans, "_SEARCH_SECONDS", 0.01)
    monkeypatch.setattr(
        orphans, "find_spool_folders", lambda path: looks.append(1) or spools_in(path)
    )
    hook = Hook()
    with FakeServer() as server, handler_of(server, spool=str(tmp_path), on_error=hook) as handler:
        emit(handler, range(1, 4))
        wait_for(lambda: len(looks) > 10)
        assert handler.flush()
        assert hook.count_with("is skipped") == len(hook) == 1
        shutil.rmtree(folder)
        spool = make(tmp_path)
        spool.extend([record(9)], STAMP)
        crash(spool)
        wait_for(lambda: 9 in server.table.numbers())


def test_a_spool_that_fails_in_any_way_does_not_delay_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spools = sorted((make(tmp_path) for _ in range(3)), key=lambda spool: spool.folder)
    for number, spool in enumerate(spools, 101):
        spool.extend([record(number)], STAMP)
        crash(spool)
    bad = spools[0].folder
    take = Spool.take

    def fail(self: Any, *args: Any) -> Any:
        if self.folder == bad:
            raise ZeroDivisionError("as the test requires")
        return take(self, *args)

    monkeypatch.setattr(Spool, "take", fail)
    monkeypatch.setattr(orphans, "_SEARCH_SECONDS", 0.05)
    hook = Hook()
    with FakeServer() as server, handler_of(server, spool=str(tmp_path), on_error=hook) as handler:
        emit(handler, [1])
        assert handler.flush()
        wait_for(lambda: {1, 102, 103} == set(server.table.numbers()))
        assert hook.count_with("is skipped") == len(hook) == 1
        assert server.connections >= 4
        assert handler.stats()["reconnects"] == 0  # the process's own connection was not closed
        monkeypatch.setattr(Spool, "take", take)
        wait_for(lambda: 101 in server.table.numbers())


def test_a_spool_that_the_server_never_accepts_does_not_delay_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spools = sorted((make(tmp_path) for _ in range(3)), key=lambda spool: spool.folder)
    for number, spool in enumerate(spools, 101):
        spool.extend([record(number)], STAMP)
        crash(spool)
    bad = spools[0].client_id
    monkeypatch.setattr(orphans, "_SEARCH_SECONDS", 0.05)
    monkeypatch.setattr(connection, "_ERROR_DELAY", 0.01)
    say_batch = Session._queue_batch
    monkeypatch.setattr(Session, "_queue_batch", _says_nonsense_for(bad))
    with FakeServer() as server, handler_of(server, spool=str(tmp_path)) as handler:
        emit(handler, [1])
        wait_for(lambda: {1, 102, 103} == set(server.table.numbers()))
        monkeypatch.setattr(Session, "_queue_batch", say_batch)
        wait_for(lambda: 101 in server.table.numbers())
        assert server.failures
        server.failures.clear()


def _says_nonsense_for(client_id: bytes) -> Any:
    say_batch = Session._queue_batch

    def say(self: Any, base: int, records: Any) -> None:
        say_batch(self, base + (self._store.client_id == client_id), records)

    return say
