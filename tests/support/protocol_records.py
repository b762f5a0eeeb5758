"""Records that fastlog clients number, and what a real server has stored or rejected of them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping

from conditions import wait_for
from protocol_client import record
from servers import Server

QUIET = '[clients]\nkeepalive = "1 h"\n'
"""No acknowledgement is sent only as a keepalive."""


def records(first: int, last: int) -> list[bytes]:
    return [record(number) for number in range(first, last + 1)]


def numbers(server: Server) -> list[int]:
    """Return the numbers of the stored records, in the order of arrival."""
    return [json.loads(row["extra"])["number"] for row in server.records()]


def public_name(client: bytes) -> str:
    """Return a client's id as the log and the ledger show it."""
    return hashlib.sha256(client).hexdigest()[:8]


def rejections(server: Server) -> Counter[str]:
    """Return how many rejections the ledger has, by reason."""
    counts: Counter[str] = Counter()
    for row in server.rejected():
        counts[row["reason"]] += row["count"]
    return counts


def rejected(
    server: Server, reason: str, count: int = 1, before: Mapping[str, int] | None = None
) -> None:
    """Wait until the ledger has `count` rejections with this reason, and no others.

    Args:
        before: the rejections that the ledger had before.
    """

    def counted() -> int:
        new = rejections(server) - Counter(before or {})
        assert set(new) <= {reason}
        return new[reason]

    wait_for(lambda: counted() >= count, f"{count} x {reason}")
    assert counted() == count
