"""The page's questions: what the page asks over HTTP, beside `fastlog query` for the same records.

The requests are those of `fastlog/web/static`. First come the newest records, and the state of the
server. When the records are there, the page asks for more of them, the histogram, the open facets
and the names of fields, all at once.
"""

from __future__ import annotations

import http.client
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import click
from usage import cpu_of
from web_server import serving

from bench.questions.cases import Command, fastlog
from bench.questions.measure import Cost, median, run, shown
from bench.questions.store import DAY, START, Store
from bench.report import table

FIRST, NEXT, BARS, VALUES, LOGGERS = 50, 200, 80, 12, 500
"""The numbers of records, bars and values that the page asks for."""
CONNECTIONS = 6
"""Connections that a browser has to one server."""
PATIENCE = 60.0
"""Seconds to wait for an answer."""

Request = tuple[str, dict[str, object]]


class View(NamedTuple):
    """What the page shows."""

    name: str
    query: str
    of_levels: str
    """The query of the facet of levels: without the level."""
    of_loggers: str
    command: Command
    """Finds the first records of the same query."""


class Seen(NamedTuple):
    """What a view cost the web process, from the first request on."""

    first: Cost
    """Until the first records were there."""
    all: Cost
    """Until all answers were there."""
    unfinished: int
    """Answers that were ended by their deadline."""


def views(store: Store) -> list[View]:
    """Return the views of a store."""
    level, logger = "level:error", "logger:app.db"
    since, until = (datetime.fromtimestamp(at, UTC).isoformat() for at in (START, START + DAY))
    day = f'created>="{since}" created<"{until}"'
    rare, common = f'("nowhere to be found") {day}', f'("cache miss") {day}'

    def query(text: str) -> Command:
        words = ("--limit", str(FIRST), text) if text else ("--limit", str(FIRST))
        return fastlog(store, "query", "--json", *words)

    both = f"{level} {logger}"
    return [
        View("first view", "", "", "", query("")),
        View("a level and a logger", both, logger, level, query(both)),
        View("a substring over a day, that is nowhere", rare, rare, rare, query(rare)),
        View("a substring over a day, in each sixth", common, common, common, query(common)),
    ]


class Page:
    """Asks a web server as the page does.

    Args:
        url: Where it serves.
        pid: Its process.
    """

    def __init__(self, url: str, pid: int) -> None:
        self._address, self._pid = urlsplit(url).netloc, pid
        self._threads = ThreadPoolExecutor(CONNECTIONS)

    def show(self, view: View) -> Seen:
        """Ask for a view, and wait for all answers."""
        began, cpu = time.monotonic(), cpu_of(self._pid)

        def cost() -> Cost:
            return Cost(cpu_of(self._pid) - cpu, time.monotonic() - began)

        status = self._threads.submit(self._ask, ("/status", {}))
        newest = {"q": view.query, "order": "newest"}
        records = self._ask(("/records", {**newest, "limit": FIRST}))
        first = cost()
        more: list[Request] = [
            ("/histogram", {"q": view.query, "bars": BARS, "by": "level"}),
            ("/counts", {"q": view.of_levels, "by": "level", "top": VALUES}),
            ("/counts", {"q": view.of_loggers, "by": "logger", "top": LOGGERS}),
            ("/fields", {"q": view.query}),
        ]
        if records["cursor"]:
            cursor = {"limit": NEXT, "cursor": records["cursor"]}
            more.insert(0, ("/records", {**newest, **cursor}))
        answers = [records, *self._threads.map(self._ask, more)]
        status.result()
        return Seen(first, cost(), sum(not answer["complete"] for answer in answers))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def _ask(self, request: Request) -> dict[str, Any]:
        path, parameters = request
        connection = http.client.HTTPConnection(self._address, timeout=PATIENCE)
        given = {**parameters, "tz": "UTC"} if parameters else {}
        connection.request("GET", f"/api/v1{path}?{urlencode(given)}")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200:
            raise click.ClickException(f"{path}: {body.decode(errors='replace')}")
        value: dict[str, Any] = json.loads(body)
        return value


def measure_page(store: Store, repeat: int) -> str:
    """Ask for each view, and run the command beside it, in turns; return the table of medians.

    Each view is asked of a new web server, which has nothing in its memory.
    """
    heads = ["page", "first CPU-s", "first s", "all CPU-s", "all s", "unfinished", "query CPU-s",
             "query s"]  # fmt: skip
    rows = []
    for view in views(store):
        seen: list[Seen] = []
        commands: list[Cost] = []
        for _ in range(repeat + 1):
            with serving(store.data_dir) as server, closing(Page(*server)) as page:
                seen.append(page.show(view))
            commands.append(run(view.command)[0])
        first, whole = (median([each[at] for each in seen[1:]]) for at in (0, 1))
        unfinished = statistics.median(each.unfinished for each in seen[1:])
        beside = median(commands[1:])
        rows.append([view.name, *shown(first), *shown(whole), f"{unfinished:g}", *shown(beside)])
        click.echo(f"{view.name:40} {whole.seconds:6.2f} s", err=True)
    return "\n".join(table(heads, rows))
