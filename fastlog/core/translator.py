"""Pickles in, rows out: the translator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from fastlog._core import ffi, lib
from fastlog.core.errors import error_text

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # Python 3.12

PLAIN: int = lib.FL_PLAIN
FALLBACK: int = lib.FL_FALLBACK
EXTRA: int = lib.FL_EXTRA
TREE: int = lib.FL_TREE


_NOTHING = memoryview(b"")


def verdict_text(verdict: int) -> str:
    """Return the text of a verdict: `malformed pickle: no STOP`."""
    return str(ffi.string(lib.fl_verdict_text(verdict)), "ascii")


class Column(NamedTuple):
    """One column of the rows that a `Translator` makes."""

    name: str
    """The attribute that fills it; under 64 characters of ASCII."""
    kind: str
    """What it holds, or what becomes of the attribute:

    - `time`: a number within `Bounds.times`; else the time at which the block was received
    - `integer`: an integer of 64 bits, or None
    - `text`: a str, or None
    - `trace`: a str of more than a line feed, or None
    - `message`: a str
    - `host`, `received`, `offset`, `idx`: an argument of `Translator.begin` or `Translator.run`
    - `extra`: all other attributes, as JSON text of an object
    - `silent`, `empty`, `args`, `twin`, `nested`: no column. `silent` drops the attribute; `empty`
      drops it if it is None or empty; `args` does the same, and the frame is not plain otherwise;
      `twin` drops it if it is None or equals the message; `nested` replaces a dict by its members
    """
    recurs: bool = False
    """Whether its values recur from row to row: then each is written once."""
    all_or_none: bool = False
    """Whether a plain frame has either all columns with this flag, or none of them."""
    key: str = ""
    """Its name in lines of JSON, if it differs; it needs no escape."""
    group: int = 0
    """1 or 2: in the form `columns`, its values are part of a combination; 0: none."""


class Bounds(NamedTuple):
    """The limits of a plain frame."""

    depth: int
    """Containers inside each other; 64 at most."""
    nodes: int
    """Values; 1,048,576 at most, and no more than the bytes of the frame plus `nodes_more`."""
    nodes_more: int
    weight: int
    """Bytes of all texts as JSON, and no more than `weight_times` the bytes of the frame plus
    `weight_more`."""
    weight_times: int
    weight_more: int
    work_times: int
    """Units of work for each byte of the frame, plus `work_more`."""
    work_more: int
    value: int
    """Units of work of each value; a container, an object, and a key that is not a clean str add
    their own."""
    container: int
    object: int
    key: int
    escape: int
    """Units of work of each byte that has to be escaped."""
    times: tuple[float, float]
    """The first valid time, and the first that is too late, in seconds since the epoch."""


class Translation(NamedTuple):
    """The result of a block; valid until the next one begins."""

    rows: memoryview
    """A pickle of a list of tuples, data only. The row of an `EXTRA` or `TREE` frame has `(length
    of the frame, tree, shared nodes or None)` in the column `extra`. Each cycle of the tree goes
    through one of the shared nodes; None: there is no cycle."""
    lines: memoryview
    """In the form `lines`: one for each frame, empty for a frame that is not plain. Plain frames
    then have no row."""
    columns: memoryview
    """In the form `columns`: a pickle of a tuple, data only. Plain frames then have no row. For
    each group: the number of a combination for each plain frame; the new combinations, as tuples;
    and the number of the first new one, 0 if numbers begin again. Then a list for each column
    without a group, but not for `received` and `offset`."""
    text: memoryview
    """In the form `columns`: for each plain frame a NUL and a line feed, then the texts of its
    columns without a group, each with a line feed."""
    copy: memoryview
    """In the form `copy`: a tuple of PostgreSQL's binary COPY for each plain frame, in order,
    without the header and the trailer of the format. Plain frames then have no row."""


class Translator:
    """Translates the pickles of a block into rows: a pickle of data only, lines of JSON, columns or
    COPY data.

    Each frame has one of these verdicts:

    - `PLAIN`: it is a tuple with a value for each column.
    - `EXTRA`, `TREE`: its extra attributes, or all of it, are an inert tree in such a tuple, and
      Python decides what they mean.
    - `FALLBACK`: it is JSON, or larger than the translator's arrays, and is left to Python.
    - Any other: it is malformed, forbidden or not a record; `verdict_text` has the reason.

    Nothing that a frame names is imported or called. `docs/pickle.md` says what becomes of a
    value::

        translator.begin(received=1.5, offset=0)
        verdicts = translator.run(body, frames=3, idx=0, host="127.0.0.1")
        rows = pickle.loads(translator.end().rows)

    Args:
        columns: The columns of a row, 32 at most.
        bounds: The limits of a plain frame.
        meanings: The names of classes that the caller renders, `module.Class`, or `module:` for all
            of a module: their objects stay in trees. Objects of other classes are written with
            their class, arguments and state.
        form: What plain frames become: `rows`, `lines` of JSON, `columns`, or `copy`.
        node: In the form `copy`: the id of the journal, 16 bytes. It ends each tuple.

    Raises:
        ValueError: A column or a bound is out of range.
    """

    def __init__(
        self,
        columns: Iterable[Column],
        bounds: Bounds,
        meanings: Iterable[str] = (),
        *,
        form: Literal["rows", "lines", "columns", "copy"] = "rows",
        node: bytes = bytes(lib.FL_NODE),
    ) -> None:
        columns = list(columns)
        names = [ffi.new("char[]", column.name.encode("ascii")) for column in columns]
        keys = [ffi.new("char[]", (column.key or column.name).encode()) for column in columns]
        items = ffi.new("fl_column[]", len(columns))
        for item, name, key, column in zip(items, names, keys, columns, strict=True):
            item.name, item.key = name, key
            item.kind, item.group = _column_kind(column.kind), column.group
            item.flags = (lib.FL_COL_RECURS if column.recurs else 0) | (
                lib.FL_COL_ALL_OR_NONE if column.all_or_none else 0
            )
        c_bounds = ffi.new("fl_bounds *", (*bounds[:-1], *bounds.times))
        forms = {
            "rows": lib.FL_ROWS,
            "lines": lib.FL_LINES,
            "columns": lib.FL_COLUMNS,
            "copy": lib.FL_COPY,
        }
        if len(node) != lib.FL_NODE:
            raise ValueError(f"the id of a journal has {lib.FL_NODE} bytes, not {len(node)}")
        # The translator keeps pointers to the names: both attributes hold their memory.
        self._names = [ffi.new("char[]", name.encode()) for name in sorted(set(meanings))]
        self._name_array = ffi.new("const char *[]", self._names)
        c_meanings = ffi.new("fl_meanings *", (self._name_array, len(self._names)))
        translator = lib.fl_translator_new(items, len(columns), c_bounds, c_meanings, forms[form])
        if translator == ffi.NULL:
            raise ValueError("a column or a bound of the translator is out of range")
        self._translator = ffi.gc(translator, lib.fl_translator_free)
        lib.fl_translator_set_node(translator, node)
        self._verdicts = ffi.new("uint8_t[]", 0)
        self._translation = ffi.new("fl_translation *")

    def begin(self, received: float, offset: int) -> None:
        """Begin a block. If the one before was not ended, combinations are numbered from 0 again.

        Args:
            received: When the block was received, in seconds since the epoch.
            offset: The offset of the block in the journal.
        """
        self._check(lib.fl_translator_begin(self._translator, received, offset))

    def run(self, body: Buffer, frames: int, idx: int, host: str) -> bytes | None:
        """Translate the frames in `body`, each after its length (u32).

        Args:
            body: The frames with their lengths.
            frames: The number of frames.
            idx: The number of the first frame in the block.
            host: The sender of all frames.

        Returns:
            A verdict for each frame; None if all are plain.

        Raises:
            ValueError: The lengths do not fit.
        """
        self._make_room(frames)
        name = host.encode("utf-8", "replace")
        not_plain = lib.fl_translator_run(
            self._translator,
            ffi.from_buffer(body),
            len(body),
            frames,
            idx,
            name,
            len(name),
            self._verdicts,
        )
        return self._verdicts_of(not_plain, frames)

    def block(self, payload: Buffer, frames: int) -> bytes | None:
        """Translate all runs of a block of the journal.

        Args:
            payload: The runs.
            frames: The number of frames in all runs.

        Returns:
            A verdict for each frame; None if all are plain. Frames of runs that hold no records
            are `FALLBACK`.

        Raises:
            ValueError: The lengths, or the number of frames, do not fit.
        """
        self._make_room(frames)
        not_plain = lib.fl_translator_block(
            self._translator, ffi.from_buffer(payload), len(payload), frames, self._verdicts
        )
        return self._verdicts_of(not_plain, frames)

    def end(self) -> Translation:
        """End the block and return its rows and lines."""
        out = self._translation
        self._check(lib.fl_translator_end(self._translator, out))
        return Translation(
            _view(out.rows, out.rows_len),
            _view(out.lines, out.lines_len),
            _view(out.columns, out.columns_len),
            _view(out.text, out.text_len),
            _view(out.copy, out.copy_len),
        )

    def _make_room(self, frames: int) -> None:
        if frames > len(self._verdicts):
            self._verdicts = ffi.new("uint8_t[]", frames)

    def _verdicts_of(self, not_plain: int, frames: int) -> bytes | None:
        if not_plain == 0:
            return None
        self._check(not_plain)
        return bytes(ffi.buffer(self._verdicts, frames))

    def _check(self, result: int) -> None:
        if result == lib.FL_ENOMEM:
            raise MemoryError
        if result < 0:
            raise ValueError(f"the run does not fit the translator: {error_text(result)}")


def _view(data: Any, length: int) -> memoryview:
    return memoryview(ffi.buffer(data, length)) if length else _NOTHING


def _column_kind(kind: str) -> int:
    try:
        return int(getattr(lib, f"FL_COL_{kind.upper()}"))
    except AttributeError:
        raise ValueError(f"a column of the unknown kind {kind!r}") from None
