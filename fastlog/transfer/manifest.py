"""The manifest of a backup: its files with sizes and checksums. It is written last.

A directory without a manifest is no backup, whatever it contains.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec

from fastlog.config import RedactConfig
from fastlog.errors import FastlogError
from fastlog.files import replace_file

NAME: Final = "manifest.json"
VERSION: Final = 1


class Source(msgspec.Struct, frozen=True):
    """The state of a file that was copied. While it is the same, so is the content."""

    inode: int
    size: int
    modified: int
    """In nanoseconds since the epoch."""

    @classmethod
    def of(cls, path: Path) -> Source | None:
        """Return the state of a file; None if there is none."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


class CopiedFile(msgspec.Struct, frozen=True):
    """A file of a backup."""

    path: str
    """Relative to the manifest."""
    size: int
    sha256: str
    source: Source | None = None
    """None where the next backup has to copy it again."""


class CopiedSink(msgspec.Struct, frozen=True):
    """A sink of the server, as it was."""

    name: str
    url: str
    """Without user and password."""
    offset: int
    """The journal offset up to which it had stored everything."""
    kind: str
    """`days`: its day files are in `folder`. `lines`: its files are. `other`: it is elsewhere."""
    folder: str = ""
    filter: str = ""
    fields: list[str] = []
    without: list[str] = []
    """What it stores of the records, as configured."""
    place: str = ""
    """Where in the data directory its files were; "" if they were elsewhere."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds."""

    version: int = VERSION
    fastlog: str
    """The version of fastlog that made it."""
    made_at: float
    """When it began, in seconds since the epoch."""
    node: str
    """The journal's id; "" if there was no journal."""
    durable: int
    """The offset up to which the backup has everything."""
    sinks: list[CopiedSink]
    files: list[CopiedFile]
    redact: list[RedactConfig] = []
    """What no sink may store of the journal's records."""
    missing: list[str] = []
    """What could not be copied, because it was damaged."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


class _Signed(msgspec.Struct):
    sha256: str
    manifest: msgspec.Raw


class _Versioned(msgspec.Struct):
    version: int


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write the manifest of a directory, durably."""
    body = msgspec.json.encode(manifest)
    signed = _Signed(hashlib.sha256(body).hexdigest(), msgspec.Raw(body))
    replace_file(directory / NAME, msgspec.json.encode(signed), durable=True)


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest of a directory.

    Raises:
        FastlogError: There is none, it is damaged, or a newer fastlog wrote it.
    """
    path = directory / NAME
    try:
        signed = msgspec.json.decode(path.read_bytes(), type=_Signed)
        body = bytes(signed.manifest)
        if hashlib.sha256(body).hexdigest() != signed.sha256:
            raise FastlogError(f"{path} is damaged: it differs from its checksum")
        version = msgspec.json.decode(body, type=_Versioned).version
        if version > VERSION:
            raise FastlogError(
                f"{path} has version {version}, and this fastlog knows {VERSION} at most: upgrade "
                "fastlog-server"
            )
        return msgspec.json.decode(body, type=Manifest)
    except FileNotFoundError:
        raise FastlogError(f"{directory} is no complete backup: it has no {NAME}") from None
    except msgspec.MsgspecError as error:
        raise FastlogError(f"{path} is damaged ({error})") from None


def copied_file(root: Path, path: Path, source: Source | None = None) -> CopiedFile:
    """Make a file of a backup durable, and return its entry."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return CopiedFile(path.relative_to(root).as_posix(), path.stat().st_size, digest, source)


def check_file(root: Path, file: CopiedFile) -> None:
    """Check a file of a backup.

    Raises:
        FastlogError: It is missing, or differs from its checksum.
    """
    path = root / file.path
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise FastlogError(f"{path}, which is a part of the backup: {error.strerror}") from None
    if digest != file.sha256:
        raise FastlogError(f"{path} is damaged: it differs from its checksum")
