"""Question: the query of a request, and the store that answers it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from fastlog.errors import ConfigError
from fastlog.query import Node, QueryError, TimeContext, parse, parse_moment, parse_zone
from fastlog.search import Progress, Unread
from fastlog.search.store import RecordStore
from fastlog.web.failures import RequestError


class Question(NamedTuple):
    """What is searched, and how far the search is."""

    store: RecordStore
    query: Node
    context: TimeContext
    """What the words of times refer to."""
    progress: Progress
    unread: Unread

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left out."""
        return self.progress.stopped is None and not self.unread.files

    def moment(self, name: str, text: str | None) -> float | None:
        """Return the start of a time; None for None.

        Args:
            name: The parameter, for the error.

        Raises:
            RequestError: The text is no time.
        """
        if text is None:
            return None
        try:
            return parse_moment(text, self.context).first
        except ConfigError as error:
            raise RequestError(f"{name}: {error}") from None


def time_context(values: Mapping[str, Any], boot: float | None) -> TimeContext:
    """Return what times mean in a request.

    Args:
        boot: When the server was last started.

    Raises:
        RequestError: There is no such zone.
    """
    zone = values.get("tz")
    try:
        return TimeContext(time.time(), parse_zone(zone) if zone else None, boot)
    except ConfigError as error:
        raise RequestError(f"tz: {error}") from None


def read_query(text: str, context: TimeContext) -> Node:
    """Parse a query.

    Raises:
        RequestError: It is wrong; the error has the column.
    """
    try:
        return parse(text, context)
    except QueryError as error:
        raise RequestError(error.reason, column=error.column) from None
    except ConfigError as error:
        raise RequestError(str(error)) from None
