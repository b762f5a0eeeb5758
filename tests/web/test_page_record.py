"""A record opens in place: fields, traceback, extras, copies, links, and what is around it."""

from __future__ import annotations

import json
import re

import pytest
from page_sites import make_record, raised

expect = pytest.importorskip("playwright.sync_api").expect

TRACE = "/?q=has:exc_text&fold=0"


def open_first(page) -> None:
    page.locator(".record .disclosure").first.click()
    expect(page.locator(".detail").first).to_be_visible()


def test_an_open_record_shows_all_it_has(room, open_tab):
    extra = {"user": 77, "big": 2**70 + 1, "db": {"hosts": ["a", "b"], "odd name": None}}
    error = raised(ValueError("no such user"))
    room.write([make_record("failed\non two lines", level=40, raised=error, extra=extra)])
    page = open_tab(room).open(room.view())
    open_first(page)
    detail = page.locator(".detail")
    expect(detail.get_by_label("message", exact=True)).to_have_text("failed\non two lines")
    expect(detail.locator(".exception")).to_have_text("ValueError: no such user")
    expect(detail.locator(".frame b").last).to_have_text("_query")
    expect(detail.locator(".json-tree").first).to_contain_text("user: 77")
    expect(detail.locator(".json-tree").first).to_contain_text(f"big: {2**70 + 1}")
    expect(detail.locator(".json-tree").first).to_contain_text("odd name: null")
    expect(detail.locator(".fields")).to_contain_text("/srv/shop/orders/views.py")


def test_notes_of_validation_are_shown(room, open_tab):
    room.write([make_record("odd", lineno=["no", "number"])])
    page = open_tab(room).open(room.view())
    expect(page.locator(".record .tag")).to_have_text("note")
    open_first(page)
    expect(page.locator(".notes")).to_contain_text("lineno")


def test_a_value_of_an_open_record_edits_the_query(room, open_tab):
    room.write([make_record("one", extra={"db": {"odd name": "x y"}}), make_record("two")])
    page = open_tab(room).open(room.view("one", fold=0))
    open_first(page)
    page.get_by_role("button", name='Include extra.db."odd name" x y').click()
    expect(page.locator("#query")).to_have_value(f'{room.query} one extra.db."odd name":"x y"')
    expect(page.locator("#records-state")).to_have_text("1 record, all that match")


def test_copy_as_json_is_the_whole_record(room, open_tab):
    room.write([make_record("exact \x1b[31m", extra={"big": 2**70 + 1})])
    tab = open_tab(room, own=True)
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = tab.open(room.view())
    open_first(page)
    page.get_by_role("button", name="Copy as JSON").click()
    expect(page.locator("#announcement")).to_have_text("The record is copied as JSON.")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert copied["message"] == "exact \x1b[31m"
    assert copied["extra"] == {"big": 2**70 + 1}


def test_a_link_opens_the_record_though_the_results_do_not_have_it(shop, open_tab):
    tab = open_tab(shop, own=True)
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = tab.open("/?q=disk+is+full")
    open_first(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#announcement")).to_have_text("The link is copied.")
    link = page.evaluate("navigator.clipboard.readText()")
    other = open_tab(shop).open(link.removeprefix(shop.url))
    expect(other.locator(".record.open .detail")).to_contain_text("disk is full: /srv/data")


def test_an_open_record_is_forgotten_when_another_query_does_not_find_it(room, open_tab):
    room.write([make_record("one"), make_record("two")])
    page = open_tab(room).open(room.view("one", fold=0))
    open_first(page)
    page.locator("#query").fill(f"{room.query} two")
    page.keyboard.press("Enter")
    expect(page.locator("#records-state")).to_have_text("1 record, all that match")
    expect(page.locator(".record")).to_have_count(1)
    expect(page.locator(".record")).to_contain_text("two")
    assert "open=" not in page.url


def test_around_a_record_are_those_of_its_process_logger_or_any_extra(shop, open_tab):
    page = open_tab(shop).open(TRACE)
    open_first(page)
    page.locator(".around-choice select").select_option("process")
    expect(page.locator(".around-list li")).not_to_have_count(0)
    expect(page.locator(".around-list [aria-current]")).to_contain_text("query failed")
    page.locator(".around-choice select").select_option("logger")
    expect(page.get_by_label("Records around this one, same logger")).to_be_visible()
    loggers = page.locator(".around-list .c-logger").all_inner_texts()
    assert len(loggers) > 20 and set(loggers) == {"shop.db.pool"}
    page.locator(".around-choice select").select_option("extra.trace_id")
    expect(page.locator(".around-list li")).to_have_count(4)
    page.get_by_role("button", name="Search these").click()
    expect(page.locator("#query")).to_have_value(re.compile(r'^extra\.trace_id:"?[0-9a-f]{6}"?$'))
    expect(page.locator(".record")).to_have_count(4)


def test_an_open_record_closes_by_a_click_on_its_line(shop, open_tab):
    page = open_tab(shop).open(TRACE)
    open_first(page)
    page.locator(".record.open .c-message").click()
    expect(page.locator(".detail")).to_have_count(0)


def test_an_open_record_stays_open_while_its_neighbours_scroll_away(shop, open_tab):
    page = open_tab(shop).open("/?fold=0")
    open_first(page)
    key = page.locator(".record.open").get_attribute("data-id")
    page.locator("#records").evaluate("list => { list.scrollTop = 4000; }")
    expect(page.locator(f".record[data-id='{key}']")).to_have_count(0)
    page.locator("#records").evaluate("list => { list.scrollTop = 0; }")
    expect(page.locator(f".record.open[data-id='{key}'] .detail")).to_be_visible()
