"""Scrolling through many records: what is far from the view is not kept, and is there again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsers import Tab
from conditions import wait_for
from day_files import START_NAME, make_record, write_day
from web_sites import Site, make_store, numbered, serving

pytest.importorskip("playwright.sync_api")

COUNT = 26_000
MANY = 200_000
ROW = """() => [...document.querySelectorAll("#records .record")].map((row) =>
    [Number(row.getAttribute("aria-posinset")), row.querySelector(".c-message").textContent])"""


@pytest.fixture(params=[COUNT, pytest.param(MANY, marks=pytest.mark.soak)])
def stored(
    chromium: None, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Site, Path, int]]:
    """A store of records that are a second apart, its directory, and their number."""
    records = numbered(request.param, per_block=500)
    with serving(make_store(tmp_path, records, per_block=500)) as site:
        yield site, tmp_path, request.param


def rows_in_view(tab: Tab) -> list[tuple[int, str]]:
    """Return position and message of the rows that are in the document."""
    return [(place, message) for place, message in tab.page.evaluate(ROW)]


def scroll_until(tab: Tab, position: int) -> None:
    """Scroll to the end of what is known, again and again, until a row of a position is there."""

    def is_there() -> bool:
        tab.page.locator("#records").evaluate("list => { list.scrollTop = list.scrollHeight; }")
        return any(place >= position for place, _ in rows_in_view(tab))

    wait_for(is_there, f"row {position}", 600)


def heap_of(tab: Tab) -> float:
    """Return the megabytes of JavaScript objects of the page."""
    devtools = tab.context.new_cdp_session(tab.page)
    devtools.send("HeapProfiler.collectGarbage")
    used: float = devtools.send("Runtime.getHeapUsage")["usedSize"]
    return used / 1e6


def test_scrolling_through_many_records_keeps_few_and_finds_all_again(stored, open_tab):
    site, data_dir, count = stored
    tab = open_tab(site, own=True)  # its memory is measured
    page = tab.open("/?fold=0")
    scroll_until(tab, count // 2)
    half = heap_of(tab)
    scroll_until(tab, count)
    assert heap_of(tab) < 1.2 * half + 1
    in_view = rows_in_view(tab)

    write_day(data_dir / "logs" / START_NAME, [make_record(count)])
    page.keyboard.press("r")
    shifted = [(place + 1, message) for place, message in in_view]
    wait_for(lambda: rows_in_view(tab) == shifted, "the same records, behind the new one")

    for share in (0.0, 0.5, 0.02, 0.97, 0.4):
        page.locator("#records").evaluate(
            "(list, share) => { list.scrollTop = share * list.scrollHeight; }", share
        )
        wait_for(lambda: is_near(tab, share * count), f"the rows at {share}")  # noqa: B023
        for place, message in rows_in_view(tab):
            assert message == f"message {count + 1 - place}"
    assert page.locator("*").count() < 2000
    assert heap_of(tab) < 1.2 * half + 1
    page.locator("#records").evaluate("list => { list.scrollTop = 0; }")
    wait_for(lambda: (1, f"message {count}") in rows_in_view(tab), "the newest record")


def is_near(tab: Tab, position: float) -> bool:
    """Return whether the rows in the document are about those of a position."""
    return any(abs(place - position) < 100 for place, _ in rows_in_view(tab))
