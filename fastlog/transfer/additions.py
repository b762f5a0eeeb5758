"""What an import adds to a store, whichever it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from fastlog.routing.redaction import Redaction
from fastlog.search import Found
from fastlog.search.parts import BATCH_BYTES, size_of

BATCH: Final = 5_000
"""Records of one transaction, for which a server waits some hundredths of a second."""


class Added(NamedTuple):
    """What became of some records."""

    new: int = 0
    known: int = 0
    """The store has them."""
    waiting: int = 0
    """They are left to their servers, which will store them."""
    rejected: int = 0
    """The store cannot take them."""
    redacted: int = 0
    """Those of the new ones that a rule of `[[redact]]` has changed."""

    def plus(self, other: Added) -> Added:
        """Return the sum of both."""
        return Added(*map(sum, zip(self, other, strict=True)))


class Importer(Protocol):
    """Adds records to a store."""

    left: set[str]
    """The journals of which records were left to their servers."""

    def add(self, some: Sequence[Found], digest: str = "") -> Added:
        """Store those of some records that the store does not have.

        Args:
            digest: A node that is the digest of a file. The day of its records may be another one
                at each import.

        Raises:
            FastlogError: The store cannot be used. All before this call is stored.
        """


def redact(some: Sequence[Found], redaction: Redaction) -> tuple[list[Found], int]:
    """Return records as they may be stored, and how many of them are not as they were."""
    counts = Counter[str]()
    stored = [each._replace(record=redaction.apply(each.record, counts)) for each in some]
    pairs = zip(some, stored, strict=True)
    return stored, sum(old.record is not new.record for old, new in pairs)


def batches(found: Iterable[Found]) -> Iterator[list[Found]]:
    """Yield records in parts that are stored at once."""
    some, size = list[Found](), 0
    for each in found:
        some.append(each)
        size += size_of(each)
        if len(some) >= BATCH or size >= BATCH_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some
