"""The cases: how the records arrive."""

from __future__ import annotations

from typing import NamedTuple

RATE = 10_000
"""Records a second of all connections together, in the paced cases."""
LARGE = 64 * 1024
"""Bytes of a send in the cases named `64k`."""


class Case(NamedTuple):
    """One way in which records arrive."""

    name: str
    connections: int
    records: int
    send_bytes: int = LARGE
    """0: one send a record."""
    rate: int = 0
    """Records a second of all connections together; 0: as fast as the server takes them."""
    one_core: bool = False
    """Whether all processes of the server run on one core, and the generator on others."""
    cold: bool = False
    """Whether the machine's free memory was returned to its host before."""
    patience: float = 15.0
    """Seconds without anything new in the store after which the rest counts as missing."""


SENDS = {"64k": LARGE, "record": 0}
CONNECTIONS = (1, 100, 1000)
FIRST = ("64k 100", "paced 100", "one core")
"""The cases that have targets. They are measured first."""


def make_cases(records: int, many: int, paced_seconds: float) -> list[Case]:
    """Make all cases, in the order of the tables.

    Args:
        records: of a saturated case.
        many: of the long one, which shows page cache and writeback; 0 leaves it out.
        paced_seconds: how long a paced case takes.
    """
    paced = round(RATE * paced_seconds)
    cases = [
        Case(f"{send} {connections}", connections, records, size)
        for send, size in SENDS.items()
        for connections in CONNECTIONS
    ]
    cases += [Case(f"paced {n}", n, paced, 0, RATE) for n in CONNECTIONS]
    cases.append(Case("one core", 100, records, one_core=True))
    if many:
        cases.append(Case("long", 100, many))
    return cases


def in_order(cases: list[Case]) -> list[Case]:
    """Return the cases in the order of measurement."""
    first = [case for name in FIRST for case in cases if case.name == name]
    return first + [case for case in cases if case not in first]
