"""The order of runs: in rounds, so that a slow minute of the machine affects all servers."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from bench.cases import FIRST, Case
from bench.load import LoadError
from bench.measure import measure_memory, measure_run
from bench.places import BUILD
from bench.results import Memory, Run
from bench.rows import RowsFloor
from bench.servers import Server, ServerError, make_servers

FAILURES = (ServerError, LoadError, ProcessLookupError)
"""A server does not start, cannot be reached, or has ended under the load."""
INFINITE = float("inf")

KEY_CASES = ("64k 100", "paced 100")
LONG_RUNNERS = ("fastlog ndjson", "fastlog sqlite", "asyncio restricted", "rsyslog text",
                "rsyslog JSON")  # fmt: skip
"""The contenders in the long case, which takes the others minutes."""
SLOW = ("fastlog ndjson, Python engine",)
"""Contenders that are only in the cases with targets."""
INDEXED = "executemany, index on created"
PLAIN_ROWS = "executemany, no index"
COMPARED = ("fastlog ndjson", "fastlog sqlite", "asyncio restricted", PLAIN_ROWS, INDEXED)
"""Contenders with targets: always repeated in the cases with targets."""


class Contender(Protocol):
    """What can be measured in a case."""

    name: str
    family: str

    def missing(self) -> str: ...

    def measure(self, case: Case, home: Path) -> Run: ...


class Served:
    """A contender that is a server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name, self.family = server.name, server.family

    def missing(self) -> str:
        return self.server.missing()

    def measure(self, case: Case, home: Path) -> Run:
        return measure_run(self.server, case, home)


def make_contenders(more: Sequence[Server] = ()) -> list[Contender]:
    """Make all servers and floors, in the order of the tables."""
    return [
        *map(Served, [*make_servers(), *more]),
        RowsFloor(PLAIN_ROWS, "--without-index"),
        RowsFloor(INDEXED),
    ]


def applies(contender: Contender, case: Case) -> bool:
    """Return whether the contender is in this case."""
    if isinstance(contender, RowsFloor):
        return case.name in ("64k 100", "long")
    if case.name == "long":
        return contender.name in LONG_RUNNERS
    return case.name in KEY_CASES or contender.name not in SLOW


def _is_compared(contender: Contender, case: Case) -> bool:
    return contender.name in COMPARED and case.name in FIRST


def run_case(
    case: Case, contenders: Sequence[Contender], repeat: int, budget: float
) -> Iterator[Run | tuple[str, str]]:
    """Measure all contenders in rounds, `repeat` times.

    Args:
        budget: seconds in this case after which a contender is not measured again, unless it has
            targets.

    Yields:
        Each run; or a name and why it cannot be measured. It is then left out of this case.
    """
    spent = {contender.name: 0.0 for contender in contenders if applies(contender, case)}
    for _ in range(repeat):
        for contender in contenders:
            used = spent.get(contender.name, INFINITE)
            if used == INFINITE or (used >= budget and not _is_compared(contender, case)):
                continue
            began = time.monotonic()
            try:
                with home_for_run() as home:
                    run = contender.measure(case, home)
            except FAILURES as error:
                spent[contender.name] = INFINITE
                yield contender.name, f"{case.name}: {error}"
            else:
                spent[contender.name] += time.monotonic() - began
                yield run


def run_memory(
    contenders: Sequence[Contender], connections: int
) -> Iterator[Memory | tuple[str, str]]:
    """Measure the memory of idle servers. Yields as `run_case` does."""
    for contender in contenders:
        if isinstance(contender, Served) and contender.server.holds_idle:
            try:
                with home_for_run() as home:
                    yield measure_memory(contender.server, connections, home)
            except FAILURES as error:
                yield contender.name, f"memory: {error}"


@contextlib.contextmanager
def home_for_run() -> Iterator[Path]:
    """Make a temporary directory on the disk of the checkout: it may hold gigabytes."""
    home = Path(tempfile.mkdtemp(prefix="run-", dir=BUILD))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
