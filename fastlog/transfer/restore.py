"""A data directory made of a backup.

First, the blocks that a sink had not stored are stored, so that all is in the store under the old
journal's id. Then a new journal begins, with a new id and with the client table. So the restored
server and the old one are two servers, even if both run: no cursor, no offset and no identity of a
record means something for both.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from fastlog.block import runs
from fastlog.config import Config, SinkConfig
from fastlog.errors import FastlogError
from fastlog.files import Access, make_directory, open_file, sync_directory
from fastlog.journal import JournalReader, Snapshot, read_snapshot
from fastlog.journal.secret import make_secret
from fastlog.journal.segment import make_node, segments
from fastlog.journal.snapshot import reserve, write_snapshot
from fastlog.protocol.client_table import Clients
from fastlog.search.store import POSTGRES
from fastlog.server.lock import RESTORING, lock
from fastlog.sinks.cursor_file import CursorFile
from fastlog.sinks.line_file import LineFileCursor
from fastlog.transfer.backup import LEDGER, LEFTOVERS, list_backups
from fastlog.transfer.catch_up import catch_up, publish_durable
from fastlog.transfer.manifest import (
    NAME,
    CopiedSink,
    Manifest,
    check_file,
    read_manifest,
)

WORK: Final = RESTORING
"""The directory, in the data directory, where all is prepared. While it exists, a restore was
interrupted, everything beside it is of that restore, and no server starts there."""
ELSEWHERE: Final = "restored"
"""The directory, in the data directory, for files that were elsewhere before."""
_SHOWN: Final = ("console", "logging")
"""The schemes of sinks that store nothing."""
_NOT_OURS: Final = ("lock", "lost+found")
_PIECE: Final = 4 << 20


class Restored(NamedTuple):
    """What a restore has made."""

    manifest: Manifest
    elsewhere: list[Path]
    """Files of sinks that were not in the data directory."""
    stored: list[str]
    """Names of the databases that have got what they lacked."""


def find_backup(path: Path) -> Path:
    """Return a backup: the one at this path, or the newest one in it.

    Raises:
        FastlogError: There is none.
    """
    if (path / NAME).exists():
        return path
    backups = list_backups(path)
    if backups:
        return backups[-1]
    if not path.is_dir():
        raise FastlogError(f"{path} is no directory")
    is_incomplete = (path / "incomplete").exists() or path.name == "incomplete"
    hint = "; the only one was interrupted" if is_incomplete else ""
    raise FastlogError(f"{path} has no complete backup{hint}")


def restore(
    backup: Path,
    config: Config,
    data_dir: Path,
    without: tuple[str, ...],
    step: Callable[[int], object],
) -> Restored:
    """Make a data directory of a backup.

    Args:
        backup: Of `find_backup`.
        config: Of the server that is going to run there.
        data_dir: Is empty, or does not exist.
        without: Names of sinks that get nothing of what they had not stored.
        step: Called with the bytes of each step.

    Raises:
        FastlogError: The backup is damaged, or the directory is not empty or in use.
        OSError: The files cannot be written.
    """
    manifest = read_manifest(backup)
    targets = _targets(manifest, config, without)
    _require_empty(data_dir)
    fd = lock(data_dir, Access.of(config.files.mode, config.files.group))
    try:
        _require_empty(data_dir)  # a server may have begun meanwhile
        _clear(data_dir)
        work = data_dir / WORK
        make_directory(work)
        _copy(backup, manifest, work, step)
        elsewhere = _arrange(manifest, work)
        if manifest.node:
            _store_rest(manifest, work, config, targets)
            _begin_journal(work)
        _put_in_place(work, data_dir)
    finally:
        os.close(fd)
    places = [data_dir / path.relative_to(work) for path in elsewhere]
    return Restored(manifest, places, list(targets))


def _targets(manifest: Manifest, config: Config, without: tuple[str, ...]) -> dict[str, str]:
    """Return the URLs of the databases that lack records, by the name of the sink.

    Raises:
        FastlogError: The configuration does not name one, or records would be in no store.
    """
    targets = {}
    for sink in behind(manifest):
        if sink.name in without:
            continue
        what = f"sink {sink.name} ({sink.url}) had not stored all when the backup was made"
        leave_out = f"give --without {sink.name} to leave that out"
        if sink.url.partition(":")[0] in POSTGRES:
            url = next((each.url for each in config.sinks if each.name == sink.name), None)
            if url is None:
                raise FastlogError(
                    f"{what}; name the configuration that has it with --config, or {leave_out}"
                )
            targets[sink.name] = url
        elif all(each.kind == "other" for each in manifest.sinks):
            raise FastlogError(f"{what}, and no other sink has these records; {leave_out}")
    return targets


def behind(manifest: Manifest) -> list[CopiedSink]:
    """Return the sinks elsewhere that had not stored all when the backup was made."""
    return [
        sink
        for sink in manifest.sinks
        if sink.kind == "other"
        and sink.offset < manifest.durable
        and sink.url.partition(":")[0] not in _SHOWN
    ]


def _require_empty(data_dir: Path) -> None:
    """Check that nothing is overwritten.

    Raises:
        FastlogError: The directory has files that are not of an interrupted restore.
    """
    if not data_dir.exists():
        return
    if not data_dir.is_dir():
        raise FastlogError(f"{data_dir} is not a directory")
    names = {path.name for path in data_dir.iterdir()} - {*_NOT_OURS}
    if WORK in names:
        return
    if names:
        raise FastlogError(f"{data_dir} is not empty; name another directory, or move it away")


def _clear(data_dir: Path) -> None:
    """Remove what an interrupted restore has left, its mark last."""
    work = data_dir / WORK
    if not work.exists():
        return
    for path in data_dir.iterdir():
        if path.name in (*_NOT_OURS, WORK):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.rmtree(work)


def _copy(backup: Path, manifest: Manifest, work: Path, step: Callable[[int], object]) -> None:
    """Copy the files of a backup, and check the copies."""
    for file in manifest.files:
        target = work / file.path
        make_directory(target.parent)
        try:
            source = (backup / file.path).open("rb")
        except OSError as error:
            raise FastlogError(
                f"{backup / file.path}: {error.strerror}; the backup is damaged"
            ) from None
        with source, os.fdopen(open_file(target, os.O_RDWR | os.O_EXCL), "wb") as written:
            while piece := source.read(_PIECE):
                written.write(piece)
                step(len(piece))
            written.flush()
            os.fsync(written.fileno())
        check_file(work, file)


def _arrange(manifest: Manifest, work: Path) -> list[Path]:
    """Move the files of the sinks to where they belong, and return those that were elsewhere."""
    elsewhere = []
    for sink in manifest.sinks:
        folder = work / sink.folder if sink.folder else None
        if folder is None or not folder.is_dir():
            continue
        target = _place(sink, work)
        make_directory(target)
        for path in folder.iterdir():
            path.rename(target / path.name)
        if not sink.place:
            elsewhere.append(target)
    shutil.rmtree(work / "sinks", ignore_errors=True)
    return elsewhere


def _place(sink: CopiedSink, work: Path) -> Path:
    return work / (sink.place or f"{ELSEWHERE}/{sink.name}")


def _store_rest(manifest: Manifest, work: Path, config: Config, targets: dict[str, str]) -> None:
    """Store the blocks that a sink had not stored."""
    journal = work / "journal"
    publish_durable(journal, manifest.durable)
    rules = [*manifest.redact, *(rule for rule in config.redact if rule not in manifest.redact)]
    redacting = msgspec.structs.replace(config, redact=rules)
    for sink in manifest.sinks:
        if sink.offset >= manifest.durable or not segments(journal):
            continue
        url = targets.get(sink.name)
        if sink.kind == "days":
            url = f"sqlite://{_place(sink, work).absolute()}"
        elif sink.kind == "lines":
            name = sink.url.rpartition("/")[2]
            url = f"ndjson://{(_place(sink, work) / name).absolute()}"
            # Without an inode, the sink continues at the end of the file, from this offset on.
            cursor = LineFileCursor(node=manifest.node, offset=sink.offset)
            CursorFile(work, sink.name, LineFileCursor).save(cursor)
        if url is not None:
            settings = SinkConfig(
                url=url, name=sink.name, when_full="hold",
                filter=sink.filter, fields=sink.fields, without=sink.without,
            )  # fmt: skip
            catch_up(work, settings, redacting)


def _begin_journal(work: Path) -> None:
    """Begin a new journal, with the client table of the old one."""
    old, new = work / "journal", work / "journal.new"
    clients = Clients()
    snapshot = read_snapshot(old)
    if snapshot is not None:
        clients.load(snapshot.content)
    if segments(old):
        at = 0 if snapshot is None else snapshot.offset
        with closing(JournalReader(old)) as reader:
            at = max(at, segments(old)[0].start)
            while blocks := reader.read(at):
                for block in blocks:
                    at = block.end
                    for run in runs(block.payload):
                        clients.update_from_run(run, block.received_us)
    make_directory(new)
    make_node(new)
    make_secret(new)
    reserve(new)
    write_snapshot(new, Snapshot(0, clients.dump()))
    shutil.rmtree(old)
    new.rename(old)
    for name in ("positions", "cursors"):
        shutil.rmtree(work / name, ignore_errors=True)


def _put_in_place(work: Path, data_dir: Path) -> None:
    """Move everything to its place; the journal first, and the mark of the restore goes last."""
    names = sorted((path.name for path in work.iterdir()), key=lambda name: name != "journal")
    for name in names:
        path = work / name
        if path.is_dir() or name in (LEDGER, LEFTOVERS):
            path.rename(data_dir / name)
    sync_directory(data_dir)
    shutil.rmtree(work)
    sync_directory(data_dir)
