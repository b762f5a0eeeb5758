"""The live tail of the page for minutes, at ten thousand records a second: `make soak`."""

from __future__ import annotations

import os
import time

import pytest
from page_sites import make_record

expect = pytest.importorskip("playwright.sync_api").expect

MINUTES = float(os.environ.get("SOAK_MINUTES", "10")) / 2
RATE = 10_000
FRAMES = """() => {
    window.frames_ = [];
    let last = performance.now();
    const next = (now) => {
        window.frames_.push(now - last);
        last = now;
        requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
}"""


@pytest.mark.soak
@pytest.mark.parametrize("fold", [0, 1])
def test_page_memory_stays_flat_and_frames_short_under_a_flood(fold, empty, open_tab):
    tab = open_tab(empty)
    page = tab.open(f"/?mode=live&fold={fold}")
    expect(page.locator("#records-state")).to_contain_text("Live")
    page.evaluate(FRAMES)
    devtools = tab.context.new_cdp_session(page)
    heaps, sent, began = [], 0, time.monotonic()
    while (passed := time.monotonic() - began) < MINUTES * 60:
        due = int(passed * RATE) - sent
        empty.write((make_record(f"flood {sent + at}") for at in range(due)), wait=False)
        sent += due
        page.wait_for_timeout(100)  # lets Playwright answer, and paces the flood
        if len(heaps) < passed / (MINUTES * 60) * 12:
            devtools.send("HeapProfiler.collectGarbage")
            heaps.append(page.evaluate("performance.memory.usedJSHeapSize") / 1e6)
    frames = sorted(page.evaluate("window.frames_"))
    p95 = frames[int(len(frames) * 0.95)]
    print(f"{sent / passed:.0f} records/s, frames p95 {p95:.1f} ms, heap in MB: {heaps}")
    assert page.locator(".record").count() < 100
    # The list has all the records that it may hold after a third of the time.
    assert max(heaps[8:]) < 1.15 * max(heaps[4:8]) + 1
    assert p95 < 50
