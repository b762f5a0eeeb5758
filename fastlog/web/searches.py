"""Searches: they run in threads, a limited number at a time, and end when nobody waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from starlette.requests import Request

from fastlog.search import Progress
from fastlog.web.failures import RequestError

T = TypeVar("T")

PATIENCE: Final = 5.0
"""Seconds that a request waits for its turn."""
WAITING: Final = 64
"""Requests that may wait."""
OF_ONE: Final = 32
"""Searches of one client, by its address, that may run or wait. A page has six connections."""
CHUNKS: Final = 4
"""Chunks of a stream that are made before the client has read them."""


class DisconnectedError(Exception):
    """The client has closed the connection, so nobody reads the answer."""


class Searches:
    """Runs searches.

    Args:
        at_once: How many run at the same time; others wait.
    """

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="search")
        self._waiting = 0
        self._by_client: Counter[str] = Counter()
        self._running: set[Progress] = set()
        self._is_closed = False

    def close(self) -> None:
        """Stop all searches, and begin no more."""
        self._is_closed = True
        for progress in self._running:
            progress.interrupt()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, request: Request, seconds: float, work: Callable[[Progress], T]) -> T:
        """Run a search in a thread, and return its result.

        Args:
            seconds: After which the search must end, from its start.
            work: Gets the progress, which it has to obey.

        Raises:
            RequestError: There are too many searches.
            DisconnectedError: The client has gone. The search was stopped.
        """
        async with self._turn(request):
            progress = Progress(time.monotonic() + seconds)
            loop = asyncio.get_running_loop()
            job = loop.run_in_executor(self._threads, work, progress)
            gone: asyncio.Future[None] = asyncio.ensure_future(_disconnected(request))
            self._running.add(progress)
            try:
                await _first(job, gone)
                if not job.done():
                    raise DisconnectedError
                return job.result()
            finally:
                gone.cancel()
                await self._end(progress, job)

    @asynccontextmanager
    async def stream(
        self, request: Request, make: Callable[[Progress], Iterator[bytes]]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Let a thread make the chunks of a body. It waits while the client does not read.

        Args:
            make: Yields the chunks. It has to obey the progress.

        Raises:
            RequestError: There are too many searches.
        """
        async with self._turn(request):
            progress = Progress()
            loop = asyncio.get_running_loop()
            chunks: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS)

            def put(chunk: bytes | None) -> None:
                asyncio.run_coroutine_threadsafe(chunks.put(chunk), loop).result()

            def work() -> None:
                for chunk in make(progress):
                    put(chunk)
                    if progress.must_stop():
                        return
                put(None)

            job = loop.run_in_executor(self._threads, work)
            self._running.add(progress)
            try:
                yield _taken(chunks, job)
            finally:
                progress.interrupt()
                while not job.done():  # it may wait for room
                    with contextlib.suppress(asyncio.QueueEmpty):
                        chunks.get_nowait()
                    await asyncio.wait({job}, timeout=0.05)
                await self._end(progress, job)

    @asynccontextmanager
    async def _turn(self, request: Request) -> AsyncIterator[None]:
        client = request.client.host if request.client else ""
        if self._by_client[client] >= OF_ONE:
            raise _busy(f"{OF_ONE} searches of this client are running")
        self._by_client[client] += 1
        try:
            async with self._turn_of_all():
                yield
        finally:
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]

    @asynccontextmanager
    async def _turn_of_all(self) -> AsyncIterator[None]:
        busy = _busy("too many searches are running")
        if self._waiting >= WAITING:
            raise busy
        self._waiting += 1
        try:
            await asyncio.wait_for(self._free.acquire(), PATIENCE)
        except TimeoutError:
            raise busy from None
        finally:
            self._waiting -= 1
        try:
            if self._is_closed:
                raise RequestError("the web server is stopping; try again", 503)
            yield
        finally:
            self._free.release()

    async def _end(self, progress: Progress, job: asyncio.Future[T]) -> None:
        """Wait until the thread has ended, so that the next search has a free one."""
        if not job.done():
            progress.interrupt()
            await asyncio.shield(_first(job))
        self._running.discard(progress)


def _busy(reason: str) -> RequestError:
    return RequestError(f"{reason}; try again", 503, headers={"Retry-After": "1"})


async def _taken(
    chunks: asyncio.Queue[bytes | None], job: asyncio.Future[None]
) -> AsyncIterator[bytes]:
    while True:
        getting = asyncio.ensure_future(chunks.get())
        await _first(getting, job)
        if not getting.done() and chunks.empty():
            getting.cancel()
            job.result()  # it has failed
            return
        chunk = await getting
        if chunk is None:
            return
        yield chunk


async def _first(*futures: asyncio.Future[Any]) -> None:
    """Wait until one of them is done."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
