"""The live tail on the page: it follows, pauses, counts, and stays bounded."""

from __future__ import annotations

import re

import pytest
from conditions import wait_for
from page_sites import make_record

expect = pytest.importorskip("playwright.sync_api").expect


def live(room, query="") -> str:
    """Return the address of the live tail of a room."""
    return room.view(query, mode="live", fold=0)


def last(tab) -> str:
    messages = tab.messages()
    return messages[-1] if messages else ""


def test_records_appear_as_they_arrive_newest_last(room, open_tab):
    room.log("before")
    tab = open_tab(room)
    page = tab.open(live(room))
    expect(page.locator("#records-state")).to_contain_text("Live")
    room.log("one", "two")
    expect(page.locator(".record", has_text="two")).to_be_visible()
    assert tab.messages() == ["before", "one", "two"]


def test_the_tail_shows_only_what_matches(room, open_tab):
    tab = open_tab(room)
    page = tab.open(live(room, "level>=error"))
    expect(page.locator("#records-state")).to_contain_text("Live")
    room.write([make_record("fine"), make_record("broken", level=40)])
    expect(page.locator(".record")).to_have_count(1)
    assert tab.messages() == ["broken"]


def test_scrolling_up_pauses_and_counts_and_the_button_follows_again(room, open_tab):
    room.log(*(f"old {at}" for at in range(90)))
    tab = open_tab(room)
    page = tab.open(live(room))
    expect(page.locator(".record", has_text="old 89")).to_be_visible()
    page.locator("#records").hover()
    page.mouse.wheel(0, -600)
    expect(page.locator("#records-state")).to_contain_text("Paused")
    in_view = tab.messages()
    room.log(*(f"new {at}" for at in range(7)))
    expect(page.locator("#live-waiting")).to_have_text("7 new records ↓")
    assert tab.messages() == in_view
    page.locator("#live-waiting").click()
    expect(page.locator(".record", has_text="new 6")).to_be_visible()
    expect(page.locator("#records-state")).to_contain_text("Live")


def test_scrolling_back_to_the_end_follows_again(room, open_tab):
    room.log(*(f"old {at}" for at in range(90)))
    tab = open_tab(room)
    page = tab.open(live(room))
    expect(page.locator(".record", has_text="old 89")).to_be_visible()
    page.locator("#records").hover()
    page.mouse.wheel(0, -600)
    expect(page.locator("#records-state")).to_contain_text("Paused")
    page.mouse.wheel(0, 5000)
    expect(page.locator("#records-state")).to_contain_text("Live")


def test_space_pauses_and_follows(room, open_tab):
    room.log("old")
    tab = open_tab(room)
    page = tab.open(live(room))
    expect(page.locator("#records-state")).to_contain_text("Live")
    page.keyboard.press(" ")
    expect(page.locator("#records-state")).to_contain_text("Paused")
    room.log("new")
    expect(page.locator("#live-waiting")).to_have_text("1 new record ↓")
    page.keyboard.press(" ")
    expect(page.locator(".record", has_text="new")).to_be_visible()


def test_an_open_record_pauses_the_tail_and_stays(room, open_tab):
    room.log("keep me")
    tab = open_tab(room)
    page = tab.open(live(room))
    page.locator(".record .disclosure").click()
    expect(page.locator("#records-state")).to_contain_text("Paused")
    room.log(*(f"new {at}" for at in range(50)))
    expect(page.locator("#live-waiting")).to_have_text("50 new records ↓")
    expect(page.locator(".detail")).to_be_visible()


def test_every_record_of_a_flood_is_shown_or_counted_as_not_shown(room, open_tab):
    tab = open_tab(room)
    page = tab.open(live(room))
    expect(page.locator("#records-state")).to_contain_text("Live")
    count = 6_000
    room.write(make_record(f"flood {at}") for at in range(count))
    room.log("the last")
    expect(page.locator(".record", has_text="the last")).to_be_visible(timeout=90_000)
    shown = int(page.locator(".record").last.get_attribute("aria-posinset"))
    gaps = int(
        page.evaluate("""async () => {
        const list = document.querySelector("#records");
        const texts = new Set();
        for (let top = 0; top < list.scrollHeight; top += list.clientHeight) {
            list.scrollTop = top;
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            for (const gap of list.querySelectorAll(".gap-row")) texts.add(gap.style.transform);
        }
        return texts.size;
    }""")
    )
    found = re.search(r"([\d,]+) records? not shown", page.locator("#records-state").inner_text())
    dropped = int(found[1].replace(",", "")) if found else 0
    assert shown - gaps + dropped == count + 1
    assert page.locator(".record").count() < 100


