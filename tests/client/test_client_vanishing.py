"""A spool that is removed while its process runs: it is made anew, or memory is used."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import in_child
from client_handlers import Hook, emit, handler_of
from client_programs import assert_exact, start, versions, without_delays
from client_spools import STAMP, adopt, crash, drain, make, path_of, plain, record, send
from conditions import wait_for
from fastlog_client import spool_files
from fastlog_client.gap import DAMAGED, MEMORY_FULL
from fastlog_client.spool import Spool
from faults import small_disk
from protocol_server import FakeServer, Table
from server_clients import disturb
from servers import Server


def look(spool: Any) -> None:
    spool._check_folder_at = 0.0
    spool.check(1.0)


def make_full(base: Path, count: int) -> Any:
    base.mkdir()
    spool = Spool.create(str(base), 1 << 30, False, 1 << 20)
    spool.extend([record(n) for n in range(1, count + 1)], STAMP)
    return spool


def make_segments(base: Path) -> Any:
    """Make a spool of eleven records in four or more segments."""
    base.mkdir()
    spool = make(base, 8 * 1024)
    spool.extend([record(n, 300) for n in range(1, 12)], STAMP)
    assert len(spool._segments) > 3
    return spool


def count(spool: Any) -> tuple[int, int, int]:
    """Return what `stats()` counts: acked, pending, dropped."""
    dropped = sum(spool.dropped.values())
    return spool.next - 1 - spool.pending - dropped, spool.pending, dropped


def _replace_by_folder(spool: Any) -> None:
    Path(spool.folder).rename(spool.folder + "-elsewhere")
    Path(spool.folder).mkdir(0o700)


def _replace_by_link(spool: Any) -> None:
    Path(spool.folder).rename(spool.folder + "-elsewhere")
    Path(spool.folder).symlink_to(spool.folder + "-elsewhere")


def _replace_state(spool: Any) -> None:
    state = Path(spool.folder, "state")
    other = state.with_name("other")
    other.write_bytes(state.read_bytes())
    other.rename(state)


REMOVALS: dict[str, Callable[[Any], object]] = {
    "folder": lambda spool: shutil.rmtree(spool.folder),
    "directory": lambda spool: shutil.rmtree(Path(spool.folder).parent),
    "segment": lambda spool: path_of(spool).unlink(),
    "state": lambda spool: Path(spool.folder, "state").unlink(),
    "lock": lambda spool: Path(spool.folder, "lock").unlink(),
    "moved": lambda spool: Path(spool.folder).rename(spool.folder + "-elsewhere"),
    "replaced by a folder": _replace_by_folder,
    "replaced by a link": _replace_by_link,
    "state replaced": _replace_state,
}
NOTICED_AT_ONCE = ("folder", "directory", "segment")


@pytest.mark.parametrize("removed", REMOVALS)
def test_whatever_is_removed_every_record_is_kept_and_found(removed: str, tmp_path: Path):
    spool = make_full(tmp_path / "spool", 10)
    old = spool.folder
    REMOVALS[removed](spool)
    if removed in NOTICED_AT_ONCE:
        spool._file_checked_at = 0.0  # a millisecond later
    else:
        look(spool)
    spool.extend([record(11), record(12)], STAMP)
    assert spool.outlives_process
    assert len(spool.reports) == 1
    assert old in spool.reports[0][0]
    assert count(spool) == (0, 12, 0)
    assert drain(spool) == plain(*range(1, 13))
    folder = crash(spool)
    assert (folder == Path(old)) == (removed == "segment")
    assert {path.name for path in folder.iterdir()} == {"lock", "state", f"{1:016x}.seg"}
    adopted = adopt(folder)
    assert (adopted.client_id, drain(adopted)) == (spool.client_id, plain(*range(1, 13)))
    others = [path for path in folder.parent.iterdir() if path != folder]
    assert all(list(path.iterdir()) == [] for path in others)
    assert len(others) == {"moved": 1, "replaced by": 2}.get(removed[:11], 0)


def test_a_spool_that_was_not_changed_stays_where_it_is(tmp_path: Path):
    spool = make_full(tmp_path / "spool", 3)
    old = spool.folder
    look(spool)
    assert (spool.folder, list(spool.reports)) == (old, [])


def test_records_in_flight_are_neither_lost_nor_doubled_when_the_folder_is_removed(tmp_path: Path):
    spool, table = make_full(tmp_path / "spool", 5), Table()
    send(spool, table)
    spool.extend([record(n) for n in range(6, 9)], STAMP)
    base, records = spool.take(1 << 20, True, 1 << 20, STAMP)
    assert (base, len(records)) == (6, 3)
    shutil.rmtree(spool.folder)
    spool._file_checked_at = 0.0
    spool.extend([record(9)], STAMP)
    spool.ack(7, b"n" * 16)
    assert drain(spool) == plain(9)
    assert spool.rewind(7, b"n" * 16) == 2
    send(spool, table)
    assert count(spool) == (9, 0, 0)


def test_what_was_written_is_read_though_its_file_has_no_name_any_more(tmp_path: Path):
    spool = make_full(tmp_path / "spool", 5)
    shutil.rmtree(spool.folder)
    assert drain(spool) == plain(*range(1, 6))
    spool.extend([record(6)], STAMP)  # in the same millisecond, perhaps
    look(spool)
    assert drain(spool) == plain(6)
    assert drain(adopt(crash(spool))) == plain(*range(1, 7))


def test_removed_segments_are_counted_and_the_rest_is_sent(tmp_path: Path):
    spool = make_segments(tmp_path / "spool")
    last = spool._segments[-1].base
    table = Table()
    shutil.rmtree(spool.folder)
    spool._file_checked_at = 0.0
    spool.extend([record(12, 300)], STAMP)
    send(spool, table)
    assert table.is_exact(12)
    assert table.numbers() == list(range(last, 13))
    assert spool.dropped[DAMAGED] == last - 1
    assert count(spool) == (13 - last, 0, last - 1)


def test_a_segment_that_is_removed_after_it_was_sent_is_counted_once(tmp_path: Path):
    spool = make_segments(tmp_path / "spool")
    begin, end = (segment.base for segment in spool._segments[1:3])
    drain(spool)
    path_of(spool, 1).unlink()
    for _ in range(2):
        spool.rewind(0, b"n" * 16)
        assert (begin, (end - begin, DAMAGED)) in drain(spool)
        assert count(spool) == (0, 11 - (end - begin), end - begin)
    spool.ack(begin, b"n" * 16)  # the first of them
    assert count(spool) == (begin - 1, 12 - end, end - begin)
    spool.ack(11, b"n" * 16)
    assert count(spool) == (11 - (end - begin), 0, end - begin)


def test_a_folder_that_was_moved_with_many_segments_loses_nothing(tmp_path: Path):
    spool = make_segments(tmp_path / "spool")
    REMOVALS["moved"](spool)
    look(spool)
    assert drain(spool) == plain(*range(1, 12))
    assert drain(adopt(crash(spool))) == plain(*range(1, 12))
    (elsewhere,) = (tmp_path / "spool").glob("*-elsewhere")
    assert list(elsewhere.iterdir()) == []


def test_where_no_folder_can_be_made_memory_keeps_what_it_can_until_one_can(tmp_path: Path):
    base = tmp_path / "spool"
    base.mkdir()
    spool = Spool.create(str(base), 1 << 30, False, 20_000)
    spool.extend([record(1), record(2)], STAMP)
    shutil.rmtree(base)
    base.write_text("in the way")
    spool._file_checked_at = 0.0
    spool.extend([record(n, 1000) for n in range(3, 33)], STAMP)
    assert not spool.outlives_process
    dropped = spool.dropped[MEMORY_FULL]
    assert 10 < dropped < 15
    assert count(spool) == (0, 32 - dropped, dropped)
    assert "records are in memory" in spool.reports.popleft()[0]
    expected = [*plain(*range(1, 33 - dropped)), (33 - dropped, (dropped, MEMORY_FULL))]
    assert drain(spool) == expected
    look(spool)
    assert not spool.outlives_process
    base.unlink()
    look(spool)
    assert spool.outlives_process
    assert "in the spool again" in spool.reports.popleft()[0]
    spool.extend([record(33)], STAMP)
    spool._unsend()
    assert drain(spool) == [*expected, (33, 33)]
    assert drain(adopt(crash(spool))) == [*expected, (33, 33)]


@pytest.mark.parametrize("size", ["1m", "64k"])
def test_a_file_system_mounted_over_the_spool_gets_what_fits(size: str, tmp_path: Path):
    with small_disk(tmp_path / "spool", "1m") as disk:
        spool = Spool.create(str(disk), 80 * 1024, False, 1 << 20)
        spool.extend([record(n, 300) for n in range(1, 201)], STAMP)
        assert len(spool._segments) > 6
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
        try:
            look(spool)
            assert spool.outlives_process == (size == "1m")
            spool.extend([record(201)], STAMP)
            assert drain(spool) == plain(*range(1, 202))
            assert count(spool) == (0, 201, 0)
            spool.ack(150, b"n" * 16)
            look(spool)  # there is room again
            assert spool.outlives_process
            assert drain(adopt(crash(spool))) == plain(*range(151, 202))
        finally:
            subprocess.run(["umount", "-l", disk], check=True)


def test_what_is_in_memory_at_the_end_is_written_if_that_is_possible_again(tmp_path: Path):
    spool = make_full(tmp_path / "spool", 2)
    shutil.rmtree(tmp_path / "spool")
    (tmp_path / "spool").write_text("in the way")
    spool._file_checked_at = 0.0
    spool.extend([record(3)], STAMP)
    (tmp_path / "spool").unlink()
    spool.close()
    assert drain(adopt(Path(spool.folder))) == plain(1, 2, 3)


def test_descriptors_that_a_program_has_closed_are_not_written(tmp_path: Path):
    def work() -> None:
        spool = make_full(tmp_path / "spool", 3)
        end = max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 1
        os.closerange(3, end)  # as daemons do
        others = [os.open(tmp_path / str(n), os.O_RDWR | os.O_CREAT) for n in range(3, end)]
        assert spool._file.descriptor in others
        spool._file_checked_at = 0.0
        spool.extend([record(4)], STAMP)
        look(spool)
        spool.extend([record(5)], STAMP)
        assert drain(spool) == [(1, (3, DAMAGED)), (4, 4), (5, 5)] or (
            drain(spool) == [] and spool.pending == 5
        )
        spool.close()
        for descriptor in others:
            assert os.fstat(descriptor).st_size == 0  # open still, and empty

    assert in_child(work) is None


@pytest.mark.parametrize("code", [errno.EACCES, errno.ESTALE, errno.EBADF])
def test_a_disk_that_fails_as_if_files_were_replaced_leads_to_a_new_folder(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spool = make_full(tmp_path / "spool", 2)
    write_all, left = spool_files.write_all, [1]

    def fail_once(descriptor: int, data: bytes) -> None:
        if left:
            raise OSError(left.pop() and code, os.strerror(code))
        write_all(descriptor, data)

    monkeypatch.setattr(spool_files, "write_all", fail_once)
    spool.extend([record(3)], STAMP)
    assert (spool.pending, sum(spool.dropped.values())) == (3, 0)
    assert drain(adopt(crash(spool))) == plain(1, 2, 3)


def test_a_relative_spool_stays_where_it_was_after_chdir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with FakeServer() as server, handler_of(server, spool="spool") as handler:
        monkeypatch.chdir(tmp_path / "elsewhere")
        emit(handler, [1])
        assert handler.flush()
        look(handler._outbox.store)
        assert not handler._outbox.store.reports
        assert handler._outbox.store.folder.startswith(str(tmp_path / "spool"))


# ---- in programs ----


def test_it_is_reported_once_and_the_numbers_add_up(tmp_path: Path):
    hook = Hook()
    spool = tmp_path / "spool"
    with FakeServer() as server, handler_of(server, spool=str(spool), on_error=hook) as handler:
        emit(handler, range(1, 101))
        assert handler.flush()
        server.terms.acks = False
        emit(handler, range(101, 151))
        wait_for(lambda: len(server.table.records) == 150)
        shutil.rmtree(spool)
        emit(handler, range(151, 201))
        wait_for(lambda: len(server.table.records) == 200)
        server.reset()  # so that all that is not acknowledged is read again
        server.terms.acks = True
        assert handler.flush()
        server.wait_exact(200)
        stats = handler.stats()
        assert (stats["emitted"], stats["acked"], stats["pending"]) == (200, 200, 0)
        assert sum(stats["dropped"].values()) == 0
        assert hook.count_with("was removed or replaced") == 1
        handler.close()
        assert list(spool.iterdir()) == []


def test_an_idle_process_moves_before_it_logs_again(tmp_path: Path):
    spool = tmp_path / "spool"
    with (
        FakeServer(acks=False, keepalive=1) as server,
        handler_of(server, spool=str(spool), close_timeout=0.1) as handler,
    ):
        emit(handler, [1])
        wait_for(lambda: server.table.records)
        shutil.rmtree(spool)
        wait_for(lambda: list(spool.iterdir()) if spool.exists() else [])
        assert handler.stats()["pending"] == 1
        folder = Path(handler._outbox.store.folder)
        wait_for(lambda: handler._reporter.hook.count_with("was removed or replaced"))
        copy = tmp_path / folder.name  # close() leaves the spool to its sender
        shutil.copytree(folder, copy)
        assert drain(adopt(copy)) == [(1, 1)]


@versions
@pytest.mark.parametrize("is_away", [False, True])
def test_a_program_whose_spool_is_removed_loses_nothing(
    version: str, is_away: bool, tmp_path: Path
):
    with FakeServer() as server:
        spool = tmp_path / "spool"
        if is_away:
            server.stop()
        process = start(version, "loses_its_spool", server, 600, spool)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line == "emitted\n", process.communicate(timeout=60)[1]
            if is_away:
                server.restart()
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
        lines = without_delays(errors)
        assert process.returncode == 0, errors
        assert_exact(server, 600)
        assert list(spool.iterdir()) == []
        assert len(lines) == 1, errors
        assert "was removed or replaced" in lines[0]


def test_on_a_real_server_nothing_is_missing_or_doubled(tmp_path: Path):
    spool = tmp_path / "spool"

    def remove() -> None:
        shutil.rmtree(spool, ignore_errors=True)

    with Server(tmp_path) as server:
        disturb(server, server.port, 4, remove, spool=str(spool))


@pytest.mark.parametrize("name", ["state", "lock"])
def test_what_a_full_disk_has_left_of_a_move_is_removed_at_the_end(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another process would adopt it, and the server would store its records twice."""
    spool, table = make(tmp_path), Table()
    spool.extend([record(n) for n in range(1, 6)], STAMP)
    Path(spool.folder, name).unlink()

    def fail(descriptor: int, data: bytes) -> None:
        if len(data) > 100:  # all but the state
            raise OSError(errno.ENOSPC, "No space left on device")
        os.write(descriptor, data)

    monkeypatch.setattr(spool_files, "write_all", fail)
    look(spool)
    assert len(list(tmp_path.iterdir())) == 2
    send(spool, table)
    assert table.is_exact(5)
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_removed_before_the_next_one_begins_is_salvaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(spool_files, "_FILE_CHECK_SECONDS", 3600.0)
    spool = make(tmp_path, 8 * 1024)
    spool.extend([record(1, 300), record(2, 300)], STAMP)
    path_of(spool).unlink()
    spool.extend([record(3, 500)], STAMP)
    assert len(spool._segments) == 2
    assert drain(spool) == plain(1, 2, 3)
    assert "was removed or replaced" in spool.reports[0][0]
