"""A search ends when its client has gone."""

from __future__ import annotations

import asyncio
import threading

import pytest

pytest.importorskip("starlette", reason="the web server needs the extra 'web'")

from starlette.requests import Request

from fastlog.search import Progress
from fastlog.web.searches import DisconnectedError, Searches


def test_a_search_ends_when_its_client_has_gone() -> None:
    begun, ended = threading.Event(), threading.Event()

    def search(progress: Progress) -> None:
        begun.set()
        while not progress.must_stop():
            ended.wait(0.01)
        ended.set()

    async def receive() -> dict[str, str]:
        await asyncio.to_thread(begun.wait)
        return {"type": "http.disconnect"}

    async def run() -> None:
        searches = Searches(1)
        request = Request({"type": "http", "client": ("10.0.0.5", 77)}, receive)
        try:
            with pytest.raises(DisconnectedError):
                await asyncio.wait_for(searches.run(request, 60.0, search), 20)
        finally:
            searches.close()
        assert ended.is_set(), "the thread is free for the next search"

    asyncio.run(run())
