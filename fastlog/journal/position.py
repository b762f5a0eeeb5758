"""Where each sink stands: small files, one a sink, that the workers leave and others read.

They hold nothing that the sink does not know better itself: one that is lost or old makes the
journal keep segments longer, no more.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from fastlog.files import make_directory, replace_file
from fastlog.journal.version import require_version

VERSION = 1


class _Versioned(msgspec.Struct):
    version: int = VERSION


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far one sink has come in the journal."""

    node: str = ""
    """The journal's node id: offsets of another journal mean nothing here."""
    cursor: int
    """Journal offset up to which blocks are applied."""
    durable: int
    """Journal offset up to which they are durable in the sink; segments below may go."""
    index: int | None
    """Ordinal of the next frame; None while the worker does not know it."""
    at: float
    """When this was written, seconds since the epoch."""
    error: str | None = None
    """What keeps the sink from going on now."""
    when_full: str = "hold"
    version: int = VERSION
    """Of this format."""


def write_position(data_dir: Path, name: str, position: Position) -> None:
    """Leaves the position of the sink `name`, atomically."""
    directory = data_dir / "positions"
    make_directory(directory)
    replace_file(directory / f"{name}.json", msgspec.json.encode(position))


def read_positions(data_dir: Path) -> dict[str, Position]:
    """The positions of all sinks that ever left one, by name; unreadable ones are left out."""
    found: dict[str, Position] = {}
    try:
        paths = sorted((data_dir / "positions").glob("*.json"))
    except OSError:  # no descriptor is left
        return found
    for path in paths:
        try:
            content = path.read_bytes()
            if msgspec.json.decode(content, type=_Versioned).version <= VERSION:
                found[path.stem] = msgspec.json.decode(content, type=Position)
        except (OSError, msgspec.DecodeError):
            continue  # torn by a power cut, or gone: the same as never written
    return found


def check_versions(data_dir: Path) -> None:
    """Makes sure that no position was left by a newer fastlog, which would be ignored.

    Raises:
        JournalError: One was.
    """
    for path in sorted((data_dir / "positions").glob("*.json")):
        try:
            version = msgspec.json.decode(path.read_bytes(), type=_Versioned).version
        except (OSError, msgspec.DecodeError):
            continue
        require_version(path, version, VERSION)
