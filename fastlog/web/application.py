"""The application: routes of the API, metrics and probes, and the page with its files."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from fastlog.errors import FastlogError, SinkUnavailableError
from fastlog.web import counts, export, fields, histogram, problems, records, session, status, tail
from fastlog.web.answers import json_answer
from fastlog.web.endpoint import Endpoint
from fastlog.web.failures import RequestError, failure
from fastlog.web.guard import Guard
from fastlog.web.metrics import metric_routes
from fastlog.web.openapi import describe
from fastlog.web.parameters import read_parameters
from fastlog.web.searches import DisconnectedError
from fastlog.web.site import Site

log = logging.getLogger(__name__)

API: Final = "/api/v1"
STATIC: Final = Path(__file__).with_name("static")
ENDPOINTS: Final = (
    *records.ENDPOINTS,
    *counts.ENDPOINTS,
    *histogram.ENDPOINTS,
    *fields.ENDPOINTS,
    *problems.ENDPOINTS,
    *status.ENDPOINTS,
    *tail.ENDPOINTS,
    *export.ENDPOINTS,
    *session.ENDPOINTS,
)


def make_application(site: Site, hosts: frozenset[str]) -> Guard:
    """Return the application of a site.

    Args:
        hosts: The names of this server, besides its addresses.
    """
    routes: list[BaseRoute] = [*_api_routes(site), *metric_routes(site)]
    routes += [
        Route("/", _page, methods=["GET"]),
        Mount("/static", StaticFiles(directory=STATIC, check_dir=False)),
        Route("/{rest:path}", _missing),
    ]
    application = Starlette(
        routes=routes,
        exception_handlers={404: _not_found, 405: _wrong_method, Exception: _internal_error},
    )
    return Guard(application, hosts)


def _api_routes(site: Site) -> Iterator[Route]:
    for endpoint in ENDPOINTS:
        path = f"{API}{endpoint.path}".replace("{id}", "{id:str}")
        yield Route(path, _handler(site, endpoint), methods=[endpoint.method])

    async def describe_all(request: Request) -> Response:
        return json_answer(describe(ENDPOINTS, API))

    yield Route(f"{API}/openapi.json", describe_all, methods=["GET"])


def _handler(site: Site, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        try:
            if request.method != endpoint.method:  # HEAD of a tail would not end
                allow = {"Allow": endpoint.method}
                raise RequestError(f"{request.method} is not allowed here", 405, headers=allow)
            if not (endpoint.is_open or site.access.is_allowed(request)):
                challenge = {"WWW-Authenticate": "Bearer"}
                raise RequestError("log in first, or send a token", 401, headers=challenge)
            values = read_parameters(request.query_params, endpoint.parameters)
            return site.unsent.sending(await endpoint.handle(site, request, values))
        except RequestError as error:
            return error.answer()
        except DisconnectedError:
            return failure("the client has gone", 499)
        except FastlogError as error:
            site.failures.error(str(error))
            return failure(str(error), 503 if isinstance(error, SinkUnavailableError) else 500)

    return handle


async def _page(request: Request) -> Response:
    path = STATIC / "index.html"
    if not path.exists():
        return PlainTextResponse("this installation has no page; the API is at /api/v1\n", 404)
    return FileResponse(path, headers={"Cache-Control": "no-cache"})


async def _missing(request: Request) -> Response:
    return failure("there is no such page", 404)


async def _not_found(request: Request, error: Exception) -> Response:
    return failure("there is no such page", 404)


async def _wrong_method(request: Request, error: Exception) -> Response:
    headers = getattr(error, "headers", None)
    return failure(f"{request.method} is not allowed here", 405, headers=headers)


async def _internal_error(request: Request, error: Exception) -> Response:
    return failure("an internal error of fastlog; the server's log has the reason", 500)
