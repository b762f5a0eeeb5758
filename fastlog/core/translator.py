"""Pickles in, rows out: the translator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from fastlog._core import ffi, lib
from fastlog.core.errors import error_text

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # Python 3.12

PLAIN: int = lib.FL_PLAIN
FOREIGN: int = lib.FL_FALLBACK
EXTRA: int = lib.FL_EXTRA
TREE: int = lib.FL_TREE


def verdict_text(verdict: int) -> str:
    """Why a frame was rejected: `malformed pickle: no STOP`."""
    return str(ffi.string(lib.fl_verdict_text(verdict)), "ascii")


class Column(NamedTuple):
    """One column of the rows that a `Translator` makes."""

    name: str
    """Of the attribute that fills it; under 64 characters of ASCII."""
    kind: str
    """What it holds, or what becomes of the attribute:

    - `time`: a number within `Bounds.times`; else when the block was received
    - `integer`: an integer of 64 bits, or None
    - `text`: a str, or None
    - `trace`: a str of more than a line feed, or None
    - `message`: a str
    - `host`, `received`, `offset`, `idx`: what `Translator.begin` and `Translator.run` were told
    - `extra`: all other attributes, as JSON text of an object
    - `silent`, `empty`, `args`, `twin`: no column. Such an attribute is dropped always; when it is
      empty; the same, and a frame is plain only then; when it is None or equals the message
    """
    recurs: bool = False
    """Whether its values recur from row to row: then each is written once."""
    all_or_none: bool = False
    """Whether a plain frame has it only with the other columns that are so marked."""
    key: str = ""
    """Its name in lines of JSON, where that is another; it needs no escape."""


class Bounds(NamedTuple):
    """What a plain frame stays below."""

    depth: int
    """Containers inside each other; 64 at most."""
    nodes: int
    """Values; 1,048,576 at most, and no more than the frame has bytes, plus `nodes_more`."""
    nodes_more: int
    weight: int
    """Bytes of all texts as JSON writes them, and no more than `weight_times` the frame's own bytes
    plus `weight_more`."""
    weight_times: int
    weight_more: int
    work_times: int
    """Units of work for each byte of the frame, and `work_more` of them."""
    work_more: int
    value: int
    """Units that a value takes; a container, an object and a key that is no clean text, besides."""
    container: int
    object: int
    key: int
    escape: int
    """Units for each of the bytes that have to be escaped to be text."""
    times: tuple[float, float]
    """The first time that counts as one, and the one behind the last."""


class Translation(NamedTuple):
    """What became of a block; valid until the next one begins."""

    rows: memoryview
    """A pickle of a list of tuples, data only. A frame that is not plain has `EXTRA` or `TREE` for
    a verdict, and `(length of the frame, tree, nodes that were met more than once, or None)` in
    the column `extra`."""
    lines: memoryview
    """Where lines were asked for: one for each frame, empty where it is not plain. Plain frames
    have no row then."""


class Translator:
    """Translates the pickles of a block into rows: a pickle of data only, or lines of JSON.

    A frame is plain, and becomes a tuple with a value for each column; or its extra attributes, or
    all of it, become an inert tree in such a tuple, for Python to tell what they mean; or it is
    malformed, forbidden or no record, and then it has a reason; or foreign: JSON, or larger than
    the translator's arrays. Nothing that a frame says is imported or called. `docs/pickle.md` says
    what becomes of a value::

        translator.begin(received=1.5, offset=0)
        verdicts = translator.run(body, frames=3, idx=0, host="127.0.0.1")
        rows = pickle.loads(translator.end().rows)

    Args:
        columns: What a row has, 32 at most.
        bounds: What a plain frame stays below.
        meanings: The names of classes that have a meaning to the caller, `module.Class`, or
            `module:` for all of a module: their objects are left in trees. Objects of other classes
            are written as they came.
        lines: Whether plain frames become lines of JSON.

    Raises:
        ValueError: A column or a bound is out of range.
    """

    def __init__(
        self,
        columns: Iterable[Column],
        bounds: Bounds,
        meanings: Iterable[str] = (),
        *,
        lines: bool = False,
    ) -> None:
        columns = list(columns)
        names = [ffi.new("char[]", column.name.encode("ascii")) for column in columns]
        keys = [ffi.new("char[]", (column.key or column.name).encode()) for column in columns]
        described = ffi.new("fl_column[]", len(columns))
        for into, name, key, column in zip(described, names, keys, columns, strict=True):
            into.name, into.key = name, key
            into.kind = _column_kind(column.kind)
            into.flags = (lib.FL_COL_RECURS if column.recurs else 0) | (
                lib.FL_COL_ALL_OR_NONE if column.all_or_none else 0
            )
        limits = ffi.new("fl_bounds *", (*bounds[:-1], *bounds.times))
        form = lib.FL_LINES if lines else lib.FL_ROWS
        self._names = [ffi.new("char[]", name.encode()) for name in sorted(set(meanings))]
        listed = ffi.new("const char *[]", self._names)
        known = ffi.new("fl_meanings *", (listed, len(self._names)))
        self._listed = listed
        translator = lib.fl_translator_new(described, len(columns), limits, known, form)
        if translator == ffi.NULL:
            raise ValueError("a column or a bound of the translator is out of range")
        self._translator = ffi.gc(translator, lib.fl_translator_free)
        self._verdicts = ffi.new("uint8_t[]", 0)
        self._translation = ffi.new("fl_translation *")

    def begin(self, received: float, offset: int) -> None:
        """Begins a block, with what all its rows have in common."""
        self._check(lib.fl_translator_begin(self._translator, received, offset))

    def run(self, body: Buffer, frames: int, idx: int, host: str) -> bytes | None:
        """Translates the frames in `body`, each behind its length, all from `host`.

        Args:
            idx: The number of the first of them.

        Returns:
            A verdict for each frame (`PLAIN`, `EXTRA`, `TREE`, `FOREIGN`, or one that
            `verdict_text` explains); None when all are plain.

        Raises:
            ValueError: The lengths do not fit.
        """
        self._make_room(frames)
        name = host.encode("utf-8", "replace")
        others = lib.fl_translator_run(
            self._translator,
            ffi.from_buffer(body),
            len(body),
            frames,
            idx,
            name,
            len(name),
            self._verdicts,
        )
        return self._answer(others, frames)

    def block(self, payload: Buffer, frames: int) -> bytes | None:
        """Translates all runs of a block of the journal, which has so many frames.

        Returns:
            As `run` does; runs that hold no records count as foreign frames.

        Raises:
            ValueError: The lengths, or the number of frames, do not fit.
        """
        self._make_room(frames)
        others = lib.fl_translator_block(
            self._translator, ffi.from_buffer(payload), len(payload), frames, self._verdicts
        )
        return self._answer(others, frames)

    def end(self) -> Translation:
        """Ends the block."""
        out = self._translation
        self._check(lib.fl_translator_end(self._translator, out))
        lines = ffi.buffer(out.lines, out.lines_len) if out.lines_len else b""
        return Translation(memoryview(ffi.buffer(out.rows, out.rows_len)), memoryview(lines))

    def _make_room(self, frames: int) -> None:
        if frames > len(self._verdicts):
            self._verdicts = ffi.new("uint8_t[]", frames)

    def _answer(self, others: int, frames: int) -> bytes | None:
        if others == 0:
            return None
        self._check(others)
        return bytes(ffi.buffer(self._verdicts, frames))

    def _check(self, result: int) -> None:
        if result == lib.FL_ENOMEM:
            raise MemoryError
        if result < 0:
            raise ValueError(f"the run does not fit the translator: {error_text(result)}")


def _column_kind(kind: str) -> int:
    try:
        return int(getattr(lib, f"FL_COL_{kind.upper()}"))
    except AttributeError:
        raise ValueError(f"a column of the unknown kind {kind!r}") from None
