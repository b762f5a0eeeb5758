"""Sink positions: one small file for each sink, which its worker writes and others read.

They hold nothing that the sink does not store more exactly. If one is lost or old, the journal
keeps segments longer; nothing else happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from fastlog.files import make_directory, replace_file
from fastlog.journal.version import require_version

VERSION = 1


class _Versioned(msgspec.Struct):
    version: int = VERSION


COMMIT_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Commits are counted in buckets with these upper bounds, in seconds, and one without a bound."""


class CommitTimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long the commits of a sink took, since its position was first written."""

    counts: tuple[int, ...] = (0,) * (len(COMMIT_BOUNDS) + 1)
    """The number of commits in each bucket."""
    seconds: float = 0.0
    """Of all commits together."""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """What was not stored as it was configured, since the sink's position was first written."""

    filtered: int = 0
    """Records that the sink's filter has left out."""
    redacted: dict[str, int] = {}
    """Stored records that each rule of redaction has changed, by the name of the rule."""

    def plus(self, filtered: int, redacted: Mapping[str, int] | None) -> LeftOut:
        """Return the sum."""
        if not filtered and not redacted:
            return self
        sums = Counter(self.redacted)
        sums.update(redacted or {})
        return LeftOut(filtered=self.filtered + filtered, redacted=dict(sums))


class SinkPosition(msgspec.Struct, frozen=True, kw_only=True):
    """How far one sink has read the journal."""

    node: str = ""
    """The journal's node id: offsets of another journal mean nothing here."""
    cursor: int
    """Journal offset up to which blocks are applied."""
    durable: int
    """Journal offset up to which they are durable in the sink; segments below may be deleted."""
    index: int | None
    """Ordinal of the next frame; None while the worker does not know it."""
    at: float
    """When this was written, in seconds since the epoch."""
    error: str | None = None
    """The error that stops the sink now."""
    when_full: str = "hold"
    stored_received: float | None = None
    """When the newest applied block was received; None while that is not known."""
    failing: dict[str, int] = {}
    """What fails in the sink now, beside `error`, with the number of failures: the handlers of a
    `logging:` sink."""
    commits: CommitTimes = CommitTimes()
    left_out: LeftOut = LeftOut()
    version: int = VERSION
    """Of this format."""


def write_position(data_dir: Path, name: str, position: SinkPosition) -> None:
    """Write the position of the sink `name`: atomically, while the disk is not full."""
    directory = data_dir / "positions"
    make_directory(directory)
    path = directory / f"{name}.json"
    # On a full disk, segments can be deleted only after the positions of the sinks have moved.
    replace_file(path, msgspec.json.encode(position), in_place_if_full=True)


def read_positions(data_dir: Path) -> dict[str, SinkPosition]:
    """Return the written positions by the name of the sink; unreadable ones are left out."""
    found: dict[str, SinkPosition] = {}
    try:
        paths = sorted((data_dir / "positions").glob("*.json"))
    except OSError:  # no descriptor is free
        return found
    for path in paths:
        if (position := _read(path)) is not None:
            found[path.stem] = position
    return found


def read_position(data_dir: Path, name: str) -> SinkPosition | None:
    """Return the written position of the sink `name`; None if there is none, or an unreadable."""
    return _read(data_dir / "positions" / f"{name}.json")


def _read(path: Path) -> SinkPosition | None:
    try:
        content = path.read_bytes()
        if msgspec.json.decode(content, type=_Versioned).version <= VERSION:
            return msgspec.json.decode(content, type=SinkPosition)
    except (OSError, msgspec.DecodeError):
        pass  # torn by a power cut, or gone: the same as never written
    return None


def check_versions(data_dir: Path) -> None:
    """Check that no newer fastlog wrote a position, which `read_positions` would leave out.

    Raises:
        JournalError: One did.
    """
    for path in sorted((data_dir / "positions").glob("*.json")):
        try:
            version = msgspec.json.decode(path.read_bytes(), type=_Versioned).version
        except (OSError, msgspec.DecodeError):
            continue
        require_version(path, version, VERSION)
