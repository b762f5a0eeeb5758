"""The journal's secret: random bytes in the header of every block, which never leave the server.

A record can hold any bytes, so also a forged block with the journal offset at which it is stored.
Recovery searches for blocks behind damage and must not take a forged one for a block. So bytes are
a block only if they begin with the secret. It is independent of the node id, which clients know.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from fastlog.block import HEADER, SECRET_BYTES
from fastlog.errors import JournalError
from fastlog.files import replace_file
from fastlog.journal.segment import Segment, read_block, read_claimed_secret

NAME = "secret"


def read_secret(directory: Path) -> bytes | None:
    """Return the secret of the journal there, or None if its file is missing or damaged."""
    try:
        secret = bytes.fromhex((directory / NAME).read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return None
    return secret if len(secret) == SECRET_BYTES else None


def require_secret(directory: Path, found: list[Segment]) -> bytes:
    """Return the secret of a journal that has these segments.

    Raises:
        JournalError: Its file is missing or damaged, or holds the secret of other segments.
    """
    path, secret = directory / NAME, read_secret(directory)
    repair = "`fastlog check --repair` finds the right one in the segments, then the server starts"
    if secret is None:
        raise JournalError(f"{path} is missing or damaged, and the journal has segments; {repair}")
    if found and find_secret(found[:1]) not in (secret, None):
        raise JournalError(f"{path} is not the secret of {found[0].path}; {repair}")
    return secret


def make_secret(directory: Path) -> bytes:
    """Make the secret of a new journal, write it durably and return it."""
    secret = secrets.token_bytes(SECRET_BYTES)
    write_secret(directory, secret)
    return secret


def write_secret(directory: Path, secret: bytes) -> None:
    """Write the secret to its file, durably."""
    replace_file(directory / NAME, f"{secret.hex()}\n".encode("ascii"), durable=True)


def find_secret(found: list[Segment]) -> bytes | None:
    """Return the secret in the first valid block at the beginning of a segment, or None.

    The server writes the first bytes of a segment itself: they are never bytes of a record.
    """
    for segment in found:
        data = memoryview(_first_block(segment))
        secret = read_claimed_secret(data)
        if secret is not None and read_block(data, 0, segment.start, secret):
            return secret
    return None


def _first_block(segment: Segment) -> bytes:
    """Return the bytes of what may be a segment's first block; b"" if it was just deleted."""
    try:
        with segment.path.open("rb") as file:
            head = file.read(HEADER.size)
            length = HEADER.unpack(head)[3] if len(head) == HEADER.size else 0
            return head + file.read(length)
    except FileNotFoundError:
        return b""
