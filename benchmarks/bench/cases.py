"""What is measured: how the records come in."""

from __future__ import annotations

from typing import NamedTuple

PACE = 10_000
"""Records a second of all connections together, in the paced cases."""
LARGE = 64 * 1024
"""Bytes of a send in the cases that are named after them."""


class Case(NamedTuple):
    """One way for records to come in."""

    name: str
    connections: int
    records: int
    send_bytes: int = LARGE
    """0: one send a record."""
    rate: int = 0
    """Records a second of all connections together; 0: as fast as the server takes them."""
    one_core: bool = False
    """Whether all processes of the server share one core, and the generator has another."""
    patience: float = 15.0
    """Seconds without anything new in the store after which the rest counts as missing."""


SENDS = {"64k": LARGE, "record": 0}
CONNECTIONS = (1, 100, 1000)
FIRST = ("64k 100", "paced 100", "one core")
"""What is measured first: the cases that the targets are about."""


def make_cases(records: int, many: int, paced_seconds: float) -> list[Case]:
    """All cases, in the order of the tables.

    Args:
        records: of a saturated case.
        many: of the long one, which shows page cache and writeback; 0 leaves it out.
        paced_seconds: how long a paced case takes.
    """
    paced = round(PACE * paced_seconds)
    cases = [
        Case(f"{send} {connections}", connections, records, size)
        for send, size in SENDS.items()
        for connections in CONNECTIONS
    ]
    cases += [Case(f"paced {n}", n, paced, 0, PACE) for n in CONNECTIONS]
    cases.append(Case("one core", 100, records, one_core=True))
    if many:
        cases.append(Case("long", 100, many))
    return cases


def in_turn(cases: list[Case]) -> list[Case]:
    """The same cases in the order in which they are measured."""
    first = [case for name in FIRST for case in cases if case.name == name]
    return first + [case for case in cases if case not in first]
