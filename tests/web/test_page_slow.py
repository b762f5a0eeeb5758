"""Searches and counts that the server does not finish in time: the page says so, and works on."""

from __future__ import annotations

import re

import pytest

expect = pytest.importorskip("playwright.sync_api").expect


def unfinished(tab, path: str, **changes) -> None:
    """Make the answers of a path those of a deadline that was over."""

    def answer(route) -> None:
        body = route.fetch().json()
        route.fulfill(json={**body, "complete": False, **changes})

    tab.page.route(re.compile(rf"/api/v1/{path}\?"), answer)


def test_a_long_search_says_how_far_it_is_and_can_be_stopped_and_continued(shop, open_tab):
    tab = open_tab(shop, own=True)
    page = tab.page
    held, asked = [], []

    def answer(route) -> None:
        if "cursor=" in route.request.url and not asked:
            held.append(route)  # the second page takes its time
            return
        body = route.fetch().json()
        if not held:
            body |= {"complete": False, "scanned": 0.37, "records": body["records"][:7]}
        route.fulfill(json=body)

    page.route(re.compile(r"/api/v1/records\?"), answer)
    tab.open("/?fold=0")
    state = page.locator("#records-state")
    expect(state).to_have_text("7 records so far, 37 % of the store read …")
    expect(page.locator(".record")).to_have_count(7)
    page.get_by_role("button", name="Stop").click()
    expect(state).to_have_text("7 records read; scroll for more")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    asked.append(True)
    cursor = "".join(re.findall(r"cursor=([^&]+)", held[0].request.url))
    with page.expect_request(lambda request: f"cursor={cursor}" in request.url):
        page.get_by_role("button", name="Read on").click()
    expect(state).to_have_text("207 records read; scroll for more")


def test_counts_that_are_not_finished_are_at_least_what_they_say(shop, open_tab):
    tab = open_tab(shop, own=True)
    unfinished(tab, "histogram")
    unfinished(tab, "counts")
    page = tab.open()
    expect(page.locator("#histogram-title")).to_contain_text("more than 3,000 records")
    expect(page.locator("#facets")).to_contain_text("Counted in a part of the store: at least")
    expect(page.locator(".record").first).to_be_visible()


def test_problems_and_sizes_that_are_not_finished_say_so(shop, open_tab):
    tab = open_tab(shop, own=True)
    unfinished(tab, "problems")
    unfinished(tab, "export/size")
    page = tab.open("/?mode=problems")
    expect(page.locator("#problems")).to_contain_text("counts are at least these")
    page.get_by_role("button", name="Export").click()
    expect(page.locator("#export-size")).to_contain_text("More than ")


def test_a_count_that_takes_long_hinders_neither_typing_nor_the_records(shop, open_tab):
    tab = open_tab(shop, own=True)
    held = []
    tab.page.route(
        re.compile(r"/api/v1/(histogram|counts|fields)\?"), lambda route: held.append(route)
    )
    page = tab.open()
    tab.search("level:error")
    expect(page.locator("#records-state")).to_have_text("15 records, all that match")
    page.locator(".record .disclosure").first.click()
    expect(page.locator(".detail .exception").first).to_be_visible()
    assert held
