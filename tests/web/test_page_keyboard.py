"""Keys of the page, and that its parts can be used without a pointer or on a phone."""

from __future__ import annotations

import pytest
from browsers import PHONE

expect = pytest.importorskip("playwright.sync_api").expect


def selected(page):
    return page.locator(".record[aria-current]")


def test_slash_goes_to_the_query_and_escape_leaves_it(shop, open_tab):
    page = open_tab(shop).open()
    page.keyboard.press("/")
    expect(page.locator("#query")).to_be_focused()
    page.keyboard.type("disk j k")
    expect(page.locator("#query")).to_have_value("disk j k")
    page.keyboard.press("Escape")
    expect(page.locator("#query")).not_to_be_focused()


def test_j_and_k_move_and_enter_opens_and_closes(shop, open_tab):
    page = open_tab(shop).open("/?fold=0")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(selected(page)).to_have_attribute("aria-posinset", "3")
    page.keyboard.press("k")
    expect(selected(page)).to_have_attribute("aria-posinset", "2")
    expect(selected(page)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".record.open[aria-posinset='2'] .detail")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator(".detail")).to_have_count(0)


def test_j_goes_on_beyond_what_is_in_view(shop, open_tab):
    page = open_tab(shop).open("/?fold=0")
    for _ in range(60):
        page.keyboard.press("j")
    expect(selected(page)).to_have_attribute("aria-posinset", "60")
    expect(selected(page)).to_be_in_viewport()


def test_question_mark_shows_help_and_escape_closes_it(shop, open_tab):
    page = open_tab(shop).open()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()


def test_letters_change_the_view(shop, open_tab):
    page = open_tab(shop).open()
    page.keyboard.press("p")
    expect(page.locator(".problem").first).to_be_visible()
    page.keyboard.press("l")
    expect(page.locator("#records-state")).to_contain_text("Live")
    page.keyboard.press("s")
    expect(page.locator("#records-state")).to_contain_text("scroll for more")
    page.keyboard.press("e")
    expect(page.locator(".pair").first).to_be_visible()


def test_a_record_opens_by_its_button_with_the_keyboard_alone(shop, open_tab):
    page = open_tab(shop).open("/?fold=0")
    button = page.locator(".disclosure").first
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".record.open")).to_have_count(1)
    expect(page.locator(".disclosure").first).to_be_focused()
    expect(page.locator(".disclosure").first).to_have_attribute("aria-expanded", "true")


def test_a_phone_shows_the_same_without_scrolling_sideways(shop, open_tab):
    page = open_tab(shop, viewport=PHONE, has_touch=True).open("/?fold=0")
    width = "document.scrollingElement.scrollWidth"
    assert page.evaluate(width) <= PHONE["width"]
    message = page.locator(".record .c-message").first.bounding_box()
    assert message["width"] > 250
    page.locator("#facets-button").tap()
    page.get_by_role("button", name="Include ERROR").tap()
    page.locator("#facets-button").tap()
    expect(page.locator("#records-state")).to_have_text("15 records, all that match")
    page.locator(".record .disclosure").first.tap()
    expect(page.locator(".detail").first).to_be_visible()
    assert page.evaluate(width) <= PHONE["width"]
