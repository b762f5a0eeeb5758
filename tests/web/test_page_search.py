"""Search on the page: newest first, to the oldest, with the errors of the query language."""

from __future__ import annotations

import pytest
from browsers import Tab
from conditions import wait_for
from page_sites import make_record

expect = pytest.importorskip("playwright.sync_api").expect


def test_search_shows_the_newest_records_first(shop, open_tab):
    page = open_tab(shop).open()
    times = page.locator(".record time").evaluate_all("all => all.map(one => one.dateTime)")
    assert len(times) > 20
    assert times == sorted(times, reverse=True)
    expect(page.locator("#histogram-title")).to_contain_text("3,000 records")


def test_scrolling_reaches_the_oldest_record_with_few_elements(room, open_tab):
    room.write(make_record(f"number {at}", extra={"n": at}) for at in range(2500))
    tab = open_tab(room)
    page = tab.open(room.view(fold=0))
    counts = []

    def is_at_the_end() -> bool:
        page.locator("#records").evaluate("list => { list.scrollTop = list.scrollHeight; }")
        counts.append(page.locator(".record").count())
        return "number 0" in tab.messages()

    wait_for(is_at_the_end, "the oldest record", 60)
    assert max(counts) < 100
    expect(page.locator("#records-state")).to_have_text("2,500 records, all that match")


def test_a_query_filters_and_back_undoes_it(shop, open_tab):
    tab = open_tab(shop)
    page = tab.open()
    tab.search("disk full")
    expect(page.locator("#records-state")).to_have_text("2 records, all that match")
    assert set(tab.messages()) == {"disk is full: /srv/data"}
    assert "q=disk+full" in page.url
    page.go_back()
    expect(page.locator("#records-state")).to_contain_text("scroll for more")
    assert tab.query() == ""


def test_an_error_of_the_query_is_shown_where_it_is(shop, open_tab):
    tab = open_tab(shop)
    page = tab.open()
    tab.search("disk levl:error")
    expect(page.locator("#query-error")).to_contain_text("there is no field 'levl'")
    expect(page.locator("#query-error mark")).to_have_text("l")
    expect(page.locator("#query")).to_have_attribute("aria-invalid", "true")
    tab.search("disk")
    expect(page.locator("#query-error")).to_be_hidden()


def test_an_error_is_shown_where_it_is_beside_a_range(shop, open_tab):
    page = open_tab(shop).open("/?q=disk+lineno%3Eabc&since=1h")
    expect(page.locator("#query-error mark")).to_have_text("a")


def test_an_unbalanced_query_does_not_leave_its_range(shop, open_tab):
    page = open_tab(shop).open("/?q=disk)+OR+(full&since=1h")
    expect(page.locator("#query-error")).to_be_visible()


def test_a_query_without_matches_says_what_to_do(shop, open_tab):
    page = open_tab(shop).open("/?q=nonesuch")
    expect(page.locator("#records-empty")).to_contain_text("No records match")


def test_an_empty_store_says_what_will_be_here(empty, open_tab):
    page = open_tab(empty).open()
    expect(page.locator("#records-empty")).to_contain_text("No records yet")


def test_refresh_adds_new_records_and_keeps_what_is_open(room, open_tab):
    room.log("first", "second")
    tab = open_tab(room)
    page = tab.open(room.view(fold=0))
    page.locator(".record", has_text="first").locator(".disclosure").click()
    expect(page.locator(".detail")).to_be_visible()
    room.log("third")
    page.locator("#refresh").click()
    expect(page.locator(".record", has_text="third")).to_be_visible()
    expect(page.locator(".record.open .detail")).to_be_visible()
    assert tab.messages() == ["third", "second", "first"]


def test_repeats_fold_and_unfold(room, open_tab):
    room.log(*(f"attempt {at} of job 0x{at:04x}" for at in range(1, 6)), "done")
    tab = open_tab(room)
    page = tab.open(room.view())
    assert tab.messages() == ["done", "attempt 5 of job 0x0005"]
    page.locator(".repeats", has_text="\N{MULTIPLICATION SIGN}5").click()
    expect(page.locator(".record")).to_have_count(6)


def test_the_oldest_come_first_when_asked(shop, open_tab):
    tab: Tab = open_tab(shop)
    page = tab.open("/?order=oldest&fold=0")
    times = page.locator(".record time").evaluate_all("all => all.map(one => one.dateTime)")
    assert times == sorted(times)


def test_the_histogram_says_no_records_only_when_they_were_counted(shop, open_tab):
    held = []
    page = open_tab(shop, own=True).page
    page.route("**/api/v1/histogram*", lambda route: held.append(route))
    page.goto(shop.url)
    expect(page.locator(".record").first).to_be_visible()
    expect(page.locator("#histogram-title")).to_have_text("Counting …")
    held.pop().continue_()
    expect(page.locator("#histogram-title")).to_contain_text("records")
    page.unroute("**/api/v1/histogram*")
    page.locator("#query").fill("level>>3")
    page.keyboard.press("Enter")
    expect(page.locator("#histogram-title")).to_have_text("Not counted")
