"""The journal: durable blocks survive, a torn tail is cut, damage is reported."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlog.block import (
    HEADER,
    MAGIC,
    SECRET_BYTES,
    Block,
    Kind,
    Stamp,
    frames,
    make_run,
    read_notice,
    runs,
)
from fastlog.errors import JournalDamagedError, JournalError
from fastlog.journal import (
    Full,
    Journal,
    JournalReader,
    SinkPosition,
    SkippedError,
    Snapshot,
    dump,
    read_positions,
    read_snapshot,
    repair,
    segment_writer,
    write_position,
)
from fastlog.journal.queue import BlockQueue
from fastlog.journal.secret import read_secret
from fastlog.journal.segment import Header, pack_header, segments
from fastlog.record import Loss

KIB = 1 << 10


def run_of(*payloads: bytes) -> bytes:
    return make_run(Kind.STOCK, payloads, peer="127.0.0.1:5")


def payloads(blocks: list[Block]) -> list[bytes]:
    return [bytes(f) for b in blocks for r in runs(b.payload) for f in frames(r)]


def read_all(directory: Path, offset: int = 0) -> list[Block]:
    reader = JournalReader(directory)
    found: list[Block] = []
    while more := reader.read(offset, 64 * KIB):
        found += more
        offset = more[-1].end
    reader.close()
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def filled(directory: Path) -> Iterator[Path]:
    """A closed journal of 85 blocks of one frame each, in several segments."""
    journal = Journal(directory, segment=8 * KIB, size=1 << 20, delay=0)
    for i in range(85):
        assert journal.append(run_of(b"%03d" % i * 95), 1) is None
        if i % 5 == 4:
            wait_for(lambda: journal.durable == journal.end)
    assert journal.close() == []
    yield directory


def test_blocks_are_read_in_order_with_their_ordinals(directory: Path) -> None:
    journal = Journal(directory, clock=lambda: 1_700_000_000.25)
    journal.append(run_of(b"a", b"b"), 2)
    journal.append(run_of(b"c"), 1)
    wait_for(lambda: journal.durable == journal.end)
    found = read_all(directory)
    journal.close()
    assert payloads(found) == [b"a", b"b", b"c"]
    assert [(b.index, b.frames, b.received) for b in found] == [
        (0, 2, 1_700_000_000.25),
        (2, 1, 1_700_000_000.25),
    ]


def test_a_reader_sees_nothing_that_is_not_durable(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(directory)
    journal.append(run_of(b"first"), 1)
    wait_for(lambda: journal.durable == journal.end)
    monkeypatch.setattr(os, "fdatasync", _always_fails)
    journal.append(run_of(b"second"), 1)
    wait_for(lambda: journal.failure)
    assert payloads(read_all(directory)) == [b"first"]
    monkeypatch.undo()
    wait_for(lambda: journal.durable == journal.end)
    assert payloads(read_all(directory)) == [b"first", b"second"]
    journal.close()


def _always_fails(_: int) -> None:
    raise OSError(errno.EIO, "injected")


def test_after_a_failed_sync_the_blocks_go_into_a_new_segment(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(directory)
    journal.append(run_of(b"first"), 1)
    wait_for(lambda: journal.durable == journal.end)
    durable = journal.durable
    monkeypatch.setattr(os, "fdatasync", _always_fails)
    journal.append(run_of(b"second"), 1)
    wait_for(lambda: journal.failure)
    monkeypatch.undo()
    wait_for(lambda: journal.durable == journal.end)
    journal.close()
    assert [s.start for s in segments(directory)] == [0, durable]
    reopened = Journal(directory)
    reopened.append(run_of(b"third"), 1)
    reopened.close()
    assert payloads(read_all(directory)) == [b"first", b"second", b"third"]


def test_nothing_is_lost_while_the_disk_is_full(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = os.pwritev, []

    def write_20_bytes(fd: int, buffers: list[bytes], offset: int) -> int:
        if len(failures) < 2:
            failures.append(offset)
            return os.pwrite(fd, b"".join(buffers)[:20], offset)
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "pwritev", write_20_bytes)
    journal = Journal(directory)
    journal.append(run_of(b"one"), 1)
    journal.append(run_of(b"two"), 1)
    wait_for(lambda: journal.failure)
    wait_for(lambda: journal.durable == journal.end)
    assert journal.failure is None
    journal.close()
    assert payloads(read_all(directory)) == [b"one", b"two"]


def test_memory_is_bounded_while_the_disk_fails(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(directory, memory=64 * KIB)
    monkeypatch.setattr(os, "fdatasync", _always_fails)
    answers = [journal.append(run_of(bytes(10 * KIB)), 1) for _ in range(10)]
    assert answers[:6] == [None] * 6
    assert answers[6:] == [Full.MEMORY] * 4
    monkeypatch.undo()
    journal.close()
    assert len(payloads(read_all(directory))) == 6


def test_the_journal_stops_at_its_size_and_continues_when_segments_are_released(
    directory: Path,
) -> None:
    journal = Journal(directory, segment=16 * KIB, size=64 * KIB, delay=0)
    appended = 0
    while journal.append(run_of(bytes(KIB)), 1) is None:
        appended += 1
        wait_for(lambda: journal.durable == journal.end)
    assert 50 < appended < 64
    assert journal.append(run_of(b"x"), 1) is None  # a small block still fits
    assert journal.append(run_of(bytes(KIB)), 1) is Full.SIZE
    before = len(segments(directory))
    journal.release(by_all=0, by_holding=0)
    assert journal.append(run_of(bytes(KIB)), 1) is Full.SIZE
    wait_for(lambda: journal.durable == journal.end)
    journal.release(by_all=journal.durable, by_holding=journal.durable)
    assert journal.append(run_of(bytes(KIB)), 1) is None
    journal.close()
    assert before > 3
    assert len(segments(directory)) == 1


def test_a_journal_that_is_full_of_released_blocks_is_not_full(directory: Path) -> None:
    """It has one segment, as large as the limit, or larger after the limit was lowered."""
    journal = Journal(directory)
    journal.append(run_of(bytes(100 * KIB)), 1)
    journal.close()
    smaller = Journal(directory, segment=16 * KIB, size=64 * KIB, delay=0)
    assert smaller.append(run_of(b"x"), 1) is Full.SIZE
    smaller.release(by_all=smaller.durable, by_holding=smaller.durable)
    assert smaller.append(run_of(bytes(200 * KIB)), 1) is None
    wait_for(lambda: smaller.durable == smaller.end)
    assert smaller.append(run_of(b"x"), 1) is Full.SIZE
    smaller.release(by_all=smaller.durable, by_holding=smaller.durable)
    assert smaller.append(run_of(b"x"), 1) is None
    smaller.close()
    assert payloads(read_all(directory, segments(directory)[-1].start)) == [b"x"]


def test_loss_notices_fit_into_a_full_journal(directory: Path) -> None:
    journal = Journal(directory, segment=16 * KIB, size=64 * KIB)
    while journal.append(run_of(bytes(KIB)), 1) is None:
        pass
    assert journal.append(run_of(bytes(KIB)), 1, over_size=True) is None
    journal.close()


def test_a_burst_is_split_into_segments_of_the_configured_size(directory: Path) -> None:
    journal = Journal(directory, segment=16 * KIB, size=1 << 20)
    for _ in range(100):
        journal.append(run_of(bytes(KIB)), 1)
    journal.close()
    assert all(segment.path.stat().st_size < 18 * KIB for segment in segments(directory))


def forged_blocks(offset: int, count: int, secret: bytes) -> bytes:
    """Return valid blocks for this journal offset, with their own offset as the durable one."""
    made = b""
    for n in range(count):
        at = offset + len(made)
        runs = run_of(b"forged %d" % n)
        header = Header(len(runs), 1, offset=at, durable=at, index=n, received_us=0)
        made += pack_header(header, runs, secret) + runs
    return made


def torn_with_forgeries(
    directory: Path, cut: int, secret: Callable[[Path], bytes]
) -> tuple[Path, list[Block]]:
    """Make a journal whose last block holds forged blocks and is torn, as after a power cut.

    Returns:
        The path of its segment, and its valid blocks.
    """
    journal = Journal(directory, delay=3600)  # no block has a durable offset above 0
    for n in range(3):
        journal.append(run_of(b"genuine %d" % n), 1)
    place = journal.end + HEADER.size + len(run_of(b""))  # the journal offset of the record
    forged = forged_blocks(place, 20, secret(directory))
    journal.append(run_of(forged + bytes(200)), 1)
    journal.close()
    whole = read_all(directory)
    (segment,) = segments(directory)
    assert segment.path.read_bytes().find(forged) == place, "the forged blocks are at their offset"
    os.truncate(segment.path, min(whole[-1].end - 1, cut))
    (directory / "durable").unlink()
    return segment.path, [block for block in whole if block.end <= cut][:3]


GUESSES: dict[str, Callable[[Path], bytes]] = {
    "zeros": lambda _: bytes(SECRET_BYTES),
    "the node id": lambda d: bytes.fromhex((d / "node").read_text()),
    "its digest": lambda d: hashlib.sha256((d / "node").read_bytes().strip()).digest()[:16],
    "half of it": lambda d: (read_secret(d) or b"")[:8] + bytes(8),
}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(cut=st.integers(0, 3600), guess=st.sampled_from(sorted(GUESSES)))
def test_a_torn_tail_is_cut_whatever_blocks_its_records_hold(
    tmp_path_factory: pytest.TempPathFactory, cut: int, guess: str
) -> None:
    """The forger knows the layout, the offset, the node id and the checksum, not the secret."""
    directory = tmp_path_factory.mktemp("forged") / "journal"
    _, valid = torn_with_forgeries(directory, cut, GUESSES[guess])
    recovered = Journal(directory)
    assert recovered.end == (valid[-1].end if valid else 0)
    recovered.append(run_of(b"next"), 1)
    recovered.close()
    assert payloads(read_all(directory)) == [*payloads(valid), b"next"]


def test_a_block_that_is_forged_with_the_secret_is_taken_for_a_block(directory: Path) -> None:
    """So the forged blocks of the test above are valid but for the secret."""
    torn_with_forgeries(directory, 3000, lambda d: read_secret(d) or b"")
    with pytest.raises(JournalDamagedError):
        Journal(directory)


def test_recovery_of_a_tail_full_of_forged_headers_is_fast(directory: Path) -> None:
    """Each has its offset and a length of megabytes, for which a checksum could be computed."""
    journal = Journal(directory, delay=3600)
    journal.append(run_of(b"genuine"), 1)
    end = journal.end
    place = end + HEADER.size + len(run_of(b""))
    fields = (8 << 20, 1), (0, 0, 0)
    forged = b"".join(
        HEADER.pack(MAGIC, bytes(SECRET_BYTES), 0, *fields[0], place + at, *fields[1])
        for at in range(0, 16 << 20, HEADER.size)
    )
    journal.append(run_of(forged), 1)
    journal.close()
    (segment,) = segments(directory)
    os.truncate(segment.path, segment.path.stat().st_size - 1)
    (directory / "durable").unlink()
    started = time.process_time()
    recovered = Journal(directory)
    assert time.process_time() - started < 10, "0.1 s when written; hours with a checksum for each"
    assert recovered.end == end
    recovered.close()


# ---- node id and secret ----


def test_the_secret_is_private_and_random_and_not_part_of_the_node_id(directory: Path) -> None:
    journal = Journal(directory)
    journal.append(run_of(b"x"), 1)
    node = journal.node
    journal.close()
    path = directory / "secret"
    secret = read_secret(directory)
    assert secret is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret.hex() not in node
    again = Journal(directory)
    again.close()
    assert read_secret(directory) == secret
    shutil.rmtree(directory)
    Journal(directory).close()
    assert read_secret(directory) != secret


def _remove(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _garbage(path: Path) -> None:
    path.write_bytes(b"\xff\xfe no hexadecimal digits")


def _another(path: Path) -> None:
    path.write_text(os.urandom(16).hex())


@pytest.mark.parametrize("damage", [_remove, _empty, _garbage, _another])
def test_a_journal_without_its_secret_is_rejected_until_it_is_repaired(
    filled: Path, damage: Callable[[Path], None]
) -> None:
    before, secret = payloads(read_all(filled)), read_secret(filled)
    damage(filled / "secret")
    segment_bytes = [path.read_bytes() for path in sorted(filled.glob("*.seg"))]
    with pytest.raises(JournalError, match=r"secret .*check --repair") as error:
        Journal(filled)
    assert "\n" not in str(error.value)
    assert [path.read_bytes() for path in sorted(filled.glob("*.seg"))] == segment_bytes
    assert "secret was missing or damaged: restored from the segments" in repair(filled)
    assert read_secret(filled) == secret
    assert stat.S_IMODE((filled / "secret").stat().st_mode) == 0o600
    journal = Journal(filled)
    journal.append(run_of(b"next"), 1)
    journal.close()
    assert payloads(read_all(filled)) == [*before, b"next"]
    assert repair(filled) == "the journal is intact: nothing was changed"


@pytest.mark.parametrize("damage", [_remove, _empty, _garbage])
def test_a_journal_without_its_node_id_is_rejected_until_it_is_repaired(
    filled: Path, damage: Callable[[Path], None]
) -> None:
    node = JournalReader(filled).node
    position = SinkPosition(node=node, cursor=5, durable=5, index=1, at=0.0)
    write_position(filled.parent, "sqlite", position)
    damage(filled / "node")
    with pytest.raises(JournalError, match=r"node is missing .*check --repair"):
        Journal(filled)
    assert f"restored {node} from the sinks" in repair(filled)
    journal = Journal(filled)
    assert journal.node == node
    journal.close()


def test_repair_makes_a_new_node_id_if_no_sink_has_one(filled: Path) -> None:
    node = JournalReader(filled).node
    (filled / "node").unlink()
    assert "made a new one, so the sinks store all blocks again" in repair(filled)
    journal = Journal(filled)
    assert journal.node != node
    journal.close()
    assert len(payloads(read_all(filled))) == 85


# ---- versions ----


def _of_segment(directory: Path, version: bytes) -> Path:
    path = segments(directory)[1].path
    path.write_bytes(b"FLB" + version + path.read_bytes()[4:])
    return path


def _of_snapshot(directory: Path, version: bytes) -> Path:
    path = directory / "clients.1"
    path.write_bytes(b"FLS" + version + path.read_bytes()[4:])
    return path


def _of_durable_offset(directory: Path, version: bytes) -> Path:
    path = directory / "durable"
    with path.open("r+b") as file:
        file.seek(16)
        word = int.from_bytes(b"FLDOFF", "big") << 16 | int(version)
        file.write(word.to_bytes(8, sys.byteorder))
    return path


def _of_position(directory: Path, version: bytes) -> Path:
    path = directory.parent / "positions" / "sqlite.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'{{"version": {int(version)}, "else": true}}')
    return path


@pytest.mark.parametrize(
    ("make", "readable"),
    [(_of_segment, 2), (_of_snapshot, 2), (_of_durable_offset, 1), (_of_position, 1)],
)
def test_a_file_of_a_newer_version_is_rejected_and_not_changed(
    filled: Path, make: Callable[[Path, bytes], Path], readable: int
) -> None:
    path = make(filled, b"7")
    content = path.read_bytes()
    text = rf"{path} has format 7, this fastlog reads {readable}: start the newer fastlog"
    for use in (Journal, JournalReader, repair):
        with pytest.raises(JournalError, match=text):
            use(filled)
    assert path.read_bytes() == content


def test_a_file_of_an_older_version_is_rejected(filled: Path) -> None:
    _of_segment(filled, b"1")
    with pytest.raises(JournalError, match="has format 1, this fastlog reads 2: let the older"):
        Journal(filled)


def test_recovery_of_a_large_damaged_segment_is_linear(directory: Path) -> None:
    journal = Journal(directory, delay=0)
    for _ in range(20_000):
        journal.append(run_of(bytes(200)), 1)
    journal.close()
    (segment,) = segments(directory)
    _overwrite(segment.path, 60)
    started = time.process_time()
    with pytest.raises(JournalDamagedError):
        Journal(directory)
    assert time.process_time() - started < 20, "0.3 s when written; minutes when it was quadratic"


def test_a_sink_that_may_not_hold_the_journal_loses_segments_only_when_it_is_nearly_full(
    directory: Path,
) -> None:
    journal = Journal(directory, segment=16 * KIB, size=96 * KIB, delay=0)
    for _ in range(40):
        journal.append(run_of(bytes(KIB)), 1)
        wait_for(lambda: journal.durable == journal.end)
    journal.release(by_all=0, by_holding=journal.durable)
    assert journal.oldest == 0
    while journal.append(run_of(bytes(KIB)), 1) is None:
        wait_for(lambda: journal.durable == journal.end)
    journal.release(by_all=0, by_holding=journal.durable)
    assert journal.oldest > 0
    wait_for(lambda: not (directory / f"{0:020}.seg").exists(), "the segment is deleted")
    reader = JournalReader(directory)
    with pytest.raises(SkippedError) as skipped:
        reader.read(0)
    assert skipped.value.oldest == journal.oldest
    assert skipped.value.index == reader.read(journal.oldest)[0].index > 0
    reader.close()
    journal.close()


def test_no_segment_is_deleted_before_its_snapshot_is_made(directory: Path) -> None:
    journal = Journal(directory, segment=16 * KIB, size=1 << 20, delay=0)
    for _ in range(40):
        journal.append(run_of(bytes(KIB)), 1)
        wait_for(lambda: journal.durable == journal.end)
    journal.release(journal.durable, journal.durable, lambda: None)
    assert journal.oldest == 0
    journal.release(journal.durable, journal.durable, lambda: Snapshot(20 * KIB, b"table"))
    assert 0 < journal.oldest <= 20 * KIB
    wait_for(lambda: not (directory / f"{0:020}.seg").exists())
    assert read_snapshot(directory) == Snapshot(20 * KIB, b"table")
    journal.close()


def test_a_journal_that_never_held_a_block_keeps_its_node_id(directory: Path) -> None:
    first = Journal(directory)
    first.close()
    second = Journal(directory)
    assert second.node == first.node
    second.append(run_of(b"x"), 1)
    second.close()
    for path in directory.glob("*.seg"):
        path.unlink()
    third = Journal(directory)
    assert third.node != first.node, "a sink of the old journal must not skip blocks"
    third.close()


def test_the_receive_time_is_the_wall_clocks_even_when_that_goes_back(directory: Path) -> None:
    times = iter([1000.0, 900.0, 1001.0])
    journal = Journal(directory, clock=lambda: next(times))
    for _ in range(3):
        journal.append(run_of(b"x"), 1)
    journal.close()
    assert [b.received for b in read_all(directory)] == [1000.0, 900.0, 1001.0]
    reopened = Journal(directory, clock=lambda: 5.0)
    reopened.append(run_of(b"x"), 1)
    reopened.close()
    assert read_all(directory)[-1].received == 5.0


def test_a_journal_continues_where_it_ended(filled: Path) -> None:
    before = read_all(filled)
    journal = Journal(filled, segment=8 * KIB)
    assert (journal.end, journal.index) == (before[-1].end, 85)
    journal.append(run_of(b"next"), 1)
    journal.close()
    after = read_all(filled)
    assert payloads(after) == [*payloads(before), b"next"]
    assert after[-1].index == 85


def test_many_bytes_are_synced_before_the_delay_is_over_and_few_are_not(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    real = os.fdatasync

    def counted(fd: int) -> None:
        syncs.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", counted)
    monkeypatch.setattr(segment_writer, "SLOW_SYNC", 3600)  # for disks of any speed
    journal = Journal(directory, delay=3600)
    block = run_of(bytes(256 * KIB))
    for _ in range(160):  # 40 MiB
        assert journal.append(block, 1) is None
    wait_for(lambda: journal.end - journal.durable < 8 << 20)
    assert 1 <= len(syncs) <= 5
    assert journal.close() == []


def test_after_a_pause_a_small_block_is_synced_at_once(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(directory, delay=3600)
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + 2 * 3600)  # a pause
    assert journal.append(run_of(b"little"), 1) is None
    wait_for(lambda: journal.durable == journal.end)
    assert journal.close() == []


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cut=st.integers(0, 3000), garbage=st.binary(max_size=40))
def test_a_tail_torn_at_any_byte_is_cut_and_all_blocks_before_it_stay(
    tmp_path_factory: pytest.TempPathFactory, cut: int, garbage: bytes
) -> None:
    """As after a power cut: one segment, no known durable offset, any byte the last one."""
    directory = tmp_path_factory.mktemp("torn") / "journal"
    journal = Journal(directory, delay=3600)  # no block has a durable offset above 0
    for i in range(10):
        journal.append(run_of(b"%d" % i * 200), 1)
    journal.close()
    whole = read_all(directory)
    (segment,) = segments(directory)
    os.truncate(segment.path, min(cut, whole[-1].end))
    with segment.path.open("ab") as file:
        file.write(garbage)
    (directory / "durable").unlink()
    recovered = Journal(directory)
    survivors = [block for block in whole if block.end <= cut]
    assert recovered.end == (survivors[-1].end if survivors else 0)
    recovered.append(run_of(b"next"), 1)
    recovered.close()
    assert payloads(read_all(directory)) == [*payloads(survivors), b"next"]


def test_a_valid_block_behind_a_torn_one_does_not_make_that_damage(directory: Path) -> None:
    journal = Journal(directory, delay=3600)
    for i in range(3):
        journal.append(run_of(b"%d" % i * 200), 1)
    journal.close()
    blocks = read_all(directory)
    (segment,) = segments(directory)
    _overwrite(segment.path, blocks[1].offset + 60)
    (directory / "durable").unlink()
    recovered = Journal(directory)
    assert recovered.end == blocks[0].end
    recovered.close()


@pytest.mark.parametrize("evidence", ["durable offset", "sink", "blocks"])
def test_an_unreadable_durable_block_is_damage(filled: Path, evidence: str) -> None:
    blocks = read_all(filled)
    (filled / "durable").unlink()
    last = segments(filled)[-1]
    victim = next(b for b in blocks if b.offset >= last.start)
    if evidence == "durable offset":
        Journal(filled).close()
        victim = blocks[-1]
    elif evidence == "sink":
        node = (filled / "node").read_text().strip()
        position = SinkPosition(node=node, cursor=0, durable=blocks[-1].end, index=85, at=0.0)
        write_position(filled.parent, "sqlite", position)
        victim = blocks[-1]
    _overwrite(last.path, victim.offset - last.start + 60)
    with pytest.raises(JournalDamagedError, match=str(victim.offset)):
        Journal(filled)


def test_a_missing_segment_is_damage(filled: Path) -> None:
    segments(filled)[2].path.unlink()
    with pytest.raises(JournalDamagedError, match="missing"):
        Journal(filled)


def test_sink_positions_of_another_journal_are_ignored(filled: Path) -> None:
    write_position(
        filled.parent,
        "sqlite",
        SinkPosition(node="other", cursor=0, durable=1 << 40, index=1, at=0.0),
    )
    Journal(filled).close()


@pytest.mark.parametrize("damage", ["byte", "segment", "tail", "end of a segment"])
def test_a_repair_keeps_readable_blocks_and_reports_the_others(filled: Path, damage: str) -> None:
    blocks = read_all(filled)
    victim_segment = segments(filled)[2] if damage != "tail" else segments(filled)[-1]
    here = [b for b in blocks if b.offset >= victim_segment.start]
    if damage == "byte":
        victims = here[1:2]
        _overwrite(victim_segment.path, victims[0].offset - victim_segment.start + 60)
    elif damage == "segment":
        until = segments(filled)[3].start
        victims = [b for b in here if b.offset < until]
        victim_segment.path.unlink()
    elif damage == "tail":
        victims = here[-1:]
        os.truncate(victim_segment.path, victims[0].offset - victim_segment.start + 5)
    else:
        until = segments(filled)[3].start
        victims = [b for b in here if b.end == until]
        os.truncate(victim_segment.path, victims[0].offset - victim_segment.start)
    with pytest.raises(JournalDamagedError):
        Journal(filled)
    assert str(victims[0].offset) in repair(filled)
    journal = Journal(filled)
    journal.append(run_of(b"next"), 1)
    journal.close()
    repaired = read_all(filled)
    stock = [
        bytes(f)
        for b in repaired
        for r in runs(b.payload)
        if r.kind == Kind.STOCK
        for f in frames(r)
    ]
    notices = [
        read_notice(f)
        for b in repaired
        for r in runs(b.payload)
        if r.kind == Kind.NOTICE
        for f in frames(r)
    ]
    assert stock == [*payloads([b for b in blocks if b not in victims]), b"next"]
    assert [type(notice) for notice in notices] == [Loss]
    assert repair(filled) == "the journal is intact: nothing was changed"


def _overwrite(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff\xee\xdd")


def test_a_deleted_journal_gets_another_node_id(filled: Path) -> None:
    node = JournalReader(filled).node
    shutil.rmtree(filled)
    journal = Journal(filled)
    assert journal.node != node
    assert journal.end == 0
    journal.close()


def test_a_bug_in_the_thread_is_reported(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(directory)

    def bug(*_: object) -> int:
        raise struct.error("a bug")

    monkeypatch.setattr(os, "pwritev", bug)
    journal.append(run_of(b"x"), 1)
    wait_for(lambda: journal.crash)
    assert isinstance(journal.crash, struct.error)


def test_sink_positions_are_read_by_name(tmp_path: Path) -> None:
    position = SinkPosition(node="n", cursor=3, durable=2, index=1, at=1.5, error="down")
    write_position(tmp_path, "ndjson-2", position)
    (tmp_path / "positions" / "torn.json").write_text('{"cur')
    assert read_positions(tmp_path) == {"ndjson-2": position}


# ---- the queue ----


def test_the_queue_counts_blocks_as_queued_written_and_durable() -> None:
    queue = BlockQueue(end=1000, index=7, memory_limit=1 << 20)
    for payload in (b"a", b"bb", b"ccc"):
        queue.append(payload, frames=2, received_us=5)
    sizes = [HEADER.size + n for n in (1, 2, 3)]
    assert (queue.end, queue.index, len(queue)) == (1000 + sum(sizes), 13, 3)
    assert queue.memory == queue.unwritten == sum(sizes)
    assert [block.offset for block in queue.next_group(1 << 20, 2)] == [1000, 1000 + sizes[0]]
    queue.mark_written(2)
    assert (queue.written, queue.durable) == (1000 + sum(sizes[:2]), 1000)
    assert (queue.unwritten, queue.memory) == (sizes[2], sum(sizes))
    queue.mark_durable()
    assert queue.durable == queue.written
    assert queue.memory == sizes[2]
    assert queue.remaining() == [b"ccc"]


def test_the_queue_returns_requeued_blocks_first() -> None:
    queue = BlockQueue(end=0, index=0, memory_limit=1 << 20)
    for payload in (b"a", b"b", b"c"):
        queue.append(payload, frames=1, received_us=0)
    queue.mark_written(2)
    queue.requeue_written()
    assert (queue.written, queue.unwritten, queue.has_written) == (0, queue.memory, False)
    assert [block.runs for block in queue.next_group(1 << 20, 9)] == [b"a", b"b", b"c"]


def test_the_queue_bounds_memory_and_groups_but_takes_one_block_of_any_size() -> None:
    queue = BlockQueue(end=0, index=0, memory_limit=100)
    assert queue.has_memory_for(1 << 30)
    queue.append(bytes(200), frames=1, received_us=0)
    assert not queue.has_memory_for(1)
    queue.append(b"b", frames=1, received_us=0)
    assert [len(block.runs) for block in queue.next_group(10, 9)] == [200]


def test_the_queue_is_awaited_until_the_awaited_blocks_are_durable() -> None:
    queue = BlockQueue(end=0, index=0, memory_limit=1 << 20)
    assert not queue.is_awaited
    queue.append(b"a", frames=1, received_us=0)
    queue.await_all()
    queue.append(b"b", frames=1, received_us=0)
    queue.mark_written(1)
    assert queue.is_awaited
    queue.mark_durable()
    assert not queue.is_awaited
    assert not queue.is_empty


# ---- the dump ----


def test_a_dump_describes_each_block_and_run(directory: Path) -> None:
    stamp = Stamp(bytes(range(16)), incarnation=3, sequence=41)
    batch = make_run(Kind.BATCH, [b"b", b"c"], peer="[::1]:7", connection=9, stamp=stamp)
    journal = Journal(directory, clock=lambda: 1_700_000_000.25)
    journal.append(run_of(b"a") + batch, 3)
    journal.append(run_of(b"d"), 1)
    assert journal.flush(30)
    name = segments(directory)[0].path.name
    first, second = read_all(directory)
    live = list(dump(directory))
    journal.close()
    assert (
        live
        == list(dump(directory))
        == [
            f"journal {directory}: node {journal.node}, 1 segments, durable offset {second.end}",
            f"segment {name}: offset 0, {second.end} bytes",
            f"{name} offset 0: {first.end} bytes, index 0, 3 frames, "
            "received 2023-11-14T22:13:20.250000Z, durable 0, checksum ok",
            "    stock: 1 frames, 5 bytes, peer 127.0.0.1:5, connection 0",
            "    batch: 2 frames, 10 bytes, peer [::1]:7, connection 9, "
            "client 000102030405060708090a0b0c0d0e0f, incarnation 3, sequence 41",
            f"{name} offset {second.offset}: {second.end - second.offset} bytes, index 3, "
            "1 frames, received 2023-11-14T22:13:20.250000Z, durable 0, checksum ok",
            "    stock: 1 frames, 5 bytes, peer 127.0.0.1:5, connection 0",
        ]
    )
    assert list(dump(directory, start=second.offset)) == [*live[:2], *live[-2:]]
    assert "        1 bytes: b'c'" in list(dump(directory, frames=True))


def test_a_dump_says_what_is_damaged_and_where(filled: Path) -> None:
    blocks, first, second = read_all(filled), *segments(filled)[:2]
    _overwrite(first.path, blocks[1].offset + 60)
    victims = [
        block for block in blocks if second.start <= block.offset < segments(filled)[2].start
    ]
    second.path.unlink()
    os.truncate(segments(filled)[-1].path, blocks[-1].offset - segments(filled)[-1].start + 9)
    lines = list(dump(filled))
    where = f"{first.path.name} offset {blocks[1].offset}: "
    size = blocks[1].end - blocks[1].offset
    assert any(line.startswith(where) and "checksum WRONG" in line for line in lines)
    assert f"{where}damaged: {size} bytes are not a valid block" in lines
    assert any(
        line.startswith(f"{first.path.name} offset {second.start}: damaged: ")
        and f"{victims[-1].end - second.start} bytes before the next segment are missing" in line
        for line in lines
    )
    last = f"{segments(filled)[-1].path.name} offset {blocks[-1].offset}: damaged: 9 bytes"
    assert any(line.startswith(last) for line in lines)
    assert sum("checksum ok" in line for line in lines) == 85 - 2 - len(victims)


@pytest.mark.parametrize("damage", [_remove, _empty, _garbage, _another])
def test_a_dump_reads_the_segments_without_the_secrets_file(
    filled: Path, damage: Callable[[Path], None]
) -> None:
    damage(filled / "secret")
    lines = list(dump(filled))
    assert lines[1].startswith("damaged: the file of the secret is ")
    assert sum("checksum ok" in line for line in lines) == 85


def test_a_dump_of_a_directory_without_segments_says_so(tmp_path: Path) -> None:
    assert list(dump(tmp_path)) == [
        f"journal {tmp_path}: node missing or damaged, 0 segments, durable offset unknown"
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 900), garbage=st.binary(min_size=1, max_size=200))
def test_a_dump_of_any_damage_has_no_traceback(
    tmp_path_factory: pytest.TempPathFactory, at: int, garbage: bytes
) -> None:
    directory = tmp_path_factory.mktemp("dump") / "journal"
    journal = Journal(directory, delay=3600)
    for i in range(4):
        journal.append(run_of(b"%d" % i * 100), 1)
    journal.close()
    (segment,) = segments(directory)
    with segment.path.open("r+b") as file:
        file.seek(at)
        file.write(garbage)
    assert list(dump(directory, frames=True))
