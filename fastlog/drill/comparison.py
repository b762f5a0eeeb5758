"""Compare the numbers that clients sent with those that are stored. Pure.

A client numbers its records from 1. What is stored and what is declared as lost must be all of
them, each once, in their order. A comparison of sums would not do: a record that is stored twice
would make up for one that is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Account(NamedTuple):
    """What became of the records of one client, or of several."""

    sent: int = 0
    stored: int = 0
    """How many of the sent records are stored, at least once."""
    counted: int = 0
    """Not stored, and declared as lost."""
    uncounted: int = 0
    """Not stored, and not declared as lost."""
    twice: int = 0
    """Rows beyond the first of a record."""
    disordered: int = 0
    """Records that are stored after a later one."""
    wrong: int = 0
    """Stored though declared as lost, or stored or declared though never sent."""

    def plus(self, other: Account) -> Account:
        """Return the sum of both."""
        return Account(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def count_folded(self, folded: int) -> Account:
        """Return this account with `folded` more losses, of which only the count is known."""
        counted = min(folded, self.uncounted)
        return self._replace(
            counted=self.counted + counted,
            uncounted=self.uncounted - counted,
            wrong=self.wrong + folded - counted,
        )


def compare_numbers(
    sent: int,
    stored: Sequence[int],
    declared: Iterable[range] = (),
    unsure: Collection[int] = (),
) -> Account:
    """Compare the records of one client.

    Args:
        sent: its records have the numbers from 1 to `sent`.
        stored: the stored numbers, in the order of the store.
        declared: the numbers declared as lost.
        unsure: numbers above `sent` that may have been sent, because the client was killed
            meanwhile.
    """
    known = set(stored)
    lost = {number for numbers in declared for number in numbers}
    numbers = set(range(1, sent + 1))
    missing = numbers - known
    return Account(
        sent=sent,
        stored=len(numbers & known),
        counted=len(missing & lost),
        uncounted=len(missing - lost),
        twice=len(stored) - len(known),
        disordered=_count_disordered(stored),
        wrong=len((lost & known) | ((lost | known) - numbers - set(unsure))),
    )


def _count_disordered(stored: Iterable[int]) -> int:
    seen: set[int] = set()
    highest = count = 0
    for number in stored:
        if number not in seen:
            count += number < highest
            highest = max(highest, number)
            seen.add(number)
    return count


@dataclass
class Row:
    """All clients of one kind in one phase."""

    phase: str
    kind: str
    is_fastlog: bool
    """Whether they use the fastlog protocol."""
    may_lose: str = ""
    """Why these clients may lose records; "" if they must not."""
    may_drop: bool = False
    """Whether their memory is so small that they have to drop records, and declare them."""
    keeps_connection: bool = False
    """Whether their connections must survive."""
    clients: int = 0
    connections: int = 0
    unsent: int = 0
    """Records that clients still held at the end, after all the time that they need."""
    account: Account = field(default_factory=Account)


class Promise(NamedTuple):
    """What must hold, and for which rows."""

    text: str
    applies_to: Callable[[Row], bool]
    count_breaches: Callable[[Row], int]


PROMISES = (
    Promise(
        "what was sent is stored, or declared as lost",
        lambda row: not row.may_lose,
        lambda row: row.account.uncounted,
    ),
    Promise(
        "nothing is lost by a client that has room for it",
        lambda row: not row.may_lose and not row.may_drop,
        lambda row: row.account.uncounted + row.account.counted + row.unsent,
    ),
    Promise("nothing is stored twice", lambda row: True, lambda row: row.account.twice),
    Promise(
        "each client's order is kept",
        lambda row: row.is_fastlog or row.keeps_connection,
        lambda row: row.account.disordered,
    ),
    Promise(
        "nothing is declared as lost that is stored, or was never sent",
        lambda row: True,
        lambda row: row.account.wrong,
    ),
    Promise(
        "a reload, or a fault behind the server, leaves the connections of stock clients alone",
        lambda row: row.keeps_connection,
        lambda row: abs(row.connections - row.clients),
    ),
)


def count_breaches(rows: Sequence[Row]) -> dict[str, int]:
    """Return how often each promise was broken, by its text.

    A promise that applied to no client with records was not tested, and counts as broken once.
    """
    breaches = {}
    for promise in PROMISES:
        applicable = [row for row in rows if promise.applies_to(row)]
        tested = any(row.account.sent for row in applicable)
        breaches[promise.text] = sum(map(promise.count_breaches, applicable)) + (not tested)
    return breaches


def is_broken(row: Row) -> bool:
    """Return whether any promise that applies to these clients was broken."""
    return any(promise.applies_to(row) and promise.count_breaches(row) for promise in PROMISES)
