"""An export: the records of a store that match, in order of arrival, in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from fastlog.query import Node
from fastlog.search import Found, Progress, Unread
from fastlog.search.parts import Part, size_of
from fastlog.search.store import RecordStore
from fastlog.transfer.export_file import ExportFile
from fastlog.transfer.record_lines import Form


class Source(NamedTuple):
    """What is exported."""

    store: RecordStore
    query: Node
    unread: Unread
    progress: Progress

    def parts(self) -> list[Part]:
        """Return the parts of the store, as they are now."""
        return self.store.parts(self.query, self.unread)

    def batches(
        self, parts: list[Part], first: int = 0, position: int = 0
    ) -> Iterator[tuple[int, int, list[Found]]]:
        """Yield the matches: number of the part, position after them, and records.

        Args:
            parts: Those to read.
            first, position: Where to begin.
        """
        self.progress.total = sum(part.end for part in parts)
        self.progress.read = sum(part.end for part in parts[:first]) + position
        for number in range(first, len(parts)):
            begin = position if number == first else 0
            for batch in self.store.read_part(
                parts[number], begin, self.query, self.progress, self.unread
            ):
                yield number, batch.position, batch.found
            if self.progress.must_stop():
                return


def write_file(
    source: Source, form: Form, file: ExportFile, count: Callable[[int], object]
) -> bool:
    """Write an export, or the rest of it.

    Args:
        count: Called with the number of records so far.

    Returns:
        Whether it is complete. If not, the search had to stop.
    """
    state = file.state
    if file.is_empty:
        file.write(form.header)
    parts = [Part(*part) for part in state.parts]
    batches = source.batches(parts, state.part, state.position)
    for number, position, some in _grouped(batches, form, source.progress):
        if some:
            file.write(form.encode(some))
        state.unread = sorted({*state.unread, *map(str, source.unread.files)})
        file.reached(number, position, len(some))
        count(state.records)
    if source.progress.must_stop():
        file.save()
        return False
    if form.convert is None:
        file.complete()
        return True
    file.save()
    return file.convert(form.convert, source.progress.must_stop)


def _grouped(
    batches: Iterator[tuple[int, int, list[Found]]], form: Form, progress: Progress
) -> Iterator[tuple[int, int, list[Found]]]:
    """Yield the batches, some joined to one where the form needs more records at once.

    If the search must stop, the last ones are left out: joined to fewer others, they would not be
    the same bytes.
    """
    group, size = list[Found](), 0
    number = position = None
    for number, position, some in batches:
        group += some
        if form.rows:
            size += sum(map(size_of, some))
        if len(group) >= form.rows or size >= form.max_bytes:
            yield number, position, group
            group, size = [], 0
            number = None
    if number is not None and position is not None and not progress.must_stop():
        yield number, position, group
