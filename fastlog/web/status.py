"""Status: sinks, losses, rejections, receiver and journal, as `fastlog stats` shows them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from fastlog.web.answers import json_answer
from fastlog.web.endpoint import Endpoint, Values
from fastlog.web.schemas import TEXT, obj
from fastlog.web.site import Site


async def _status(site: Site, request: Request, values: Values) -> Response:
    return json_answer(await site.status.read())


ENDPOINTS = (
    Endpoint(
        "/status",
        "The state of the server: sinks, losses, rejections, receiver, journal, and its version.",
        _status,
        answer={**obj(version=TEXT), "additionalProperties": True},
    ),
)
