"""Files that other programs remove, move or replace while the server runs: losses are counted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conditions import wait_for
from faults import stopped
from senders import stock_frame
from server_clients import emit, handler_of, stored
from servers import Server

from fastlog.block import Kind, make_run
from fastlog.journal import Journal, SinkPosition, read_position

SMALL = '[journal]\nsize = "1 MiB"\nsegment = "64 KiB"\n'


def send(server: Server, first: int, last: int, size: int = 10) -> None:
    """Send numbered records as a stock client."""
    with server.connect() as client:
        for number in range(first, last):
            client.sendall(stock_frame("x" * size, number=number))


def received(server: Server, count: int) -> None:
    wait_for(lambda: server.status().get("index", 0) >= count, f"{count} frames in the journal")


def journal_of(server: Server) -> Path:
    return server.data / "journal"


def remove_directory(server: Server) -> None:
    shutil.rmtree(journal_of(server))


def move_directory(server: Server) -> None:
    journal_of(server).rename(server.home / "moved")


def remove_what_is_in_it(server: Server) -> None:
    for path in journal_of(server).iterdir():
        path.unlink()


def remove_segment(server: Server) -> None:
    for path in journal_of(server).glob("*.seg"):
        path.unlink()


def replace_segment(server: Server) -> None:
    (path,) = journal_of(server).glob("*.seg")
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)


def remove_secret(server: Server) -> None:
    (journal_of(server) / "secret").unlink()


JOURNAL = [
    remove_directory,
    remove_secret,
    move_directory,
    remove_what_is_in_it,
    remove_segment,
    replace_segment,
]


@pytest.mark.parametrize("vanish", JOURNAL)
def test_a_removed_journal_is_restored_with_all_acknowledged_records(
    tmp_path: Path, vanish: Callable[[Server], None]
) -> None:
    with Server(tmp_path).fixed() as server, handler_of(server.port) as handler:
        emit(handler, range(100))
        server.wait_stored(100)
        with stopped(server.children()["worker sqlite"]):
            emit(handler, range(100, 200))
            assert handler.flush(30)
            names = [(journal_of(server) / name).read_text() for name in ("node", "secret")]
            vanish(server)
            emit(handler, range(200, 300))
            assert handler.flush(30)
        server.wait_stored(300)
        wait_for(lambda: "another program removed files of" in server.messages(), "logged")
        restored = [(journal_of(server) / name).read_text() for name in ("node", "secret")]
        assert restored == names
        wait_for(lambda: server.status()["failure"] is None, "the journal works")
        server.kill()
        server.start()
        emit(handler, range(300, 400))
        server.wait_stored(400)
        assert stored(server) == list(range(400))
        assert server.losses() == []


def test_a_segment_removed_just_before_a_reload_is_not_lost(tmp_path: Path) -> None:
    out = tmp_path / "data" / "out"  # in the data directory, a sink makes it
    out.parent.mkdir(0o700)
    out.write_text("in the way, so that the sink takes nothing")
    with (
        Server(tmp_path, sinks=[f"ndjson://{out}/app.ndjson"]) as server,
        handler_of(server.port) as handler,
    ):
        emit(handler, range(100))
        assert handler.flush(30)
        remove_segment(server)
        server.reload()
        out.unlink()
        wait_for(lambda: lines(out / "app.ndjson") == 100, "all lines")
        assert server.losses() == []


def test_a_flush_restores_removed_files(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    try:
        assert journal.append(make_run(Kind.STOCK, [b"x"]), 1) is None
        assert journal.flush(30)
        (path,) = (tmp_path / "journal").glob("*.seg")
        content = path.read_bytes()
        shutil.rmtree(path.parent)
        assert journal.flush(30)
        assert path.read_bytes() == content
    finally:
        journal.close()


def test_a_file_with_the_journals_name_stops_acks_until_it_is_removed(
    tmp_path: Path,
) -> None:
    with Server(tmp_path) as server, handler_of(server.port) as handler:
        emit(handler, range(10))
        server.wait_stored(10)
        remove_directory(server)
        journal_of(server).write_text("in the way")
        emit(handler, range(10, 20))
        assert not handler.flush(1.0)
        wait_for(lambda: server.status()["failure"], "a failure")
        assert "journal: cannot restore its files" in server.messages()
        journal_of(server).unlink()
        assert handler.flush(30)
        server.wait_stored(20)
        assert stored(server) == list(range(20))
        wait_for(lambda: server.status()["failure"] is None, "no failure any more")


@pytest.mark.parametrize("which", ["the oldest", "one in the middle", "all but the newest"])
def test_removed_older_segments_are_a_loss_for_sinks_that_had_not_stored_them(
    tmp_path: Path, which: str
) -> None:
    sinks = ["sqlite:", f"ndjson://{tmp_path}/app.ndjson"]
    with Server(tmp_path, config=SMALL, sinks=sinks) as server:
        send(server, 0, 10)
        server.wait_stored(10)
        with stopped(server.children()["worker sqlite"]):
            send(server, 10, 400, size=1000)
            received(server, 400)
            wait_for(lambda: lines(tmp_path / "app.ndjson") == 400, "all in the other sink")
            found = sorted(journal_of(server).glob("*.seg"))
            assert len(found) > 4
            chosen = {"the oldest": found[:1], "one in the middle": found[2:3]}
            for path in chosen.get(which, found[:-1]):
                path.unlink()
            wait_for(lambda: "another program removed" in server.messages(), "logged")
        count = wait_for(lambda: [row for row in server.losses() if row["count"] > 0], "a loss")
        wait_for(lambda: server.stored() + server.losses()[-1]["count"] == 400, "all or counted")
        assert {row["reason"] for row in count} == {"files of the journal were removed"}
        assert {row["sink"] for row in count} == {"sqlite"}
        assert len(server.losses()) == 1
        assert stored(server) == sorted(set(stored(server)))
        kept = server.stored()
        server.kill()
        server.start()
        send(server, 400, 410)
        server.wait_stored(kept + 10)
        wait_for(lambda: lines(tmp_path / "app.ndjson") == 410, "the other sink continues")


@pytest.mark.parametrize("what", ["removed", "moved", "replaced"])
def test_a_removed_data_directory_ends_the_server_with_one_line(tmp_path: Path, what: str) -> None:
    with Server(tmp_path) as server, handler_of(server.port) as handler:
        emit(handler, range(10))
        server.wait_stored(10)
        if what == "removed":
            shutil.rmtree(server.data, ignore_errors=True)
        else:
            server.data.rename(tmp_path / "moved")
        if what == "replaced":
            server.data.mkdir()
        assert server.process is not None
        assert server.process.wait(60) == 1
        text = f"fastlog-server: the data directory {server.data} was removed, moved or replaced"
        assert [line for line in server.messages().splitlines() if line.startswith(text)]
        assert "Traceback" not in server.messages()


# ---- sinks -------------------------------------------------------------------------------------


def lines(*paths: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in paths if path.exists())


def numbers(*paths: Path) -> list[int]:
    text = b"".join(path.read_bytes() for path in paths if path.exists())
    return [json.loads(line)["extra"]["number"] for line in text.splitlines()]


@contextmanager
def ndjson(tmp_path: Path, options: str = "") -> Iterator[tuple[Server, Path]]:
    path = tmp_path / "out" / "app.ndjson"
    path.parent.mkdir()
    with Server(tmp_path, sinks=[f"ndjson://{path}{options}"]) as server:
        send(server, 0, 100)
        wait_for(lambda: lines(path) == 100, "lines")
        wait_for(lambda: _durable(server), "they are durable")
        yield server, path


def _position(server: Server) -> SinkPosition | None:
    """Return the position of the sink; None while it was not written yet."""
    return read_position(server.data, "ndjson")


def _durable(server: Server) -> bool:
    at = _position(server)
    return at is not None and at.index == 100 and at.durable == at.cursor


def _wait_until_written(server: Server, count: int) -> None:
    """Wait until the worker has applied so many frames, to whichever file."""

    def index() -> int:
        at = _position(server)
        return 0 if at is None or at.index is None else at.index

    wait_for(lambda: index() >= count, f"{count} frames applied")


@pytest.mark.parametrize("vanish", ["file", "directory"])
def test_a_removed_lines_file_loses_only_durable_lines(tmp_path: Path, vanish: str) -> None:
    with ndjson(tmp_path) as (server, path):
        if vanish == "file":
            path.unlink()
        else:
            shutil.rmtree(path.parent)
        send(server, 100, 200)
        wait_for(lambda: lines(path) >= 100, "all later lines")
        assert numbers(path) == list(range(100, 200))
        assert server.stop() == 0
    assert numbers(path) == list(range(100, 200))
    assert server.losses() == []


def test_a_lines_file_removed_between_write_and_sync_is_written_again(
    tmp_path: Path,
) -> None:
    with ndjson(tmp_path) as (server, path):
        with server.connect() as client:  # over one connection records keep their order
            for number in range(100, 2100):
                client.sendall(stock_frame(number=number))
                if number % 100 == 0:
                    path.unlink(missing_ok=True)
        _wait_until_written(server, 2100)
        found = numbers(path)
        assert found == list(range(found[0], 2100))
        assert server.stop() == 0


def test_a_lines_file_without_its_directory_waits_until_that_can_be_made(
    tmp_path: Path,
) -> None:
    with ndjson(tmp_path) as (server, path):
        path.parent.rename(tmp_path / "old")
        path.parent.write_text("in the way")
        send(server, 100, 600)
        wait_for(lambda: "ndjson: " in server.messages(), "an error")
        path.parent.unlink()
        wait_for(lambda: lines(path, tmp_path / "old" / path.name) >= 600, "all lines")
        assert numbers(tmp_path / "old" / path.name, path) == list(range(600))


def test_a_lines_file_moved_and_removed_before_its_rotation_loses_nothing(
    tmp_path: Path,
) -> None:
    with ndjson(tmp_path, "?rotate_size=64KiB") as (server, path):
        path.unlink()
        send(server, 100, 600)  # more than one file takes
        _wait_until_written(server, 600)
        files = [*sorted(path.parent.glob("*.0*")), path]
        assert numbers(*files) == list(range(100, 600))


def test_a_lines_file_moved_by_another_program_keeps_its_lines(tmp_path: Path) -> None:
    with ndjson(tmp_path) as (server, path):
        for at in range(1, 6):
            path.rename(path.with_name(f"app.{at}"))
            send(server, 100 * at, 100 * at + 100)
            _wait_until_written(server, 100 * at + 100)
            wait_for(path.exists, "a new file")
        files = [*sorted(path.parent.glob("app.[1-9]")), path]
        wait_for(lambda: lines(*files) == 600, "all lines")
        assert numbers(*files) == list(range(600))


def test_a_cursor_removed_with_the_lines_file_doubles_nothing(tmp_path: Path) -> None:
    with ndjson(tmp_path) as (server, path):
        path.unlink()
        shutil.rmtree(server.data / "cursors")
        send(server, 100, 200)
        wait_for(lambda: lines(path) >= 100, "all later lines")
        assert numbers(path) == list(range(100, 200))


def test_a_removed_ledger_is_made_again(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        for method in (b"GET", b"POST"):
            with server.connect(method + b" / HTTP/1.1\r\n\r\n"):
                pass
            wait_for(lambda: len(server.rejected()) == 1, "a rejection")
            for path in server.data.glob("ledger.db*"):
                path.unlink()
        send(server, 0, 5)
        with server.connect(b"PUT / HTTP/1.1\r\n\r\n"):
            pass
        wait_for(lambda: len(server.rejected()) == 1, "a rejection")
        server.wait_stored(5)
        assert "Traceback" not in server.messages()
