"""Site: what all requests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from starlette.requests import Request

from fastlog.certificates import read_ends
from fastlog.config import Config
from fastlog.query import between, both, column
from fastlog.search import Progress, Unread
from fastlog.search.chunk_search import remember_searches
from fastlog.search.store import RecordStore
from fastlog.status.data_directory import boot_of
from fastlog.tls.report import ListenerReport
from fastlog.web.access import Access
from fastlog.web.broadcast import Broadcast
from fastlog.web.failures import FailureLog
from fastlog.web.question import Question, read_query, time_context
from fastlog.web.searches import Searches
from fastlog.web.status_reader import StatusReader
from fastlog.web.unsent import Unsent

T = TypeVar("T")

EXPORTS: Final = 2
"""Exports at a time; they may take long, so they have threads of their own."""


class Site:
    """The store that is served, the searches that run, and the tails that follow.

    Args:
        store: Where the records are. It is closed at the end.

    Raises:
        ConfigError: The certificate cannot be read.
    """

    def __init__(self, config: Config, store: RecordStore) -> None:
        self.config, self.store = config, store
        remember_searches()
        self.searches = Searches(config.web.searches)
        self.exports = Searches(EXPORTS)
        self.unsent = Unsent()
        self.broadcast = Broadcast(store, config.web.tails)
        self.status = StatusReader(config, store)
        self.access = Access.of(config.web)
        self.failures = FailureLog()
        self.certificates: list[ListenerReport] = []
        """That of this server, as it was read at the start."""
        if config.web.certificate:
            end = read_ends(config.web.certificate).certificate.timestamp()
            self.certificates.append(ListenerReport(url=config.web.url, certificate_end=end))

    def close(self) -> None:
        """End everything that runs."""
        self.searches.close()
        self.exports.close()
        self.broadcast.close()
        self.store.close()

    async def ask(
        self, request: Request, values: dict[str, Any], work: Callable[[Question], T]
    ) -> T:
        """Run a search for the query of a request.

        Args:
            values: The parameters of the request: `q`, `tz`, and if it has them `deadline`, `since`
                and `until`.
            work: Runs in a thread.

        Raises:
            RequestError: The query is wrong, or there are too many searches.
            DisconnectedError: The client has gone.
        """
        question = self.question(values)

        def run(progress: Progress) -> T:
            return work(question._replace(progress=progress))

        return await self.searches.run(request, values.get("deadline") or 2.0, run)

    def question(self, values: dict[str, Any]) -> Question:
        """Return what a request asks.

        Raises:
            RequestError: The query or a time is wrong.
        """
        context = time_context(values, boot_of(self.config.data_dir))
        query = read_query(values.get("q") or "", context)
        question = Question(self.store, query, context, Progress(), Unread(lambda line: None))
        span = [question.moment(name, values.get(name)) for name in ("since", "until")]
        return question._replace(query=both(query, between(column("created"), *span)))
