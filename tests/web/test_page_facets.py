"""Facets and the histogram: both edit what one sees, the query and the range."""

from __future__ import annotations

import pytest
from page_sites import make_record

expect = pytest.importorskip("playwright.sync_api").expect


def facet(page, name):
    return page.locator("details.facet", has=page.locator("summary", has_text=name)).first


def test_a_click_on_a_value_includes_it_and_a_second_value_joins_it(shop, open_tab):
    tab = open_tab(shop)
    page = tab.open()
    page.get_by_role("button", name="Include ERROR").click()
    expect(page.locator("#query")).to_have_value("level:error")
    expect(page.locator("#records-state")).to_contain_text("15 records, all")
    page.get_by_role("button", name="Include CRITICAL").click()
    expect(page.locator("#query")).to_have_value("level:(error critical)")
    expect(page.locator("#records-state")).to_contain_text("17 records, all")
    error = page.get_by_role("button", name="Include ERROR")
    expect(error).to_have_attribute("aria-pressed", "true")
    error.click()
    expect(page.locator("#query")).to_have_value("level:critical")


def test_new_counts_do_not_take_away_a_value_that_is_being_clicked(shop, open_tab):
    page = open_tab(shop).open("/?q=level:(error critical)")
    error = page.get_by_role("button", name="Include ERROR")
    expect(error).to_have_attribute("aria-pressed", "true")
    old = facet(page, "logger").locator("button.include").first
    old.evaluate("button => button.id = 'of-the-answer-before'")
    error.hover()
    page.mouse.down()
    page.locator("#refresh").dispatch_event("click")
    # The facets ask in their order, so the levels are answered when the loggers are.
    expect(page.locator("#of-the-answer-before")).to_have_count(0)
    page.mouse.up()
    expect(page.locator("#query")).to_have_value("level:critical")


def test_minus_excludes_a_value(shop, open_tab):
    tab = open_tab(shop)
    page = tab.open("/?q=-level:debug")
    page.get_by_role("button", name="Exclude INFO").click()
    expect(page.locator("#query")).to_have_value("-level:(debug info)")
    expect(page.locator(".record.level-info")).to_have_count(0)
    page.get_by_role("button", name="Exclude INFO").click()
    expect(page.locator("#query")).to_have_value("-level:debug")


def test_loggers_are_a_tree_whose_branches_sum_up(shop, open_tab):
    tab = open_tab(shop)
    page = tab.open()
    expect(page.get_by_role("button", name="Include shop, 3,000 records")).to_be_visible()
    page.get_by_label("Loggers below shop.web").click()
    expect(page.get_by_role("button", name="Include api")).to_be_visible()
    page.get_by_role("button", name="Include api").click()
    expect(page.locator("#query")).to_have_value("logger:shop.web.api")
    loggers = set(page.locator(".c-logger").all_inner_texts())
    expect(page.locator(".c-logger").first).to_have_text("shop.web.api")
    assert loggers


def test_host_and_process_are_facets(shop, open_tab):
    tab = open_tab(shop)
    page = tab.open()
    facet(page, "host").locator("summary").click()
    page.get_by_role("button", name="Include 127.0.0.1, 3,000 records").click()
    facet(page, "process").locator("summary").click()
    page.get_by_role("button", name="Exclude 4101").click()
    expect(page.locator("#query")).to_have_value("host:127.0.0.1 -process:4101")
    expect(page.locator("#histogram-title")).to_contain_text("2,000 records")


def test_any_extra_can_be_a_facet(shop, open_tab):
    tab = open_tab(shop)
    page = tab.open()
    expect(page.locator("#facet-field option[value='extra.user']")).to_be_attached()
    page.locator("#facet-field").select_option("extra.user")
    page.get_by_role("button", name="Include 77").click()
    expect(page.locator("#query")).to_have_value("extra.user:77")
    assert "facets=extra.user" in page.url
    page.get_by_role("button", name="Remove extra.user").click()
    expect(page.get_by_role("button", name="Include 77")).to_have_count(0)


def test_the_histogram_counts_by_level_and_by_any_field(shop, open_tab):
    page = open_tab(shop).open()
    legend = page.locator("#histogram-legend")
    expect(legend).to_contain_text("ERROR 15")
    page.locator("#histogram-by").select_option("logger")
    expect(legend).to_contain_text("shop.storage 2")
    expect(page.locator("#histogram-by option[value='extra.user']")).to_be_attached()
    page.locator("#histogram-by").select_option("extra.user")
    expect(legend).to_contain_text("(others)")
    name = legend.get_by_role("button").first.inner_text().split()[0]
    legend.get_by_role("button").first.click()
    expect(page.locator("#query")).to_have_value(f"extra.user:{name}")


def test_dragging_over_the_histogram_zooms_and_zoom_out_ends_it(shop, open_tab):
    page = open_tab(shop).open()
    expect(page.locator("#histogram canvas")).to_be_visible()
    box = page.locator("#histogram .u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30, steps=5)
    page.mouse.up()
    expect(page.locator("#zoom-out")).to_be_visible()
    assert "since=" in page.url and "until=" in page.url
    expect(page.locator("#histogram-title")).not_to_contain_text("3,000")
    page.locator("#zoom-out").click()
    expect(page.locator("#histogram-title")).to_contain_text("3,000")


def test_the_pointer_reads_a_bar(shop, open_tab):
    page = open_tab(shop).open()
    expect(page.locator("#histogram canvas")).to_be_visible()
    page.locator("#histogram .u-over").hover()
    expect(page.locator("#histogram-readout")).to_contain_text("INFO")


def test_relative_and_written_ranges(shop, open_tab):
    page = open_tab(shop).open()
    page.locator("#range-button").click()
    page.get_by_role("button", name="Last hour").click()
    expect(page.locator("#range-button")).to_have_text("Last hour")
    expect(page.locator("#histogram-title")).not_to_contain_text("3,000")
    assert "since=1h" in page.url
    page.locator("#range-button").click()
    page.locator("#range-since").fill("yesterday")
    page.locator("#range-until").fill("1h")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#range-button")).to_have_text("yesterday \N{EN DASH} 1h")
    expect(page.locator("#query-error")).to_be_hidden()


def test_another_zone_shows_other_times_of_the_same_records(shop, open_tab):
    page = open_tab(shop).open()
    first = page.locator(".record time").first
    before, moment = first.inner_text(), first.get_attribute("datetime")
    expect(page.locator("#list-header")).to_contain_text("Time (UTC+00:00)")
    page.locator("#range-button").click()
    page.locator("#zone").select_option("Asia/Tokyo")
    expect(page.locator("#list-header")).to_contain_text("Time (UTC+09:00)")
    assert first.inner_text() != before
    assert first.get_attribute("datetime") == moment
    assert "tz=Asia" in page.url


def test_a_level_of_ones_own_is_included_by_its_name(empty, open_tab):
    empty.write([make_record("own", level=25, levelname="WARNINGS"), make_record("other")])
    page = open_tab(empty).open("/?fold=0")
    own = page.get_by_role("button", name="Include WARNINGS")
    own.click()
    expect(page.locator("#query")).to_have_value("levelname:WARNINGS")
    expect(page.locator("#records-state")).to_have_text("1 record, all that match")
    expect(own).to_have_attribute("aria-pressed", "true")
    own.click()
    expect(page.locator("#query")).to_have_value("")
