"""`fastlog backup` and `restore` without a server: what they refuse, each in one line."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec
import pytest
from commands import Run
from day_files import START_NAME, make_record, write_day
from exports import ONE, make_store, stored

from fastlog.transfer.manifest import CopiedSink, read_manifest, write_manifest

pytestmark = pytest.mark.usefixtures("nothing_configured")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path / "store")


@pytest.fixture
def backup(command: Run, store: Path) -> Path:
    """A backup of a data directory in which no server has run."""
    assert command("backup", "backups", "--data-dir", store).code == 0
    [path] = Path("backups").iterdir()
    return path


def error(command: Run, *words: object) -> str:
    result = command(*words)
    assert (result.code in (1, 2), result.out, result.err.count("\n")) == (True, "", 1)
    return result.err.removeprefix(f"fastlog {words[0]}: ").strip()


def test_a_restored_store_is_the_same(command: Run, store: Path, backup: Path) -> None:
    result = command("restore", "backups", "new")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"new: restored {backup}, ")
    assert stored(Path("new")) == stored(store)
    assert {path.stat().st_mode & 0o777 for path in Path("new/logs").iterdir()} == {0o600}
    assert Path("new/logs").stat().st_mode & 0o777 == 0o700


def test_unchanged_files_are_links_and_old_backups_are_deleted(
    command: Run, store: Path, backup: Path
) -> None:
    write_day(store / "logs" / START_NAME, [make_record(1, offset=9_000)], ONE)
    assert "of them unchanged" in command("backup", "backups", "--data-dir", store).out
    first, second = sorted(Path("backups").iterdir())
    links = {path.name: path.stat().st_nlink for path in (second / "sinks/sqlite").iterdir()}
    assert links == {START_NAME: 1, "2023-11-15.db": 2, "2023-11-16.db": 2}
    command("backup", "backups", "--data-dir", store, "--keep", 2)
    assert sorted(Path("backups").iterdir())[0] == second
    assert not first.exists()
    command("restore", "backups", "new")
    assert stored(Path("new")) == stored(store)


def test_a_backup_with_a_wrong_byte_is_refused(command: Run, backup: Path) -> None:
    file = backup / "sinks/sqlite" / START_NAME
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert "is damaged: it differs from its checksum" in error(command, "restore", backup, "new")
    file.unlink()
    assert "No such file or directory; the backup is damaged" in error(
        command, "restore", backup, "new"
    )
    manifest = backup / "manifest.json"
    manifest.write_text(manifest.read_text().replace(START_NAME, "2023-11-13.db"))
    assert "manifest.json is damaged" in error(command, "restore", backup, "new")
    manifest.unlink()
    assert "has no complete backup" in error(command, "restore", backup, "new")


def test_a_newer_backup_is_refused(command: Run, backup: Path) -> None:
    write_manifest(backup, msgspec.structs.replace(read_manifest(backup), version=2))
    assert "has version 2, and this fastlog knows 1 at most" in error(
        command, "restore", backup, "new"
    )


def test_a_directory_that_is_not_empty_or_in_use_is_refused(
    command: Run, store: Path, backup: Path
) -> None:
    assert f"{store} is not empty" in error(command, "restore", backup, store)
    assert "manifest.json is not a directory" in error(
        command, "restore", backup, backup / "manifest.json"
    )
    Path("used").mkdir()
    with Path("used/lock").open("w") as lock:
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "is in use by process" in error(command, "restore", backup, "used")


def test_what_is_no_data_directory_is_not_copied(command: Run, store: Path) -> None:
    assert "none is no data directory" in error(command, "backup", "b", "--data-dir", "none")
    inside = store / "backups"
    assert "is in the data directory" in error(command, "backup", inside, "--data-dir", store)
    fd = os.open(".", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert "another backup into . is being made" in error(
        command, "backup", ".", "--data-dir", store
    )
    os.close(fd)


def test_a_damaged_day_file_is_named_and_left_out(command: Run, store: Path) -> None:
    (store / "logs/2023-11-15.db").write_bytes(b"no database" * 1000)
    result = command("backup", "backups", "--data-dir", store)
    assert (result.code, result.err.count("\n")) == (3, 1)
    assert "2023-11-15.db is damaged" in result.err
    result = command("restore", "backups", "new")
    assert result.code == 3
    assert "not in the backup, because they were damaged" in result.err
    assert len(stored(Path("new"))) == 59


def test_sinks_elsewhere_that_lack_records_are_named(command: Run, backup: Path) -> None:
    manifest = read_manifest(backup)
    otlp = CopiedSink("otlp", "otlp+http://host:4318", 5, "other")
    shown = CopiedSink("console", "console:", 5, "other")
    behind = msgspec.structs.replace(manifest, durable=9, sinks=[*manifest.sinks, otlp, shown])
    write_manifest(backup, behind)
    result = command("restore", backup, "new")
    assert (result.code, result.err) == (
        3,
        "fastlog restore: sink otlp had not stored all when the backup was made; other sinks have "
        "it\n",
    )
    write_manifest(backup, msgspec.structs.replace(behind, sinks=[otlp]))
    assert "no other sink has these records; give --without otlp" in error(
        command, "restore", backup, "two"
    )
    assert command("restore", backup, "two", "--without", "otlp").code == 0
