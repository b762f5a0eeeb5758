"""Damage in a spool folder of this user: all that is readable is sent, the rest is a gap."""

from __future__ import annotations

import os
import resource
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import in_child
from client_spools import (
    NODE,
    STAMP,
    adopt,
    crash,
    drain,
    left_behind,
    make,
    path_of,
    plain,
    record,
    send,
)
from fastlog_client.entry import ENTRY, ENTRY_MARK, IS_GAP, SPOOLED_GAP, make_entry
from fastlog_client.errors import NewIdNeeded, UnsafeFile
from fastlog_client.gap import DAMAGED
from planted_files import ATTACKER, SECRET, make_segment, needs_root
from protocol_server import Table


def _replace(path: Path, make_it: Callable[[Path], object]) -> None:
    path.unlink()
    make_it(path)


@pytest.mark.parametrize("name", ["lock", "state"])
@pytest.mark.parametrize("what", ["link", "hard link", "fifo", "folder", "socket"])
def test_only_regular_files_with_one_name_are_opened(what: str, name: str, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    base = tmp_path / "spool"
    base.mkdir()
    spool = make(base)
    spool.extend([record(1)], STAMP)
    folder = crash(spool)
    makers: dict[str, Callable[[Path], object]] = {
        "link": lambda path: path.symlink_to(secret),
        "hard link": lambda path: path.hardlink_to(secret),
        "fifo": os.mkfifo,
        "folder": Path.mkdir,
        "socket": lambda path: os.mknod(path, 0o600 | stat.S_IFSOCK),
    }
    _replace(folder / name, makers[what])
    with pytest.raises(UnsafeFile) as rejected:
        adopt(folder)
    assert str(folder / name) in str(rejected.value)
    assert secret.read_text() == SECRET


@needs_root
def test_a_segment_of_another_user_is_a_gap_and_the_rest_is_sent(tmp_path: Path):
    spool = make(tmp_path, 8 * 1024)
    spool.extend([record(n, 300) for n in range(1, 12)], STAMP)
    bases = [segment.base for segment in spool._segments]
    foreign, fifo = (Path(spool.folder, spool._segments[i].name) for i in (0, 2))
    folder = crash(spool)
    os.chown(foreign, ATTACKER, ATTACKER)
    _replace(fifo, os.mkfifo)
    kept = {*range(bases[1], bases[2]), *range(bases[3], 12)}
    found = drain(adopt(folder))
    assert {content for _, content in found if isinstance(content, int)} == kept
    assert sum(content[0] for _, content in found if isinstance(content, tuple)) == 11 - len(kept)


@needs_root
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_can_write_is_skipped(mode: int, tmp_path: Path):
    spool = make(tmp_path)
    spool.extend([record(1)], STAMP)
    folder = crash(spool)
    folder.chmod(mode)
    with pytest.raises(UnsafeFile):
        adopt(folder)
    folder.chmod(0o700)
    assert drain(adopt(folder)) == plain(1)


@pytest.mark.parametrize(
    "name",
    [
        "0" * 16,  # numbers begin with 1
        "f" * 17,
        "f" * 16,
        f"{1 << 40:016x}",
        "-000000000000001",
        "0x00000000000001",
        "000000000000000A",
        "0000_0000_0000_01",
        " 00000000000000a",
    ],
)
def test_a_file_name_that_is_not_of_a_segment_is_ignored(name: str, tmp_path: Path):
    spool = make(tmp_path)
    spool.extend([record(1), record(2)], STAMP)
    folder = crash(spool)
    make_segment(folder, 1 << 50, 3)
    (folder / f"{1 << 50:016x}.seg").rename(folder / f"{name}.seg")
    adopted = adopt(folder)
    assert (adopted.next, drain(adopted)) == (3, plain(1, 2))


@pytest.mark.parametrize(
    ("first", "sent", "shift", "incarnation"),
    [
        (0, 1, 0, 1),
        (2, 1, 0, 1),
        (1, 1, 1, 1),
        (1, 1 << 63, 0, 1),
        (1, 1, 0, (1 << 64) - 1),
    ],
)
def test_an_impossible_state_is_ignored(
    first: int, sent: int, shift: int, incarnation: int, tmp_path: Path
):
    spool = make(tmp_path)
    spool.extend([record(1)], STAMP)
    spool.first, spool.sent, spool.shift, spool.incarnation = first, sent, shift, incarnation
    spool._save()
    adopted = adopt(crash(spool))
    assert (adopted.first, adopted.sent, adopted.shift) == (1, 1, 0)
    assert drain(adopted) == plain(1)


def test_entries_with_numbers_that_were_never_used_are_a_gap(tmp_path: Path):
    spool = make(tmp_path)
    spool.extend([record(1)], STAMP)
    path = Path(spool.folder, spool._segments[0].name)
    folder = crash(spool)
    body = record(7)
    gaps = [
        SPOOLED_GAP.pack(count, reason, 1, 2) for count, reason in ((0, 1), (1 << 63, 1), (1, 200))
    ]
    with path.open("ab") as file:
        for number in (0, 1 << 40, (1 << 64) - 1):
            file.write(make_entry(number, len(body), body))
        for gap in gaps:
            file.write(make_entry(2, IS_GAP, gap))
        file.write(make_entry(2, len(body), body))
    adopted = adopt(folder)
    assert adopted.next == 3
    assert drain(adopted) == [(1, 1), (2, 7)]


def test_a_huge_sparse_file_takes_neither_memory_nor_time(tmp_path: Path):
    spool = make(tmp_path)
    spool.extend([record(1), record(2)], STAMP)
    path = Path(spool.folder, spool._segments[0].name)
    folder = crash(spool)
    os.truncate(path, 1 << 42)

    def work() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert drain(adopt(folder)) == plain(1, 2)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + (100 << 10), "KiB"

    assert in_child(work) is None


def test_a_file_full_of_false_entries_is_abandoned_in_time(tmp_path: Path):
    spool = make(tmp_path)
    spool.extend([record(1)], STAMP)
    path = Path(spool.folder, spool._segments[0].name)
    folder = crash(spool)
    lure = ENTRY.pack(ENTRY_MARK, 2, 4_000_000)
    path.write_bytes(path.read_bytes() + lure * (1 << 19))
    assert drain(adopt(folder)) == plain(1)


def test_a_last_record_that_is_torn_at_any_byte_is_cut(tmp_path: Path):
    spool = make(tmp_path)
    spool.extend([record(1), record(2)], STAMP)
    whole = spool._segments[-1].size
    spool.extend([record(3)], STAMP)
    end = spool._segments[-1].size
    folder = crash(spool)
    for size in range(whole, end):
        copy = tmp_path / f"{size:032x}"
        shutil.copytree(folder, copy)
        os.truncate(next(copy.glob("*.seg")), size)
        adopted = adopt(copy)
        assert adopted.next == 3
        assert drain(adopted) == plain(1, 2)
        adopted.abandon()


@pytest.mark.parametrize("fill", [b"\0", b"\xff", None])
def test_a_hole_is_a_gap_and_what_follows_is_sent(tmp_path: Path, fill: bytes | None):
    spool = make(tmp_path)
    places = []
    for number in range(1, 6):
        places.append(spool._segments[-1].size)
        spool.extend([record(number)], STAMP)
    path = path_of(spool)
    folder = crash(spool)
    data = path.read_bytes()
    begin, end = places[1], places[3]
    middle = b"" if fill is None else fill * (end - begin)
    path.write_bytes(data[:begin] + middle + data[end:])
    adopted, table = adopt(folder), Table()
    assert drain(adopted) == [(1, 1), (2, (2, DAMAGED)), (4, 4), (5, 5)]
    adopted._unsend()
    send(adopted, table)
    assert table.is_exact(5)
    assert adopted.pending == 0


def test_a_changed_byte_loses_only_its_record(tmp_path: Path):
    spool = make(tmp_path)
    spool.extend([record(1)], STAMP)
    begin = spool._segments[-1].size
    spool.extend([record(2)], STAMP)
    end = spool._segments[-1].size
    spool.extend([record(3)], STAMP)
    path = path_of(spool)
    folder = crash(spool)
    data = path.read_bytes()
    for place in range(begin, end):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x20]) + data[place + 1 :])
        adopted = adopt(folder)
        assert drain(adopted) == [(1, 1), (2, (1, DAMAGED)), (3, 3)], place - begin
        adopted.abandon()


