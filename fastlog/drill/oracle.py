"""What became of the records: numbers that were sent against numbers that are stored. Pure.

A client numbers its records from 1. What is stored and what is declared as lost must be all of
them, each once, in their order. A sum would not do: a record that is stored twice would make up
for one that is missing.
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
    """Not stored, and nobody says so."""
    twice: int = 0
    """Rows beyond the first of a record."""
    disordered: int = 0
    """Records that are stored behind a later one."""
    wrong: int = 0
    """Stored though declared as lost, or stored or declared though never sent."""

    def plus(self, other: Account) -> Account:
        """The sum."""
        return Account(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def count_folded(self, folded: int) -> Account:
        """The same, when so many more are declared as lost, by nothing but their number."""
        counted = min(folded, self.uncounted)
        return self._replace(
            counted=self.counted + counted,
            uncounted=self.uncounted - counted,
            wrong=self.wrong + folded - counted,
        )


def settle(
    sent: int,
    stored: Sequence[int],
    declared: Iterable[range] = (),
    unsure: Collection[int] = (),
) -> Account:
    """Settle the account of one client.

    Args:
        sent: its records have the numbers from 1 to `sent`.
        stored: the numbers in the order of the store.
        declared: what is declared as lost.
        unsure: numbers above `sent` that may or may not have been sent: it was killed meanwhile.
    """
    known = set(stored)
    lost = {number for span in declared for number in span}
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
    is_ours: bool
    """They speak the fastlog protocol."""
    may_lose: str = ""
    """Why no promise is broken when they lose records; "" where one is."""
    may_drop: bool = False
    """Their memory is so small that they have to drop records, and declare them."""
    keeps_connection: bool = False
    """They are promised that their connection stays."""
    clients: int = 0
    connections: int = 0
    unsent: int = 0
    """Records that a client still had, by its own account, after it had all the time it needs."""
    account: Account = field(default_factory=Account)


class Promise(NamedTuple):
    """What holds, and for whom."""

    text: str
    concerns: Callable[[Row], bool]
    count_breaches: Callable[[Row], int]

    def is_broken_to(self, row: Row) -> bool:
        """Whether it was made to these clients, and not kept."""
        return self.concerns(row) and self.count_breaches(row) > 0


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
        lambda row: row.is_ours or row.keeps_connection,
        lambda row: row.account.disordered,
    ),
    Promise(
        "nothing is declared as lost that is stored, or was never sent",
        lambda row: True,
        lambda row: row.account.wrong,
    ),
    Promise(
        "a reload leaves the connections of stock clients alone",
        lambda row: row.keeps_connection,
        lambda row: abs(row.connections - row.clients),
    ),
)


def judge(rows: Sequence[Row]) -> dict[str, int]:
    """How often each promise was broken, by its text.

    One that no client relied on was not tried, and counts as broken: silence is no proof.
    """
    breaches = {}
    for promise in PROMISES:
        concerned = [row for row in rows if promise.concerns(row)]
        tried = any(row.account.sent for row in concerned)
        breaches[promise.text] = sum(map(promise.count_breaches, concerned)) + (not tried)
    return breaches


def is_broken_to(row: Row) -> bool:
    """Whether any promise was broken to these clients."""
    return any(promise.is_broken_to(row) for promise in PROMISES)
