"""What is shown and how: columns, wrapping, theme, saved searches, exports, problems, status."""

from __future__ import annotations

import csv
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from conditions import wait_for

expect = pytest.importorskip("playwright.sync_api").expect


def menu(page) -> None:
    page.get_by_role("button", name="View", exact=True).click()


def test_columns_are_chosen_and_kept_in_the_address(shop, open_tab):
    page = open_tab(shop).open("/?q=trace_id:*")
    expect(page.locator("#columns input[value='extra.user']")).to_be_attached()
    menu(page)
    page.locator("#columns input[value='extra.user']").check()
    page.locator("#columns input[value='host']").check()
    page.locator("#columns input[value='level']").uncheck()
    headings = page.locator("#list-header .cell").all_inner_texts()
    assert headings == ["Time (UTC+00:00)", "Logger", "user", "Host", "Message"]
    again = open_tab(shop).open(page.url.removeprefix(shop.url))
    assert again.locator("#list-header .cell").all_inner_texts() == headings
    cells = again.locator(".record").first.locator(".c-other").all_inner_texts()
    assert cells[0].startswith("7") and cells[1] == "127.0.0.1"


def test_the_whole_view_is_in_the_address(shop, open_tab):
    tab = open_tab(shop)
    page = tab.open("/?fold=0")
    page.locator("#option-extras").evaluate("box => box.click()")
    page.locator("#histogram-by").select_option("logger")
    tab.search("level:error")
    page.locator("#range-button").click()
    page.get_by_role("button", name="Last 24 hours").click()
    expect(page.locator("#records-state")).to_have_text("15 records, all that match")
    page.locator(".record .disclosure").nth(1).click()
    expect(page.locator(".detail")).to_be_visible()
    open_id = page.locator(".record.open").get_attribute("data-id")
    again = open_tab(shop).open(page.url.removeprefix(shop.url))
    expect(again.locator("#query")).to_have_value("level:error")
    expect(again.locator("#range-button")).to_have_text("Last 24 hours")
    expect(again.locator("#histogram-by")).to_have_value("logger")
    expect(again.locator("#histogram-legend")).to_contain_text("shop.db.pool 15")
    expect(again.locator(".pair").first).to_be_visible()
    expect(again.locator(f".record.open[data-id='{open_id}'] .detail")).to_be_visible()


def test_long_messages_wrap_on_demand_and_rows_do_not_overlap(room, open_tab):
    room.log(*("word " * length for length in (5, 400, 3, 800, 2)))
    page = open_tab(room).open(room.view(fold=0))
    heights = page.locator(".record").evaluate_all("all => all.map(one => one.offsetHeight)")
    assert len(set(heights)) == 1
    page.locator("#records").focus()
    page.keyboard.press("w")
    expect(page.locator("#records.wrapped")).to_be_visible()
    edges = "all => all.map(one => one.getBoundingClientRect()).map(box => [box.top, box.bottom])"

    def follow_each_other() -> bool:
        spans = page.locator(".record").evaluate_all(edges)
        assert spans[1][1] - spans[1][0] > 50
        return all(abs(one[1] - two[0]) < 1.5 for one, two in pairwise(spans))

    wait_for(follow_each_other, "each row begins where the one before it ends")


def test_extras_stand_beside_the_message_on_demand(shop, open_tab):
    page = open_tab(shop).open("/?q=slow")
    expect(page.locator(".pair")).to_have_count(0)
    menu(page)
    page.locator("#option-extras").check()
    expect(page.locator(".record").first).to_contain_text("user=7")


def test_the_theme_follows_the_system_until_one_is_chosen(shop, open_tab):
    tab = open_tab(shop, color_scheme="dark")
    page = tab.open()
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    menu(page)
    page.get_by_role("button", name="Light").click()
    expect(root).to_have_attribute("data-theme", "light")
    page.reload()
    expect(root).to_have_attribute("data-theme", "light")


def test_levels_differ_by_more_than_colour(shop, open_tab):
    page = open_tab(shop).open("/?q=level>=warning&fold=0")
    lines = page.locator(".record .c-level").all_inner_texts()
    assert {line.strip()[0] for line in lines} >= {"●", "▲"}
    assert {line.strip()[1:].strip() for line in lines} >= {"ERROR", "WARNING"}


def test_a_saved_search_brings_its_view_back(shop, open_tab):
    tab = open_tab(shop)
    page = tab.open("/?q=level:error&since=7d&wrap=1")
    page.locator("#saved-button").click()
    page.locator("#save-name").fill("<b>errors</b>")
    page.get_by_role("button", name="Save this view").click()
    page.goto(shop.url)
    page.locator("#saved-button").click()
    page.get_by_role("button", name="<b>errors</b>", exact=True).click()
    expect(page.locator("#query")).to_have_value("level:error")
    expect(page.locator("#range-button")).to_have_text("Last 7 days")
    expect(page.locator("#records.wrapped")).to_be_visible()
    page.locator("#saved-button").click()
    page.get_by_role("button", name="Delete <b>errors</b>").click()
    expect(page.locator("#saved-none")).to_be_visible()


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
def test_an_export_is_exactly_what_matches_with_its_size_first(kind, shop, open_tab, tmp_path):
    page = open_tab(shop).open("/?q=level:error")
    page.get_by_role("button", name="Export").click()
    expect(page.locator("#export-query")).to_have_text("level:error")
    expect(page.locator("#export-size")).to_contain_text("15 records, about")
    page.locator(f"input[value={kind}]").check()
    with page.expect_download() as started:
        page.get_by_role("button", name="Download").click()
    path = tmp_path / "export"
    started.value.save_as(path)
    assert {record["levelname"] for record in read(path, kind)} == {"ERROR"}
    assert len(read(path, kind)) == 15


def read(path: Path, kind: str):
    if kind == "csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_problems_are_grouped_and_lead_to_their_records(shop, open_tab):
    page = open_tab(shop).open("/?mode=problems")
    problem = page.locator(".problem", has_text="TimeoutError").first
    expect(problem).to_contain_text("15 times")
    expect(problem.locator(".sparkline rect")).to_have_count(24)
    expect(problem).to_contain_text(re.compile(r"Traceback · last .* ago · first 3 h ago"))
    problem.locator("summary").first.click()
    expect(problem.locator(".exception")).to_contain_text("TimeoutError: after 5 s")
    problem.get_by_role("button", name="Show 15 records").click()
    expect(page.locator("#records-state")).to_have_text("15 records, all that match")


def test_problems_are_warnings_and_worse_unless_all_levels_are_asked_for(shop, open_tab):
    page = open_tab(shop).open("/?mode=problems")
    expect(page.locator(".problem", has_text="GET /login")).to_have_count(0)
    page.get_by_role("button", name="All levels").click()
    expect(page.locator(".problem", has_text="GET /login")).not_to_have_count(0)