def test_a_tail_that_waits_too_long_drops_and_says_how_many(room, open_tab):
    tab = open_tab(room, own=True)
    # The page gets the events of a server that sends 25,000 records while the user reads.
    tab.page.route("**/api/v1/tail*", lambda route: route.fulfill(
        content_type="text/event-stream",
        body="retry: 600000\n\n" + "".join(events(25_000)),
    ))  # fmt: skip
    room.log("here")
    page = tab.page
    page.add_init_script("""
        document.addEventListener("DOMContentLoaded", () => {
            const press = () => document.querySelector("#live-pause").textContent === "Pause"
                ? (document.querySelector("#live-pause").click(), requestAnimationFrame(press))
                : null;
            requestAnimationFrame(press);
        });""")
    page.goto(tab.url + live(room))
    expect(page.locator("#live-waiting")).to_have_text("9,999 new records ↓")
    expect(page.locator("#records-state")).to_contain_text("15,001 records not shown")
    page.locator("#live-waiting").click()
    expect(page.locator(".record", has_text="burst 24999")).to_be_visible()


def test_a_tail_of_many_records_keeps_few_and_counts_what_the_server_dropped(room, open_tab):
    """Sixty thousand records at once: the list has the newest 20,000 at most."""
    count = 60_000
    tab = open_tab(room, own=True)
    tab.page.route("**/api/v1/tail*", lambda route: route.fulfill(
        content_type="text/event-stream",
        body="retry: 600000\n\n" + "".join(events(count))
        + 'event: dropped\ndata: {"dropped":1234}\n\n'
        + "event: records\ndata: [" + RECORD % (count, count) + "]\n\n",
    ))  # fmt: skip
    page = tab.page
    page.goto(tab.url + live(room))
    expect(page.locator(".record", has_text=f"burst {count}")).to_be_visible(timeout=90_000)
    said = page.locator("#records-state").inner_text()
    dropped = int(re.search(r"([\d,]+) records not shown", said)[1].replace(",", ""))
    assert dropped >= 1234
    rows = int(page.locator(".record").last.get_attribute("aria-posinset"))
    assert rows <= 20_000 + 10  # with the lines that say what is missing
    assert page.locator(".record").count() < 100
    assert page.locator("*").count() < 3000


def events(count: int):
    for first in range(0, count, 200):
        records = ",".join(RECORD % (at, at) for at in range(first, first + 200))
        yield f"event: records\ndata: [{records}]\n\n"


RECORD = (
    '{"id": "n:1:%d", "created": 1.8e9, "time": "2027-01-15T08:00:00Z", "levelno": 20,'
    ' "levelname": "INFO", "name": "app", "message": "burst %d", "exc_text": null, "extra": {}}'
)


def test_a_restart_before_the_first_record_loses_no_record(room, open_tab):
    tab = open_tab(room)
    page = tab.open(live(room))
    expect(page.locator("#records-state")).to_contain_text("Live")
    room.site.stop_web()
    expect(page.locator("#records-state")).to_contain_text("Connection lost")
    room.log("meanwhile")
    room.site.start_web()
    expect(page.locator(".record", has_text="meanwhile")).to_be_visible()


def test_a_restart_of_the_web_process_loses_no_record_of_a_tail(room, open_tab):
    tab = open_tab(room)
    page = tab.open(live(room))
    expect(page.locator("#records-state")).to_contain_text("Live")
    room.log("before")
    expect(page.locator(".record", has_text="before")).to_be_visible()
    room.site.stop_web()
    expect(page.locator("#records-state")).to_contain_text("Connection lost")
    room.log("meanwhile")
    room.site.start_web()
    expect(page.locator("#records-state")).to_contain_text("Live")
    room.log("after")
    wait_for(lambda: last(tab) == "after", "the tail goes on")
    assert tab.messages() == ["before", "meanwhile", "after"]
