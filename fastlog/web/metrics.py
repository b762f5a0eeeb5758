"""Metrics and probes: `/metrics`, `/healthz` and `/readyz`, at the paths that tools expect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fastlog.metrics.collector import ServerCollector
from fastlog.metrics.health import find_fault, find_hindrance
from fastlog.web.failures import failure
from fastlog.web.site import Site

Probe = Callable[[Request], Awaitable[Response]]


def metric_routes(site: Site) -> Iterator[Route]:
    """Yield the routes. Probes need no login: they say nothing of records."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServerCollector(site.config.data_dir, site.certificates))

    async def metrics(request: Request) -> Response:
        if not site.access.is_allowed(request):
            return failure("send a token", 401, headers={"WWW-Authenticate": "Bearer"})
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        content = await asyncio.to_thread(encode, registry)
        return Response(content, headers={"Content-Type": media_type})

    yield Route("/metrics", metrics, methods=["GET"])
    yield Route("/healthz", _probe(site.config.data_dir, find_fault), methods=["GET"])
    yield Route("/readyz", _probe(site.config.data_dir, find_hindrance), methods=["GET"])


def _probe(data_dir: Path, find: Callable[[Path], str]) -> Probe:
    async def probe(request: Request) -> Response:
        found = await asyncio.to_thread(find, data_dir)
        return PlainTextResponse(f"{found or 'ok'}\n", 503 if found else 200)

    return probe
