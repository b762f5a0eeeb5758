"""The protocol of a sink, and the lookup of a sink by the scheme of its URL.

A sink is a subclass of `Sink`, named by an entry point of the group `fastlog.sinks`; the name of
the entry point is the URL's scheme. fastlog's own sinks are found in the same way. A worker process
has one sink and calls it from one thread. `docs/sinks.md` shows how to write one.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple
from urllib.parse import SplitResult

from fastlog.clock import steady
from fastlog.config import ExpireConfig, RetentionConfig
from fastlog.config.values import nearest
from fastlog.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from fastlog.decode import Batch, Decoded, Form

__all__ = ["GROUP", "Rejected", "Sink", "SinkContext", "load_sink", "make_sink"]

GROUP = "fastlog.sinks"


class SinkContext(NamedTuple):
    """The settings that a sink is constructed with."""

    name: str
    """The configured name: unique, and valid as a file name."""
    url: SplitResult
    data_dir: Path
    retention: RetentionConfig
    clock: Callable[[], float] = time.time
    steady: Callable[[], float] = steady
    """A clock that cannot be set, so that a sink can detect that `clock` was set."""
    stopping: Callable[[], bool] = lambda: False
    """Whether this process is to end: a sink that waits for a network then returns soon."""
    expire: Sequence[ExpireConfig] = ()
    """What is deleted before the retention deletes its day, in a sink that can do that."""
    housekeeping: bool = True
    """Whether this process deletes what is old. Where several store into one place, one does it."""
    own_node: str = ""
    """The journal of this server, in a process that stores those of others; "" elsewhere."""


class Rejected(NamedTuple):
    """Records that a sink has passed on, and that were rejected there."""

    offset: int
    """Offset of the block."""
    idx: int
    """The record, or the last one of those among which the rejected ones are."""
    reason: str
    number: int = 0
    """How many there are, if it is not known which; 0: exactly this one."""


class Sink(ABC):
    """A destination of blocks of records, with a cursor.

    The worker handles three kinds of errors: `SinkUnavailableError` (it tries again later, without
    limit), `SinkConflictError` (another worker moved the cursor: it calls `open` again), and any
    other exception, which counts as a failure of the block that was being applied.
    """

    form: ClassVar[Form] = "records"
    """The form of the blocks: with `records`, or with the same content as `lines` of JSON or as
    `columns`, which cost far less to make."""

    streams: ClassVar[bool] = False
    """Whether `apply` stores all its blocks or none, and reads each once before it stores any. The
    blocks are then decoded as it reads them: where it sends them to a server, that works on one
    while the next is decoded."""

    batch_bytes: int = 0
    """Bytes of blocks that `apply` gets at once if so many wait, however slow the sink is: for one
    whose calls take much time whatever they get, as over a network."""

    linger: float = 0.0
    """Seconds between two calls of `apply` while little comes: more, where a call costs much more
    than a record. Sinks set it when they are constructed."""

    def __init__(self, context: SinkContext) -> None:
        """Keep the context and check the URL, without any I/O.

        Raises:
            ConfigError: The URL is wrong; the text gives the reason.
        """
        self.context = context

    def sibling(self, name: str) -> Sink:
        """Return a sink that stores another journal into the same place, at the same time.

        A central makes one for each node. The sink that it asks is never opened; its `tick` is
        called about once a second.
        """
        return type(self)(self.context._replace(name=name))

    @abstractmethod
    def open(self, node: str) -> int:
        """Connect, recover from a crash, and return the cursor. May be called again.

        Args:
            node: the journal's id in hex. Offsets of one node mean nothing for another.

        Returns:
            The journal offset up to which blocks are applied; 0 for none.

        Raises:
            ConfigError: The sink cannot work as it is configured, and waiting does not help.
        """

    @abstractmethod
    def apply(self, blocks: Batch) -> None:
        """Store consecutive blocks, a sequence, and move the cursor to the end of the last.

        A block is applied whole or not at all, and the cursor moves with it in one transaction,
        where the sink can do that (others are at least once, and document it). A prefix of the
        blocks may be applied before an exception; `cursor` then returns its end. The first block
        may begin after the cursor, where the journal no longer has the blocks between.
        """

    @abstractmethod
    def cursor(self) -> int:
        """Return the cursor, without I/O."""

    def index(self) -> int | None:
        """Return the ordinal of the first frame after the cursor, as it was at `open`.

        With it, the count of lost records is exact.

        Returns:
            None where the sink does not keep it.
        """
        return None

    def missing(self) -> str:
        """Return why records that were durable in this sink are gone.

        Called when the cursor is before the journal's oldest block, after it was further.

        Returns:
            The reason as far as it is known, for the ledger; "" where the sink is a new one.
        """
        return ""

    @abstractmethod
    def sync(self) -> int:
        """Make everything durable that was applied; called about once a second.

        Returns:
            The offset up to which everything survives a power failure, at most `cursor()`. The
            journal may delete what is before it.
        """

    def tick(self) -> None:  # noqa: B027 - most sinks have no housekeeping
        """Do housekeeping: retention, rotation by time.

        Called about once a second after `open` has succeeded once, also while the sink fails:
        retention may free a full disk. An error is logged and has no other effect.
        """

    def failing(self) -> dict[str, int]:
        """Return the parts of the sink that fail now, each with its number of failures.

        For sinks that lose records without an exception, as handlers of `logging` do. Called about
        once a second, without I/O.
        """
        return {}

    def rejections(self) -> list[Rejected]:
        """Return what was rejected where the sink passes records on, since the last call.

        Called after `apply`, also if it has failed, without I/O. The ledger has them before `sync`
        is called.
        """
        return []

    def offending(self, block: Decoded) -> dict[int, str]:
        """Find the rows that the sink can never store, without any change.

        Called for a block that failed three times, where `form` is not `lines`.

        Returns:
            The reason by the row's `idx`. These rows are entered into the ledger, and the other
            rows are applied.
        """
        return {}

    @abstractmethod
    def close(self) -> None:
        """Release all resources. Safe to call twice, and after `open` failed."""


def make_sink(context: SinkContext) -> Sink:
    """Return the sink that the URL's scheme names, not yet opened.

    Raises:
        ConfigError: There is no such sink, its package cannot be imported, or the URL is wrong. The
            text begins with the name of the sink.
    """
    try:
        return load_sink(context)
    except ConfigError as error:
        raise ConfigError(f"sink {context.name}: {error}") from error


def load_sink(context: SinkContext) -> Sink:
    """As `make_sink`. The text of an error lacks the name of the sink."""
    found = _class_of(context.url.scheme)
    try:
        return found(context)
    except ConfigError:
        raise
    except Exception as error:  # a class of another project may raise anything
        what = f"{type(error).__name__}: {error}"
        raise ConfigError(f"it cannot be made: {what}") from error


def _class_of(scheme: str) -> type[Sink]:
    known = _known()
    point = known.get(scheme)
    if point is None:
        raise ConfigError(f"no kind of sink is called {scheme!r}{nearest(scheme, known)}")
    try:
        found = point.load()
    except Exception as error:  # a module of another project may raise anything
        what = error if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise ConfigError(f"{point.value} cannot be loaded: {what}") from error
    if not (isinstance(found, type) and issubclass(found, Sink)):
        raise ConfigError(f"{point.value} is not a fastlog.sinks.Sink")
    return found


def _known() -> dict[str, EntryPoint]:
    """Return the installed sinks by scheme. The first on `sys.path` is used, as with imports."""
    from importlib.metadata import entry_points  # takes a tenth of a command's start

    known: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        known.setdefault(point.name, point)
    return known
