"""Status: sinks, losses, rejections, receiver and journal, as `fastlog stats` shows them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fastlog.cli.data_directory import read_status, read_tallies
from fastlog.version import __version__
from fastlog.web.answers import json_answer
from fastlog.web.endpoint import Endpoint, Values
from fastlog.web.schemas import TEXT, obj
from fastlog.web.site import Site


async def _status(site: Site, request: Request, values: Values) -> Response:
    return json_answer(await asyncio.to_thread(_read, site))


def _read(site: Site) -> dict[str, Any]:
    data_dir = site.config.data_dir
    status = read_status(data_dir)
    rejected, losses = read_tallies(data_dir)
    return {
        "version": __version__,
        "at": time.time(),
        "receiver": status,
        "rejected": rejected,
        "losses": losses,
        "sinks": [],
    }


ENDPOINTS = (
    Endpoint(
        "/status",
        "The state of the server: sinks, losses, rejections, receiver, journal, and its version.",
        _status,
        answer={**obj(version=TEXT), "additionalProperties": True},
    ),
)
