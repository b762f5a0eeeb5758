"""A backup of a data directory, whose server may run: everything that was acknowledged before.

The order decides. The segments of the journal are held first, so that none is lost that a sink has
not stored. Then come the files of the sinks, each up to some offset, then the ledger, which must
not be behind a sink. Last comes the journal up to the durable offset of then, which no sink is
beyond. So the blocks that the copy of a sink lacks are in the copy of the journal, and the client
table is that of the same offset.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from fastlog.config import Config, SinkConfig
from fastlog.config.urls import public_url
from fastlog.errors import FastlogError
from fastlog.files import make_directory, sync_directory
from fastlog.journal import read_positions
from fastlog.search import Unread
from fastlog.transfer.day_copies import DayCopies, copy_database
from fastlog.transfer.journal_copy import JournalCopy
from fastlog.transfer.line_copies import copy_lines
from fastlog.transfer.manifest import (
    CopiedFile,
    CopiedSink,
    Manifest,
    Source,
    copied_file,
    read_manifest,
    write_manifest,
)
from fastlog.version import __version__

INCOMPLETE: Final = "incomplete"
"""The name of a backup that is being made. What has it later was interrupted."""
_STAMP: Final = "%Y-%m-%dT%H%M%SZ"
LEDGER: Final = "ledger.db"
LEFTOVERS: Final = "leftovers.json"


class Made(NamedTuple):
    """A backup that was made."""

    path: Path
    manifest: Manifest
    reused: int
    """Bytes of files that are those of the backup before."""


def list_backups(destination: Path) -> list[Path]:
    """Return the complete backups in a directory, oldest first."""
    if not destination.is_dir():
        return []
    return sorted(p for p in destination.iterdir() if _is_stamp(p.name) and p.is_dir())


def make_backup(
    config: Config, destination: Path, keep: int, step: Callable[[int], object], unread: Unread
) -> Made:
    """Make a backup in a new directory inside `destination`.

    Args:
        keep: How many backups stay there; older ones are deleted.
        step: Called with the bytes of each step.
        unread: Gets the files that are damaged; they are left out.

    Raises:
        FastlogError: Something cannot be read, or another backup is being made there.
        OSError: The backup cannot be written.
    """
    make_directory(destination)
    with _locked(destination):
        work = destination / INCOMPLETE
        if work.exists():
            shutil.rmtree(work)
        make_directory(work)
        backups = list_backups(destination)
        with JournalCopy(config.data_dir / "journal") as journal:
            backup = _Backup(config, work, journal, backups[-1] if backups else None, step, unread)
            manifest = backup.make()
        write_manifest(work, manifest)
        sync_directory(work)
        path = _free_name(destination, manifest.made_at)
        work.rename(path)
        sync_directory(destination)
        for old in list_backups(destination)[:-keep]:
            shutil.rmtree(old)
    return Made(path, manifest, backup.reused)


class _Backup:
    """The steps of one backup."""

    def __init__(
        self,
        config: Config,
        root: Path,
        journal: JournalCopy,
        before: Path | None,
        step: Callable[[int], object],
        unread: Unread,
    ) -> None:
        self._config, self._root, self._journal = config, root, journal
        self._step, self._unread = step, unread
        self._earlier: dict[str, CopiedFile] = {}
        self._before = before
        if before is not None:
            self._earlier = {file.path: file for file in read_manifest(before).files}
        self._files: dict[Path, Source | None] = {}
        self._linked: dict[Path, CopiedFile] = {}
        self.reused = 0

    def make(self) -> Manifest:
        """Copy everything, and return the manifest."""
        began = time.time()
        sinks = [self._copy_sink(sink) for sink in self._config.sinks]
        self._copy_ledger()
        durable = self._journal.durable()
        if self._journal.node:
            needed = min(sink.offset for sink in sinks)
            self._add(self._journal.write(self._root / "journal", needed, durable))
        leftovers = self._config.data_dir / LEFTOVERS
        if leftovers.exists():
            shutil.copyfile(leftovers, self._root / LEFTOVERS)
            self._add([self._root / LEFTOVERS])
        files = [
            self._linked[path]
            if path in self._linked
            else copied_file(self._root, path, self._files[path])
            for path in self._files
        ]
        for folder in {path.parent for path in self._files}:
            sync_directory(folder)
        return Manifest(
            fastlog=__version__,
            made_at=began,
            node=self._journal.node,
            durable=durable,
            sinks=sinks,
            files=files,
            redact=list(self._config.redact),
            missing=sorted(map(str, self._unread.files)),
        )

    def _copy_sink(self, sink: SinkConfig) -> CopiedSink:
        url, data_dir = urlsplit(sink.url), self._config.data_dir
        folder = self._root / "sinks" / sink.name
        copied = CopiedSink(
            *(sink.name, public_url(sink.url), 0, "other", f"sinks/{sink.name}"),
            *(sink.filter, sink.fields, sink.without),
        )
        if url.scheme == "sqlite":
            logs = Path(url.path) if url.path else data_dir / "logs"
            make_directory(folder)
            days = DayCopies(
                logs, folder, self._journal.node, self._reuse, self._stepped, self._unread
            )
            offset, sources, place = days.make(), days.sources, _place(logs, data_dir)
            self._files |= sources
            return _replaced(copied, offset=offset, kind="days", place=place)
        if url.scheme == "ndjson":
            path = Path(url.path)
            copies = copy_lines(
                *(path, data_dir, sink.name, self._journal.node),
                *(folder, self._reuse, self._stepped),
            )
            self._files |= copies.sources
            place = _place(path.parent, data_dir)
            return _replaced(copied, offset=copies.offset, kind="lines", place=place)
        position = read_positions(data_dir).get(sink.name)
        is_known = position is not None and position.node == self._journal.node
        offset = position.durable if position is not None and is_known else 0
        return _replaced(copied, offset=offset, folder="")

    def _copy_ledger(self) -> None:
        ledger = self._config.data_dir / LEDGER
        if ledger.exists():
            copy_database(ledger, self._root / LEDGER, self._stepped)
            self._add([self._root / LEDGER])

    def _stepped(self, size: int) -> None:
        self._journal.hold()
        self._step(size)

    def _reuse(self, target: Path, source: Source) -> bool:
        """Put the copy of the backup before in place, if it is of a file in this state."""
        name = target.relative_to(self._root).as_posix()
        earlier = self._earlier.get(name)
        if earlier is None or self._before is None or earlier.source != source:
            return False
        target.unlink(missing_ok=True)
        try:
            os.link(self._before / name, target)
        except OSError:
            return False  # gone, or a file system without links
        self._linked[target] = earlier
        self.reused += earlier.size
        self._stepped(source.size)
        return True

    def _add(self, paths: list[Path]) -> None:
        self._files |= dict.fromkeys(paths)


def _replaced(sink: CopiedSink, **values: object) -> CopiedSink:
    return msgspec.structs.replace(sink, **values)


def _place(path: Path, data_dir: Path) -> str:
    """Return where in the data directory a directory is; "" if it is elsewhere."""
    try:
        return path.resolve().relative_to(data_dir.resolve()).as_posix()
    except ValueError:
        return ""


def _free_name(destination: Path, at: float) -> Path:
    """Return the path of a new backup: its time, to the second. Names rise."""
    while True:
        path = destination / datetime.fromtimestamp(at, UTC).strftime(_STAMP)
        newest = list_backups(destination)[-1:]
        if not newest or path > newest[0]:
            return path
        at += 1.0


def _is_stamp(name: str) -> bool:
    try:
        datetime.strptime(name, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return False
    return True


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise FastlogError(f"another backup into {directory} is being made") from None
    finally:
        os.close(fd)
