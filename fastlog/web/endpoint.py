"""Endpoints: paths of the API, what they accept and answer, and how they are documented."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from fastlog.web.parameters import Parameter

if TYPE_CHECKING:
    from fastlog.web.site import Site

Values = dict[str, Any]
Handle = Callable[["Site", Request, Values], Awaitable[Response]]
Schema = dict[str, Any]


class Endpoint(NamedTuple):
    """A path of the API."""

    path: str
    """Below `/api/v1`."""
    about: str
    handle: Handle
    """Gets the values of the parameters, by name."""
    parameters: tuple[Parameter, ...] = ()
    answer: Schema = {"type": "object"}  # noqa: RUF012 it is not changed
    """The JSON schema of the answer."""
    method: str = "GET"
    media_types: tuple[str, ...] = ("application/json",)
    body: Schema | None = None
    """The JSON schema of the request's body."""
    failures: tuple[int, ...] = ()
    """Statuses of errors, besides those that all endpoints have."""
    is_open: bool = False
    """Whether it needs no login."""
