"""Spools of ended processes: a bad one is reported once, and does not delay the others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from client_handlers import Hook, emit, handler_of
from client_spools import STAMP, adopt, crash, drain, make, path_of, plain, record
from conditions import wait_for
from fastlog_client import connection, directory, orphans, spool_files
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


def test_a_spool_whose_last_file_cannot_be_read_is_reported_and_kept(tmp_path: Path):
    """It has a second name: a backup by hard links."""
    spool = make(tmp_path)
    spool.extend([record(n) for n in range(1, 6)], STAMP)
    folder = crash(spool)
    os.link(path_of(spool), tmp_path / "backup")
    with FakeServer() as server, handler_of(server, spool=str(tmp_path)) as handler:
        hook = handler._reporter.hook
        wait_for(lambda: hook.count_with(f"the spool folder {folder} is skipped"))
        assert folder.exists()
        assert server.table.records == []
    (tmp_path / "backup").unlink()
    with FakeServer() as server, handler_of(server, spool=str(tmp_path)):
        wait_for(lambda: server.table.numbers() == [1, 2, 3, 4, 5])


def test_a_process_gives_up_an_adopted_spool_whose_lock_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Later, another process adopts it."""
    monkeypatch.setattr(spool_files, "_FOLDER_CHECK_SECONDS", 0.01)
    spool = make(tmp_path)
    spool.extend([record(1)], STAMP)
    folder = crash(spool)
    with FakeServer(acks=False, keepalive=1) as server:
        with handler_of(server, spool=str(tmp_path), close_timeout=0.1) as handler:
            wait_for(lambda: server.table.records)
            (folder / "lock").unlink()
            hook = handler._reporter.hook
            wait_for(lambda: hook.count_with(f"the spool folder {folder} is skipped"))
            assert handler._outbox.sender._orphans.connection is None
        os.utime(folder, (0, 0))
        assert drain(adopt(folder)) == plain(1)
