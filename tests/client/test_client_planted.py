"""A spool directory that others can write: none of their files is followed, written or sent."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import in_child
from client_handlers import Hook, emit, handler_of
from client_spools import adopt, crash, drain, make, plain, record
from conditions import wait_for
from fastlog_client import connection, directory, files, orphans
from fastlog_client.entry import ENTRY, ENTRY_MARK, IS_GAP, SPOOLED_GAP, make_entry
from fastlog_client.errors import UnsafeFile
from fastlog_client.files import make_directory
from fastlog_client.session import Session
from fastlog_client.spool import Spool
from interpreters import environment, interpreters
from places import CLIENT, SUPPORT
from protocol_server import FakeServer

SCRIPT = SUPPORT / "clients" / "log_as_user.py"
VICTIM, ATTACKER = 65533, 65534
STAMP = 1_700_000_000_000_000
SECRET = "root:x:0:0:root:/root:/bin/bash\n" * 4

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
versions = pytest.mark.parametrize("version", ["2.7", "3.6", "3.11", "3.13"])


@pytest.fixture
def place() -> Iterator[Path]:
    """Make a directory that every user may enter, unlike those of pytest."""
    path = Path(tempfile.mkdtemp(prefix="fastlog-planted-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def shared(place: Path, mode: int) -> Path:
    spool = place / "spool"
    spool.mkdir()
    spool.chmod(mode)
    return spool


def secret_of_victim(place: Path) -> Path:
    path = place / "secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    os.chown(path, VICTIM, VICTIM)
    return path


def as_user(uid: int, work: Callable[[], object]) -> None:
    def run() -> None:
        os.setgid(uid)
        os.setuid(uid)
        os.umask(0)
        work()

    assert in_child(run) is None


def log(version: str, server: FakeServer, spool: Path, count: int, way: str = "0") -> Any:
    """Run a program that logs as the victim; return its reports and its stats."""
    if version not in interpreters():
        pytest.skip(f"there is no Python {version} here")
    out = subprocess.run(
        [
            *(interpreters()[version], "-B", SCRIPT, CLIENT),
            *(str(VICTIM), str(server.port), spool, str(count), way),
        ],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert out.stderr == ""
    *reports, stats = out.stdout.splitlines() or ["null"]
    return reports, json.loads(stats)


# ---- files of another user ----


def _folder(spool: Path, letter: str) -> Path:
    folder = spool / (letter * 32)
    folder.mkdir()
    (folder / "lock").touch()
    return folder


def _segment(folder: Path, base: int, number: int) -> None:
    body = pickle.dumps({"number": 666, "sender": "attacker"}, 2)
    (folder / f"{base:016x}.seg").write_bytes(make_entry(number, len(body), body))


def plant_all(spool: Path, secret: Path) -> set[str]:
    """Make every kind of file that once did harm; return the names of the folders."""
    (_folder(spool, "a") / "state").symlink_to(secret)
    os.mkfifo(_folder(spool, "b") / "state")
    (_folder(spool, "c") / f"{'f' * 17}.seg").touch()
    _segment(_folder(spool, "d"), 1, 1)
    (_folder(spool, "e") / "lock").unlink()
    os.mkfifo(spool / ("e" * 32) / "lock")
    (spool / ("f" * 32)).symlink_to(secret.parent)
    (spool / ("0" * 32)).symlink_to(spool)
    (spool / ("1" * 32)).write_text("no folder")
    os.mkfifo(spool / ("2" * 32))
    (spool / ("3" * 32)).mkdir(0)
    (spool / "4").mkdir()
    return {letter * 32 for letter in "abcdef0123"}


def seen(spool: Path, names: set[str]) -> dict[Path, tuple[int, ...]]:
    """Return what shows whether these files, or files in them, were changed."""
    folders = [spool / name for name in names]
    paths = folders + [p for f in folders if not f.is_symlink() for p in f.glob("*")]
    found = {path: path.lstat() for path in paths}
    return {
        p: (i.st_mode, i.st_ino, i.st_size, i.st_mtime_ns, i.st_nlink) for p, i in found.items()
    }


@needs_root
@versions
@pytest.mark.parametrize("mode", [0o1777, 0o777])
def test_files_of_another_user_are_reported_once_and_not_touched(
    version: str, mode: int, place: Path
):
    spool, secret = shared(place, mode), secret_of_victim(place)
    with FakeServer() as server:
        log(version, server, spool, 20, "dies")  # an orphan of the victim's own, among the others
        as_user(ATTACKER, lambda: plant_all(spool, secret))
        planted = {path.name for path in spool.iterdir() if path.lstat().st_uid == ATTACKER} - {"4"}
        assert len(planted) == 10
        before = seen(spool, planted)
        reports, stats = log(version, server, spool, 200, "10" if mode == 0o1777 else "11")
        assert (stats["acked"], stats["flushed"], stats["reconnects"]) == (200, True, 0)
        wait_for(lambda: len(server.table.records) == 220)
        assert 666 not in server.table.numbers()
        for name in planted:
            assert sum(name in report for report in reports) == 1, name
        others = [report for report in reports if "is skipped" not in report]
        assert len(others) == (0 if mode == 0o1777 else 1), others
        assert all("all users can remove" in report for report in others)
        assert secret.read_text() == SECRET
        assert seen(spool, planted) == before
        assert {p.name for p in spool.iterdir()} - planted <= {"4"}  # the victim's are removed


@needs_root
@versions
def test_a_directory_of_another_user_is_not_used(version: str, place: Path):
    spool = shared(place, 0o1777)
    os.chown(spool, ATTACKER, ATTACKER)
    own = place / "own"
    own.mkdir()
    os.chown(own, VICTIM, VICTIM)
    link = place / "link"
    link.symlink_to(own)
    os.lchown(link, ATTACKER, ATTACKER)
    with FakeServer() as server:
        for path in (spool, link):
            reports, stats = log(version, server, path, 50)
            assert [report for report in reports if "kept in memory" in report] == reports
            assert len(reports) == 1
            assert f"belongs to user {ATTACKER}" in reports[0]
            assert (stats["acked"], stats["flushed"]) == (50, True)
        assert list(spool.iterdir()) == list(own.iterdir()) == []


@needs_root
@versions
def test_folders_and_files_are_for_their_user_only_whatever_the_umask(version: str, place: Path):
    place.chmod(0o777)
    with FakeServer() as server:
        log(version, server, place / "new" / "spool", 3, "dies")
    folders = [place / "new" / "spool", *(place / "new" / "spool").iterdir()]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    files = list(folders[1].iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o277, 0o777])
def test_any_umask_works(mask: int, tmp_path: Path):
    def work() -> None:
        os.umask(mask)
        make_directory(str(tmp_path / "spool"))
        spool = make(tmp_path / "spool")
        spool.extend([record(1)], STAMP)
        spool.abandon()

    assert in_child(work) is None
    (folder,) = (tmp_path / "spool").iterdir()
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert drain(adopt(folder)) == plain(1)


@pytest.mark.parametrize("way", ["dir_fd", "proc", "path"])
def test_a_folder_that_is_replaced_by_a_link_is_not_followed(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    is_directory = os.path.isdir
    if way != "dir_fd":  # as with Python 2
        monkeypatch.setattr(files, "_HAS_DIR_FD", False)
    if way == "path":
        monkeypatch.setattr(
            os.path, "isdir", lambda p: not str(p).startswith("/proc") and is_directory(p)
        )
    base, other = tmp_path / "spool", tmp_path / "other"
    base.mkdir()
    other.mkdir()
    spool = make(base)
    spool.extend([record(1), record(2)], STAMP)
    for name in ("state", "lock", f"{1:016x}.seg"):
        (other / name).write_text(SECRET)
    folder = Path(spool.folder)
    folder.rename(base / "elsewhere")
    folder.symlink_to(other)
    spool._remove("state", spool._folder)
    spool._remove(f"{1:016x}.seg", spool._folder)
    spool._check_folder_at = 0.0
    spool.check(1.0)
    spool.extend([record(3)], STAMP)
    assert drain(spool) == plain(1, 2, 3)
    assert spool.folder != str(folder)
    assert {path.read_text() for path in other.iterdir()} == {SECRET}
    assert len(list(other.iterdir())) == 3
    adopted = adopt(crash(spool))
    assert drain(adopted) == plain(1, 2, 3)
    adopted.first = adopted.next
    adopted.close()
    assert not Path(adopted.folder).exists()


# ---- damage in a folder of this user ----


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
    _segment(folder, 1 << 50, 3)
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


# ---- one bad spool among others ----


def test_a_folder_is_reported_once_however_often_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = _folder(tmp_path, "a")
    folder.chmod(0o700)
    os.mkfifo(folder / "state")
    _segment(folder, 1, 1)
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
