"""The actions of a handshake: what the receiver has to do for `HandshakeProtocol`."""

from __future__ import annotations

from typing import NamedTuple


class SendFrame(NamedTuple):
    """Send a frame of the handshake."""

    conn: int
    frame: bytes


class Admit(NamedTuple):
    """Accept a client's records from `committed` + 1 on, and send it the WELCOME."""

    conn: int
    client: bytes
    key: bytes
    """The owner of the client id: `frames.key_tag`."""
    incarnation: int
    committed: int
    welcome: bytes
    """The WELCOME frame."""


class Close(NamedTuple):
    """Send a last frame, if it is not empty, and close the connection."""

    conn: int
    frame: bytes = b""


class JournalGap(NamedTuple):
    """Append this gap to the journal, then call `gap_journaled` or `gap_not_journaled`."""

    conn: int
    run: bytes
    """A run of the kind `GAP` with one frame."""
    text: str
    """A log line about the gap."""


class CountRejection(NamedTuple):
    """Count the rejection of a client, in the ledger and in the log."""

    peer: str
    reason: str


HandshakeAction = SendFrame | Admit | Close | JournalGap | CountRejection
