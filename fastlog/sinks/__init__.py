"""Where records go: the protocol of a sink, and how one is found by the scheme of its URL.

A sink is a class that derives from `Sink`, named by an entry point of the group `fastlog.sinks`
whose name is the URL's scheme. fastlog's own sinks are found the same way. A worker process owns
one sink and calls it from one thread. `docs/sinks.md` shows how to write one.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple
from urllib.parse import SplitResult

from fastlog.clock import steady
from fastlog.config import Retention
from fastlog.config.values import nearest
from fastlog.errors import ConfigError

if TYPE_CHECKING:
    from fastlog.decode import Decoded, Form

__all__ = ["GROUP", "Sink", "SinkContext", "make_sink"]

GROUP = "fastlog.sinks"


class SinkContext(NamedTuple):
    """What a sink is made from."""

    name: str
    """The configured name; unique, and fit for a file name."""
    url: SplitResult
    data_dir: Path
    retention: Retention
    clock: Callable[[], float] = time.time
    steady: Callable[[], float] = steady
    """A clock that nobody sets, by which a sink can tell whether `clock` was."""


class Sink(ABC):
    """A place that takes blocks of records and remembers how far it got.

    Three errors have a meaning to the worker: `SinkUnavailableError` (try again later, for as long
    as it takes), `SinkConflictError` (another worker moved the cursor: `open` again), and any other
    exception, which counts against the block that was being applied.
    """

    form: ClassVar[Form] = "records"
    """What the sink wants to store: blocks with `records`, or with the same as `lines` of JSON,
    which cost far less to make."""

    def __init__(self, context: SinkContext) -> None:
        """Keep the context and check the URL; touch nothing outside.

        Raises:
            ConfigError: the URL is wrong; the text says how.
        """
        self.context = context

    @abstractmethod
    def open(self, node: str) -> int:
        """Connect, repair what a crash left, and find the cursor. May be called again.

        Args:
            node: the journal's id in hex. Offsets of another node mean nothing for this one.

        Raises:
            ConfigError: the sink cannot work the way it is configured, whatever happens outside.

        Returns:
            The journal offset up to which blocks are applied; 0 for none.
        """

    @abstractmethod
    def apply(self, blocks: Sequence[Decoded]) -> None:
        """Store consecutive blocks and move the cursor to the end of the last.

        A block is applied whole or not at all, and the cursor moves with it in one transaction,
        where the sink can do that (others are at least once, and say so). A prefix of the blocks
        may be applied before an exception; `cursor` tells. The first block may begin behind the
        cursor, where the journal no longer had what lies between.
        """

    @abstractmethod
    def cursor(self) -> int:
        """Where the sink stands now, without asking anybody."""

    def index(self) -> int | None:
        """The ordinal of the first frame behind the cursor, as it was at `open`; None where the
        sink does not keep it. It makes the count of what is lost exact."""
        return None

    def missing(self) -> str:
        """Say what became of records that were durable here once and are not any more.

        Called when the cursor went back to where the journal has nothing any more.

        Returns:
            What is known, for the ledger; "" where the sink is just another one than before.
        """
        return ""

    @abstractmethod
    def sync(self) -> int:
        """Make what was applied durable; called about once a second.

        Returns:
            The offset up to which everything survives a power failure, at most `cursor()`. The
            journal may forget what lies before it.
        """

    def tick(self) -> None:  # noqa: B027 - most sinks have no housekeeping
        """Do housekeeping: retention, rotation by time.

        Called about once a second when `open` has succeeded once, also while the sink is in
        trouble: a retention may be what frees the disk. An error is logged and stops nothing.
        """

    def offending(self, block: Decoded) -> dict[int, str]:
        """Find the rows that the sink will never take, and change nothing.

        Called for a block that failed three times, where `form` is `records`.

        Returns:
            The reason by the row's `idx`. They go into the ledger, the rest is applied.
        """
        return {}

    @abstractmethod
    def close(self) -> None:
        """Let go of everything. Safe to call twice, and when `open` failed."""


def make_sink(context: SinkContext) -> Sink:
    """The sink that the URL's scheme names, not yet opened.

    Raises:
        ConfigError: no such sink, its package cannot be imported, or the URL is wrong.
    """
    known = _known()
    scheme = context.url.scheme
    point = known.get(scheme)
    if point is None:
        raise ConfigError(f"no sink is called {scheme!r}{nearest(scheme, known)}")
    try:
        found = point.load()
    except Exception as error:  # a third party's module may fail in any way
        what = error if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise ConfigError(f"sink {scheme!r} ({point.value}) cannot be loaded: {what}") from error
    if not (isinstance(found, type) and issubclass(found, Sink)):
        raise ConfigError(f"sink {scheme!r}: {point.value} is not a fastlog.sinks.Sink")
    try:
        return found(context)
    except ConfigError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ConfigError(f"sink {scheme!r} ({point.value}) cannot be made: {what}") from error


def _known() -> dict[str, EntryPoint]:
    """The installed sinks by scheme. The first on `sys.path` wins, as with imports."""
    known: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        known.setdefault(point.name, point)
    return known