def test_a_removed_segment_is_a_gap(tmp_path: Path):
    spool = make(tmp_path, 8 * 1024)
    spool.extend([record(n, 300) for n in range(1, 12)], STAMP)
    bases = [segment.base for segment in spool._segments]
    assert len(bases) > 3
    lost = path_of(spool, 1)
    folder = crash(spool)
    lost.unlink()
    found = drain(adopt(folder))
    assert (bases[1], (bases[2] - bases[1], DAMAGED)) in found
    assert [n for n, content in found if n == content] == [
        n for n in range(1, 12) if not bases[1] <= n < bases[2]
    ]


@pytest.mark.parametrize("committed", [30, 70, 90])
def test_a_spool_that_lost_its_end_doubles_nothing_and_declares_the_rest(
    committed: int, tmp_path: Path
):
    folder = left_behind(tmp_path, 90, 90, 20)
    (segment,) = folder.glob("*.seg")
    data = segment.read_bytes()
    ends = [at for at in range(len(data)) if data.startswith(ENTRY_MARK, at)]
    os.truncate(segment, ends[50] + 7)
    adopted, table = adopt(folder), Table()
    table.accepted[adopted.client_id] = committed
    send(adopted, table)
    assert table.numbers() == list(range(committed + 1, 51))
    gaps = [(gap.first, gap.last, gap.reason) for _, gap in table.gaps]
    begin = max(51, committed + 1)
    assert gaps == ([(begin, 90, DAMAGED)] if begin <= 90 else [])
    assert adopted.pending == 0


def test_without_a_readable_state_nothing_that_a_server_claims_is_believed(tmp_path: Path):
    folder = left_behind(tmp_path, 10, 10, 0)
    (folder / "state").unlink()
    adopted = adopt(folder)
    with pytest.raises(NewIdNeeded) as needed:
        adopted.rewind(4, NODE)
    assert adopted.renumber(needed.value.claimed) == 4
    assert drain(adopted) == plain(*range(1, 11))


@pytest.mark.parametrize("damage", ["gone", "empty", "torn", "changed"])
def test_without_a_readable_state_the_id_is_that_of_the_folder(tmp_path: Path, damage: str):
    spool = make(tmp_path)
    spool.extend([record(1)], STAMP)
    folder = crash(spool)
    state = folder / "state"
    data = state.read_bytes()
    if damage == "gone":
        state.unlink()
    else:
        state.write_bytes({"empty": b"", "torn": data[:20], "changed": b"X" + data[1:]}[damage])
    adopted = adopt(folder)
    assert adopted.client_id == spool.client_id
    assert adopted.incarnation > 1_000_000_000
    assert drain(adopted) == plain(1)
