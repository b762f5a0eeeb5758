"""The spool: written records are sent, whatever happens to the process."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from builders import in_child
from client_spools import NODE, STAMP, adopt, crash, drain, left_behind, make, plain, record, send
from fastlog_client import spool as spool_module
from fastlog_client import spool_files
from fastlog_client.entry import GAP_ENTRY_BYTES
from fastlog_client.errors import NewIdNeeded
from fastlog_client.files import Folder
from fastlog_client.gap import NOT_ENCODED, SPOOL_FULL, TOO_LARGE
from fastlog_client.spool import Spool
from fastlog_client.spool_files import _STATE
from protocol_server import Table


@pytest.mark.parametrize("fsync", [False, True])
def test_an_adopted_spool_has_all_that_was_written(tmp_path: Path, fsync: bool):
    spool = make(tmp_path, fsync=fsync)
    spool.extend([record(n) for n in range(1, 101)], STAMP)
    adopted = adopt(crash(spool))
    assert drain(adopted) == plain(*range(1, 101))
    assert (adopted.client_id, adopted.incarnation) == (spool.client_id, 2)
    assert adopt(crash(adopted)).incarnation == 3


def test_a_spool_of_a_running_process_is_not_adopted(tmp_path: Path):
    spool = make(tmp_path)
    assert adopt(Path(spool.folder)) is None
    adopted = adopt(crash(spool))
    assert adopt(Path(adopted.folder)) is None


def test_a_spool_is_removed_when_the_server_has_everything(tmp_path: Path):
    spool = make(tmp_path)
    spool.extend([record(1)], STAMP)
    send(spool, Table())
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_records_that_are_not_acknowledged_are_kept_at_close(tmp_path: Path):
    spool = make(tmp_path)
    spool.extend([record(1)], STAMP)
    spool.close()
    assert drain(adopt(Path(spool.folder))) == plain(1)


def test_segments_are_removed_as_they_are_acknowledged(tmp_path: Path):
    spool = make(tmp_path, 80 * 1024)
    spool.extend([record(n, 1000) for n in range(1, 51)], STAMP)
    before = spool.bytes
    files = len(list(Path(spool.folder).glob("*.seg")))
    assert files > 4
    drain(spool)
    spool.ack(40, NODE)
    assert spool.pending == 10
    assert len(list(Path(spool.folder).glob("*.seg"))) < files
    assert spool.bytes == sum(p.stat().st_size for p in Path(spool.folder).glob("*.seg")) < before
    adopted = adopt(crash(spool))
    assert (adopted.first, adopted.acked_by) == (41, NODE)
    assert drain(adopted) == plain(*range(41, 51))


def test_beyond_the_limit_the_newest_are_dropped_and_declared(tmp_path: Path):
    spool = make(tmp_path, 10_000)
    spool.extend([record(n, 1000) for n in range(1, 16)], STAMP)
    kept = spool.pending
    assert 5 < kept < 10
    assert spool.dropped[SPOOL_FULL] == 15 - kept
    assert drain(spool) == [*plain(*range(1, kept + 1)), (kept + 1, (15 - kept, 2))]
    spool.ack(15, NODE)
    assert spool.pending == 0
    spool.extend([record(16, 1000)], STAMP)
    assert drain(spool) == plain(16)


def test_a_gap_that_grew_is_found_with_its_whole_length_after_a_crash(tmp_path: Path):
    spool = make(tmp_path)
    spool.extend([record(1)], STAMP)
    for _ in range(5):
        spool.add_gap(NOT_ENCODED, STAMP)
    assert drain(spool)[-1] == (2, (5, NOT_ENCODED))
    for _ in range(3):
        spool.add_gap(NOT_ENCODED, STAMP)  # what was read already cannot grow
    spool.extend([record(10)], STAMP)
    assert spool.pending == 2
    expected = [(1, 1), (2, (5, NOT_ENCODED)), (7, (3, NOT_ENCODED)), (10, 10)]
    spool._unsend()
    assert drain(spool) == expected
    assert drain(adopt(crash(spool))) == expected


def test_a_full_disk_makes_a_gap_until_it_has_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spool = make(tmp_path)
    spool.extend([record(1)], STAMP)

    def write_half(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(spool_files, "write_all", write_half)
        spool.extend([record(2), record(3)], STAMP)
    assert spool.error.errno == 28
    spool.extend([record(4)], STAMP)
    expected = [(1, 1), (2, (2, SPOOL_FULL)), (4, 4)]
    assert drain(spool) == expected
    assert drain(adopt(crash(spool))) == expected


def test_a_gap_that_is_not_on_disk_is_sent_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spool, table = make(tmp_path), Table()

    def fail(descriptor: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(spool_files, "write_all", fail)
        spool.extend([record(1), record(2)], STAMP)
    send(spool, table)
    spool.extend([record(3)], STAMP)
    send(spool, table)
    assert table.is_exact(3)


def test_what_was_read_is_read_again_over_the_next_connection(tmp_path: Path):
    spool = make(tmp_path, 8 * 1024)
    spool.extend([record(n, 300) for n in range(1, 12)], STAMP)
    drain(spool)
    assert spool.rewind(4, NODE) == 7
    assert drain(spool) == plain(*range(5, 12))
    spool.extend([record(12)], STAMP)
    assert drain(spool) == plain(12)
    with pytest.raises(NewIdNeeded):
        spool.rewind(13, NODE)


def test_how_far_was_sent_is_in_the_file_before_it_is(tmp_path: Path):
    spool = make(tmp_path)
    spool.extend([record(n) for n in range(1, 6)], STAMP)
    spool.take(4 + len(record(1)), True, 1 << 20, STAMP)
    state = _STATE.unpack_from(Path(spool.folder, "state").read_bytes())
    assert (spool.cursor, spool.sent, state[4:6]) == (2, 2, (1, 2))


@pytest.mark.parametrize("claimed", [40, 41, 99, 100, 101, 1 << 47, (1 << 64) - 1])
def test_a_server_cannot_take_from_an_adopted_spool_what_was_not_sent(claimed: int, tmp_path: Path):
    adopted = adopt(left_behind(tmp_path, 100, 40, 20))
    assert (adopted.first, adopted.sent, adopted.next) == (21, 41, 101)
    if claimed == 40:
        adopted.rewind(claimed, NODE)
        assert drain(adopted) == plain(*range(41, 101))
        return
    old = adopted.client_id
    with pytest.raises(NewIdNeeded) as needed:
        adopted.rewind(claimed, NODE)
    assert (adopted.client_id, adopted.pending) == (old, 80)
    assert adopted.renumber(needed.value.claimed) == min(claimed, 100) - 20
    table = Table()
    send(adopted, table)
    assert table.numbers() == list(range(21, 101))
    assert [sequence for _, sequence, _ in table.records] == list(range(1, 81))


def test_with_fsync_the_state_is_synced_before_a_batch_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spool, synced = make(tmp_path, fsync=True), []
    spool.extend([record(1), record(2)], STAMP)
    monkeypatch.setattr(os, "fsync", synced.append)
    assert len(drain(spool)) == 2
    assert synced == [spool._state.descriptor]


def test_a_state_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spool, table = make(tmp_path), Table()
    spool.extend([record(1), record(2)], STAMP)

    def fail(self: Any, file: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Spool, "_write_state", fail)
    send(spool, table)
    assert table.is_exact(2)
    assert (spool.pending, spool.error.errno) == (0, 5)


def test_a_removed_lock_is_made_anew_when_its_process_has_certainly_ended(tmp_path: Path):
    folder = left_behind(tmp_path, 3, 0, 0)
    (folder / "lock").unlink()
    assert adopt(folder) is None
    os.utime(folder, (0, 0))
    adopted = adopt(folder)
    assert drain(adopted) == plain(1, 2, 3)
    assert adopt(folder) is None


def test_a_folder_that_another_file_keeps_is_sent_once(tmp_path: Path):
    folder = left_behind(tmp_path, 3, 0, 0)
    (folder / "notes").touch()
    adopted = adopt(folder)
    send(adopted, Table())
    adopted.close()
    assert [path.name for path in folder.iterdir()] == ["notes"]
    os.utime(folder, (0, 0))
    assert adopt(folder) is None


def test_a_new_id_begins_with_one_again_and_is_remembered(tmp_path: Path):
    spool, table = make(tmp_path), Table()
    spool.extend([record(1)], STAMP)
    send(spool, table)
    spool.extend([record(2), record(3)], STAMP)
    old = spool.client_id
    spool.renumber()
    adopted = adopt(crash(spool))
    assert adopted.client_id == spool.client_id != old
    send(adopted, table)
    assert [(sequence, a["number"]) for _, sequence, a in table.records] == [(1, 1), (1, 2), (2, 3)]


def test_a_record_over_the_servers_limit_is_counted_once(tmp_path: Path):
    spool = make(tmp_path)
    spool.extend([record(1), record(2, 5000), record(3)], STAMP)
    for _ in range(2):
        while spool.take(1 << 20, True, 1000, STAMP):
            pass
        spool._unsend()
    assert spool.dropped[TOO_LARGE] == 1
    assert spool.pending == 2


def test_a_record_larger_than_a_segment_and_than_a_batch_is_sent(tmp_path: Path):
    spool, table = make(tmp_path), Table()
    table.terms.max_record = 4 << 20
    spool.extend([record(1), record(2, 3 << 20), record(3)], STAMP)
    send(spool, table)
    assert table.is_exact(3)


def test_a_spool_that_was_removed_while_it_was_locked_is_not_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spool = make(tmp_path)
    folder = crash(spool)
    lock = spool_module.lock_folder

    def remove_and_lock(opened: Any, may_make: bool) -> Any:
        locked = lock(opened, may_make)
        shutil.rmtree(folder)
        return locked

    monkeypatch.setattr(spool_module, "lock_folder", remove_and_lock)
    assert adopt(folder) is None


def test_a_spool_whose_lock_is_removed_during_a_search_is_left_to_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Sent by two processes, its records would be stored twice."""
    spool = make(tmp_path)
    spool.extend([record(1)], STAMP)
    lock = spool_module.lock_folder

    def remove_and_lock(*args: Any, **more: Any) -> Any:
        Path(spool.folder, "lock").unlink()
        return lock(*args, **more)

    monkeypatch.setattr(spool_module, "lock_folder", remove_and_lock)
    assert adopt(Path(spool.folder)) is None
    assert not Path(spool.folder, "lock").exists()
    assert drain(spool) == plain(1)


