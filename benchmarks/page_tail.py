"""Measure the live tail of the page under load, for minutes.

    python benchmarks/page_tail.py [--per-second 10000] [--seconds 300] [--pages 50]

A fastlog-server with default settings gets records at a steady rate over ten connections. One page
is open in Chromium, with the live tail of all records; the other pages are clients of the same
events. Prints the times between frames, the memory of the page at the start, in the middle and at
the end, what the pages got and what was dropped, and the CPU time of each process.

It needs Playwright and Chromium (Debian: apt-get install chromium; or set CHROMIUM).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import usage
from bench.servers import FastlogServer
from flood_latency import frame
from playwright.sync_api import CDPSession, Page, sync_playwright
from web_server import serving

CONNECTIONS = 10
DISTINCT = 1000
"""Frames that are sent again and again."""
SAMPLES = 24
"""Samples of memory and processor time, over the whole run."""
WARM_UP = 0.1
"""The share of the run after which the list of the page is full, and memory is measured first."""
LIMIT = 1 << 22
"""Bytes of the longest line of an event."""
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
FRAMES = """() => {
    window.frameTimes = [];
    let last = performance.now();
    const next = (now) => {
        window.frameTimes.push(now - last);
        last = now;
        requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
}"""


class Got(NamedTuple):
    """What a client of events got."""

    records: int
    dropped: int
    """As the server has said."""


class Memory(NamedTuple):
    """The memory of the page."""

    seconds: float
    """Since the start of the load."""
    heap: float
    """MiB of JavaScript, after a collection."""
    resident: float
    """MiB of the process of the page."""
    nodes: int
    """Elements of the document."""


# ---- the senders and the other pages: processes of their own ------------------------------------


def send(port: int, per_second: int, control: Connection) -> None:
    """Send records until `control` has a message; then send their number to it."""
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(CONNECTIONS)
        ]
        frames = [
            frame(f"request {number} handled in {number * 7 % 190} ms", request=f"{number:016x}")
            for number in range(DISTINCT)
        ]
        sent, began = 0, time.monotonic()
        while not control.poll():
            due = int((time.monotonic() - began) * per_second)
            while sent < due:
                some = frames[sent % DISTINCT : sent % DISTINCT + min(50, due - sent)]
                sockets[sent // 50 % CONNECTIONS].sendall(b"".join(some))
                sent += len(some)
            time.sleep(0.005)
    control.send(sent)


def read_events(url: str, clients: int, control: Connection) -> None:
    """Read the events of tails until `control` has a message; then send what each got."""

    async def run() -> list[Got]:
        tasks = [asyncio.create_task(read_tail(url, stop)) for _ in range(clients)]
        while not control.poll():
            await asyncio.sleep(0.2)
        stop.set()
        return list(await asyncio.gather(*tasks))

    stop = asyncio.Event()
    control.send(asyncio.run(run()))


async def read_tail(url: str, stop: asyncio.Event) -> Got:
    """Read the events of one tail, and count the records in them."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=LIMIT)
    writer.write(f"GET /api/v1/tail HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    ended = asyncio.ensure_future(stop.wait())
    records = dropped = 0
    while not stop.is_set():
        line = asyncio.ensure_future(reader.readline())
        await asyncio.wait({line, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not line.done():
            line.cancel()
        elif line.result().startswith(b"data: ["):
            records += line.result().count(b'"levelno":')
        elif found := re.match(rb'data: {"dropped":(\d+)', line.result()):
            dropped += int(found[1])
        elif not line.result():
            raise ConnectionError("the server has ended a tail")
    writer.close()
    return Got(records, dropped)


class Helper:
    """A process that works until it is asked for its result."""

    def __init__(self, work: Any, *arguments: object) -> None:
        self._control, other = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=work, args=(*arguments, other), daemon=True)
        self._process.start()

    def result(self) -> Any:
        """End it, and return its result."""
        self._control.send(None)
        found = self._control.recv()
        self._process.join()
        return found


# ---- the page -----------------------------------------------------------------------------------


def find_chromium(own: str) -> str:
    """Return the path of Chromium.

    Raises:
        SystemExit: There is none.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    found = [os.environ.get("CHROMIUM"), *map(shutil.which, names), own]
    for path in found:
        if path and Path(path).exists():
            return path
    raise SystemExit("there is no Chromium (Debian: apt-get install chromium; or set CHROMIUM)")


def memory_of(page: Page, devtools: CDPSession, seconds: float) -> Memory:
    """Return what the page uses now."""
    devtools.send("HeapProfiler.collectGarbage")
    heap = devtools.send("Runtime.getHeapUsage")["usedSize"]
    nodes = page.evaluate("document.querySelectorAll('*').length")
    return Memory(seconds, heap / 2**20, _renderer_memory() / 2**20, nodes)


def _renderer_memory() -> int:
    """Return the resident bytes of the largest process of a page that descends from this one."""
    parents, resident = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "stat").read_text().rpartition(")")[2].split()
            parents[int(path.name)] = int(words[1])
            if b"--type=renderer" in (path / "cmdline").read_bytes():
                resident[int(path.name)] = int(words[21]) * os.sysconf("SC_PAGE_SIZE")
        except (FileNotFoundError, ProcessLookupError):
            continue

    def is_own(pid: int) -> bool:
        while pid > 1 and pid != os.getpid():
            pid = parents.get(pid, 0)
        return pid == os.getpid()

    return max((size for pid, size in resident.items() if is_own(pid)), default=0)


class Result(NamedTuple):
    """What a run has shown."""

    seconds: float
    sent: int
    frames: list[float]
    """Milliseconds between frames, sorted."""
    memory: list[Memory]
    rows: int
    """Rows that the page holds."""
    state: str
    """What the page says about its tail."""
    cpu: dict[str, float]
    """CPU-seconds by process."""
    web_memory: float
    """MiB: the peak of the web process."""
    pages: list[Got]


def measure(per_second: int, seconds: float, pages: int) -> Result:
    """Run everything."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastlog-page-")))
        running = stack.enter_context(FastlogServer("fastlog sqlite", "sqlite").start(home))
        web = stack.enter_context(serving(home / "data"))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=find_chromium(playwright.chromium.executable_path), args=ARGUMENTS
        )
        stack.callback(browser.close)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{web.url}/?mode=live&fold=0")
        page.locator("#records-state", has_text="Live").wait_for()
        devtools = page.context.new_cdp_session(page)
        others = Helper(read_events, web.url, pages - 1)
        sender = Helper(send, running.port, per_second)
        page.wait_for_timeout(seconds * WARM_UP * 1000)
        page.evaluate(FRAMES)
        cpu, web_cpu = usage.measure(running.pid), usage.cpu_of(web.pid)
        began, memory = time.monotonic(), []
        length = seconds * (1 - WARM_UP)
        for at in range(SAMPLES + 1):
            page.wait_for_timeout(max(0, began + at * length / SAMPLES - time.monotonic()) * 1000)
            memory.append(memory_of(page, devtools, time.monotonic() - began))
        passed = time.monotonic() - began
        used = usage.measure(running.pid).since(cpu)
        used["web"] = usage.cpu_of(web.pid) - web_cpu
        status = Path(f"/proc/{web.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s*(\d+)", status)
        assert peak is not None
        return Result(
            passed, sender.result(), sorted(page.evaluate("window.frameTimes")), memory,
            int(page.locator("#records .record").last.get_attribute("aria-posinset") or 0),
            page.locator("#records-state").inner_text(), used, int(peak[1]) / 1024,
            others.result(),
        )  # fmt: skip


