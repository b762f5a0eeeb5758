"""Where each sink stands: small files, one a sink, that the workers leave and others read.

They hold nothing that the sink does not know better itself: one that is lost or old makes the
journal keep segments longer, no more.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from fastlog.files import make_directory, replace_file


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
            found[path.stem] = msgspec.json.decode(path.read_bytes(), type=Position)
        except (OSError, msgspec.DecodeError):
            continue  # torn by a power cut, or gone: the same as never written
    return found
