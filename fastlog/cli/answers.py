"""Answers of `fastlog query`: a page of records, or counts."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from fastlog.cli.context import Context
from fastlog.cli.counts import Ranking, count_text, ranking_lines
from fastlog.cli.fields import PrintedField, parse_fields
from fastlog.cli.histogram import (
    AUTO,
    ROWS,
    bars_of,
    choose_interval,
    histogram_lines,
    parse_interval,
)
from fastlog.cli.long_work import LongWork, report
from fastlog.cli.output import Output
from fastlog.query import Node
from fastlog.search import Found, Grouping, Progress, Unread
from fastlog.search.around import BY
from fastlog.search.cursor import Cursor, Order
from fastlog.search.grouping import Group
from fastlog.search.spans import span_of
from fastlog.search.store import RecordStore

_SEPARATOR = "--\n"
"""Between groups of records with their contexts, as grep prints it."""


class Question(NamedTuple):
    """What is searched, and how far the search is."""

    store: RecordStore
    query: Node
    unread: Unread
    progress: Progress

    def search(self, query: Node | None = None, *, newest_first: bool) -> Iterator[Found]:
        """Yield what the question, or another query in its place, finds."""
        return self.store.search(
            self.query if query is None else query,
            newest_first=newest_first,
            unread=self.unread,
            progress=self.progress,
        )

    def count_by(self, grouping: Grouping) -> Counter[Group]:
        """Count what the question finds, by groups."""
        [counter] = self.store.count(self.query, [grouping], self.unread, self.progress)
        return counter


class Page(NamedTuple):
    """Which of the matches are printed, and how many records around each."""

    limit: int
    """0: all."""
    oldest: bool
    """Take the oldest matches; else the newest."""
    cursor: Cursor | None
    """Where the page before ended."""
    before: int
    after: int
    context_by: str

    @property
    def from_oldest(self) -> bool:
        """Whether the matches are found from the oldest one on."""
        return self.oldest or (not self.limit and self.cursor is None)

    @property
    def has_context(self) -> bool:
        """Whether records around the matches are printed."""
        return bool(self.before or self.after)

    def find(self, question: Question) -> Iterator[Found]:
        """Yield the matches, from the end that the page begins at."""
        newest_first = not self.from_oldest
        if self.cursor is None:
            return question.search(newest_first=newest_first)
        narrowed = self.cursor.narrow(question.query)
        return self.cursor.rest(question.search(narrowed, newest_first=newest_first))


class CountAnswer(NamedTuple):
    """What is counted: all, groups of values, or intervals of time."""

    by: tuple[PrintedField, ...]
    top: int
    interval: str | None

    @classmethod
    def parse(cls, *, by: str | None, top: int, histogram: str | None) -> CountAnswer:
        """Return what the options ask for.

        Raises:
            ConfigError: A field or an interval is none.
        """
        if histogram is not None and histogram != AUTO:
            parse_interval(histogram)
        return cls(() if by is None else parse_fields(by), top, histogram)


def print_records(question: Question, page: Page, output: Output, work: LongWork) -> int:
    """Print a page of records, and return the exit code."""
    output = output._replace(marks_matches=page.has_context)
    number, last, is_more = 0, None, False
    with work:
        work.write(output.header())
        found = work.counted(page.find(question))
        if page.from_oldest and not page.has_context:
            for each in islice(found, page.limit or None):
                work.write(output.line(each))
                number, last = number + 1, each
            is_more = page.limit > 0 and next(found, None) is not None
        else:
            some = list(islice(found, page.limit + 1 if page.limit else None))
            is_more = 0 < page.limit < len(some)
            some = some[: page.limit or None]
            number, last = len(some), some[-1] if some else None
            if not page.has_context:
                work.end_search()
            output.measure(some)
            in_order = some if page.from_oldest else some[::-1]
            for line in _lines(in_order, question, page, output):
                work.write(line)
    cursor = ""
    if last is not None and (output.is_for_programs or page.cursor is not None):
        order: Order = "oldest" if page.from_oldest else "newest"
        cursor = f"; next page: --cursor {Cursor.behind(last, order)}"
    if is_more and not question.progress.stopped:
        end = "oldest" if page.oldest else "newest"
        report(f"printed the {end} {page.limit} records; --limit N prints more{cursor}")
    return work.exit_code(is_any=number > 0, is_complete=not question.unread.files, cursor=cursor)


def _lines(matches: list[Found], question: Question, page: Page, output: Output) -> Iterator[str]:
    """Yield the lines of matches that are given in order of time, with those around them."""
    if not page.has_context:
        yield from map(output.line, matches)
        return
    context = Context(
        question.store,
        page.before,
        page.after,
        BY[page.context_by],
        question.unread,
        question.progress,
    )
    is_first = True
    for line in context.lines(matches):
        if line.begins_group and not is_first and not output.is_for_programs:
            yield _SEPARATOR
        is_first = False
        yield output.line(line.found, is_match=line.is_match)


def count_records(question: Question, counts: CountAnswer, output: Output, work: LongWork) -> int:
    """Print how many records match, and return the exit code."""
    note = ""
    with work:
        if counts.interval is not None:
            number, note = _print_histogram(question, counts.interval, output, work)
        elif counts.by:
            ranking = _ranking(question, counts)
            number = sum(records for _, records in ranking.groups)
            note = ranking.left_out()
            for line in ranking_lines(ranking, counts.by, output):
                work.write(line)
        else:
            number = question.count_by(Grouping()).total()
            work.write(count_text(number, output.style))
    if note:
        report(note)
    return work.exit_code(is_any=number > 0, is_complete=not question.unread.files)


def _ranking(question: Question, counts: CountAnswer) -> Ranking:
    grouping = Grouping(tuple(field.column_name for field in counts.by))
    return Ranking.of(question.count_by(grouping), counts.top)


def _print_histogram(
    question: Question, interval: str, output: Output, work: LongWork
) -> tuple[int, str]:
    """Print a histogram, and return how many records match, and what it leaves out."""
    size = _terminal_size()
    since, until = _asked_span(question.query)
    if interval == AUTO:
        first = since if since is not None else _first_time(question, newest_first=False)
        last = until if until is not None else _first_time(question, newest_first=True)
        if first is None or last is None:
            return 0, ""
        rows = max(ROWS // 3, min(2 * ROWS, size.lines - 6)) if sys.stdout.isatty() else ROWS
        seconds = choose_interval(first, math.nextafter(last, first), rows)
    else:
        seconds = parse_interval(interval)
    zone = output.zone.tzinfo
    question.progress.read = 0  # of another search now
    grouping = Grouping(("level",), seconds, zone)
    counter = question.count_by(grouping)
    bars = bars_of(counter, seconds, zone, since, until)
    if bars.rows:
        for line in histogram_lines(bars, output, size.columns, sys.stdout.encoding):
            work.write(line)
    note = f"left out {bars.others:,} records whose interval is not known" if bars.others else ""
    return counter.total(), note


def _asked_span(query: Node) -> tuple[float | None, float | None]:
    """Return the span that a query names. One with a start and no end goes on until now."""
    since, until = span_of(query)
    if math.isinf(since):
        return None, until if math.isfinite(until) else None
    return since, until if math.isfinite(until) else max(since, time.time())


def _terminal_size() -> os.terminal_size:
    """Return the size of the terminal, or of an usual one."""
    from shutil import get_terminal_size  # only histograms need it

    return get_terminal_size()


def _first_time(question: Question, *, newest_first: bool) -> float | None:
    """Return the time of the oldest or the newest match."""
    found = next(question.search(newest_first=newest_first), None)
    return None if found is None else found.record.created