def report(found: Result, per_second: int) -> str:
    """Return the result as text."""
    at = [found.frames[int(len(found.frames) * share)] for share in (0.5, 0.95, 0.99)]
    lines = [
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {found.sent:,} records sent,"
        f" {per_second:,} a second",
        f"frames: median {at[0]:.1f} ms, p95 {at[1]:.1f} ms, p99 {at[2]:.1f} ms,"
        f" most {found.frames[-1]:.0f} ms",
        *(
            f"page at {each.seconds:3.0f} s: heap {each.heap:.1f} MiB,"
            f" process {each.resident:.0f} MiB, {each.nodes} elements"
            for each in found.memory[:: SAMPLES // 2]
        ),
        f"page, most: heap {max(each.heap for each in found.memory):.1f} MiB,"
        f" process {max(each.resident for each in found.memory):.0f} MiB",
        f"the page holds {found.rows:,} rows, and says: {found.state}",
        f"other pages, {len(found.pages)}: {_shared(found.pages)}",
        "CPU-s/s: " + ", ".join(
            f"{role} {used / found.seconds:.2f}" for role, used in sorted(found.cpu.items()) if used
        ),
        f"web process: {found.web_memory:.0f} MiB at most",
    ]  # fmt: skip
    return "\n".join(lines)


def _shared(pages: Sequence[Got]) -> str:
    if not pages:
        return "none"
    records, dropped = (sorted(each[at] for each in pages) for at in (0, 1))
    return (
        f"{records[0]:,} to {records[-1]:,} records each, {dropped[0]:,} to {dropped[-1]:,}"
        " counted as dropped"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--per-second", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--json", type=Path, help="write the samples there, too")
    options = parser.parse_args()
    found = measure(options.per_second, options.seconds, options.pages)
    print(report(found, options.per_second))
    if options.json:
        options.json.write_text(json.dumps(found._asdict()))


if __name__ == "__main__":
    main()
