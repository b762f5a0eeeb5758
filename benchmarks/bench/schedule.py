"""Who is measured when: rounds, so that a slow minute of the machine is shared by all."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from bench.cases import Case
from bench.load import LoadError
from bench.measure import measure_memory, measure_run
from bench.places import BUILD
from bench.results import Memory, Run
from bench.rows import RowsFloor
from bench.servers import Server, ServerError, make_servers

T = TypeVar("T")

KEY_CASES = ("64k 100", "one core", "paced 100")
LONG_RUNNERS = ("fastlog ndjson", "fastlog sqlite", "asyncio restricted", "rsyslog text",
                "rsyslog JSON")  # fmt: skip
"""Who is in the long case: it would take the others minutes."""
SLOW = ("fastlog ndjson, Python engine",)
"""Who is only in the cases that the targets are about."""
INDEXED = "executemany, index on created"
PLAIN_ROWS = "executemany, no index"


class Contender(Protocol):
    """What can be measured in a case."""

    name: str
    family: str

    def missing(self) -> str: ...

    def measure(self, case: Case, home: Path) -> Run: ...


class Served:
    """A server, as a contender."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name, self.family = server.name, server.family

    def missing(self) -> str:
        return self.server.missing()

    def measure(self, case: Case, home: Path) -> Run:
        return measure_run(self.server, case, home)


def make_contenders(more: Sequence[Server] = ()) -> list[Contender]:
    """All servers and floors, in the order of the tables."""
    return [
        *map(Served, [*make_servers(), *more]),
        RowsFloor(PLAIN_ROWS, "--without-index"),
        RowsFloor(INDEXED),
    ]


def applies(contender: Contender, case: Case) -> bool:
    """Whether the contender is in this case."""
    if isinstance(contender, RowsFloor):
        return case.name in ("64k 100", "long")
    if case.name == "long":
        return contender.name in LONG_RUNNERS
    return case.name in KEY_CASES or contender.name not in SLOW


def run_case(
    case: Case, contenders: Sequence[Contender], repeat: int, budget: float
) -> Iterator[Run | tuple[str, str]]:
    """Measure them in turn, `repeat` times.

    Args:
        budget: who has used so many seconds in this case is not measured again.

    Yields:
        Each run; or a name and why that one cannot be measured, and it is left out from then on.
    """
    spent = {contender.name: 0.0 for contender in contenders if applies(contender, case)}
    for _ in range(repeat):
        for contender in contenders:
            if spent.get(contender.name, budget) >= budget:
                continue
            began = time.monotonic()
            try:
                yield in_home(lambda home, it=contender: it.measure(case, home))
            except (ServerError, LoadError, ProcessLookupError) as error:
                spent[contender.name] = budget
                yield contender.name, f"{case.name}: {error}"
            else:
                spent[contender.name] += time.monotonic() - began


def run_memory(contenders: Sequence[Contender], connections: int) -> Iterator[Memory]:
    """Those whose memory is compared, one after the other."""
    for contender in contenders:
        if isinstance(contender, Served) and contender.server.holds_idle:
            server = contender.server
            yield in_home(lambda home, it=server: measure_memory(it, connections, home))


def in_home(work: Callable[[Path], T]) -> T:
    """Do it in a directory on the disk of the checkout, which is removed: it may hold gigabytes."""
    home = Path(tempfile.mkdtemp(prefix="run-", dir=BUILD))
    try:
        return work(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