def test_its_files_are_for_its_owner_only(tmp_path: Path):
    spool = make(tmp_path)
    spool.extend([record(1)], STAMP)
    modes = {p.stat().st_mode & 0o777 for p in Path(spool.folder).iterdir()}
    assert modes == {0o600}
    assert Path(spool.folder).stat().st_mode & 0o777 == 0o700


def test_what_a_fork_has_interrupted_writes_into_no_file_of_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A signal handler forks and logs in the middle of a write; then the child continues it."""
    base = tmp_path / "spool"
    base.mkdir()
    spool = make(base)
    spool.extend([record(1)], STAMP)
    others = [tmp_path / f"other {n}" for n in range(8)]  # they get every number that is free
    write_all = spool_files.write_all

    def write_in_the_child(descriptor: int, data: bytes) -> None:
        spool.abandon(is_interrupted=True)
        for path in others:
            os.open(path, os.O_RDWR | os.O_CREAT)
        write_all(descriptor, data)
        raise OSError(errno.EBADF, "what a closed descriptor gives")

    def work() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(spool_files, "write_all", write_in_the_child)
            spool.extend([record(2)], STAMP)

    assert in_child(work) is None
    assert [path.read_bytes() for path in others] == [b""] * len(others)
    assert [path.name for path in base.iterdir()] == [Path(spool.folder).name]
    spool.extend([record(3)], STAMP)
    assert drain(adopt(crash(spool))) == [(1, 1), (2, 3)]


def test_a_file_that_could_not_be_made_durable_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spool = make(tmp_path, 8 * 1024, fsync=True)
    spool.extend([record(1, spool._segment_bytes - len(record(1)) - 50)], STAMP)
    assert 0 < spool._segment_bytes - spool._segments[-1].size < GAP_ENTRY_BYTES

    def fail(folder: Folder) -> None:
        monkeypatch.undo()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Folder, "sync", fail)
    spool.extend([record(n, 100) for n in range(2, 10)], STAMP)
    assert drain(spool) == [(1, 1), (2, (1, SPOOL_FULL)), *plain(*range(3, 10))]
    assert spool.dropped[SPOOL_FULL] == 1


def test_a_gap_at_the_end_of_a_file_is_not_extended_in_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spool = make(tmp_path, 8 * 1024)
    spool.extend([record(1, 300), record(2, 300)], STAMP)

    def fail(descriptor: int, data: bytes) -> None:
        if len(data) > 100:  # all but gaps
            raise OSError(errno.ENOSPC, "No space left on device")
        os.write(descriptor, data)

    with monkeypatch.context() as patched:
        patched.setattr(spool_files, "write_all", fail)
        spool.extend([record(3, 150)], STAMP)
        spool.extend([record(4, 900), record(5, 900)], STAMP)  # in the next file
    spool.extend([record(6, 300)], STAMP)
    assert drain(spool) == [
        *plain(1, 2), (3, (1, SPOOL_FULL)), (4, (2, SPOOL_FULL)), (6, 6)
    ]  # fmt: skip
    assert spool.dropped[SPOOL_FULL] == 3
