"""A spool directory that others can write: none of their files is followed, written or sent."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import in_child
from client_spools import STAMP, adopt, crash, drain, make, plain, record
from conditions import wait_for
from fastlog_client import files
from fastlog_client.files import make_directory
from interpreters import environment, interpreters
from places import CLIENT, SUPPORT
from planted_files import ATTACKER, SECRET, VICTIM, make_folder, make_segment, needs_root
from protocol_server import FakeServer

SCRIPT = SUPPORT / "clients" / "log_as_user.py"
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


def plant_all(spool: Path, secret: Path) -> set[str]:
    """Make every kind of file that once did harm; return the names of the folders."""
    (make_folder(spool, "a") / "state").symlink_to(secret)
    os.mkfifo(make_folder(spool, "b") / "state")
    (make_folder(spool, "c") / f"{'f' * 17}.seg").touch()
    make_segment(make_folder(spool, "d"), 1, 1)
    (make_folder(spool, "e") / "lock").unlink()
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
