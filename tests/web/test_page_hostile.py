"""Hostile records are text on the page: nothing in them runs, hides, or harms the page."""

from __future__ import annotations

import pytest
from page_sites import make_record

expect = pytest.importorskip("playwright.sync_api").expect

MARKUP = "<img src=x onerror=\"document.title='harmed'\"><script>document.title='harmed'</script>"
TEXTS = {
    "markup": MARKUP,
    "template": "{{7*7}} ${7*7} <%= 7*7 %>",
    "escape codes": "\x1b[31mred\x1b]0;title\x07 \x9b2J",
    "bidi": "user \u202e\u2066gnp.exe\u2069 \u200f\u200b invisible",
    "combining": "Z" + "\u0351" * 400,
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 🇺🇳",
    "right to left": "مرحبا بالعالم level=INFO",
    "lines": "one\n2026-11-29 00:00:00 ERROR forged\r\nthree\u2028four",
    "address": "javascript:alert(1) data:text/html,<script>1</script>",
}
NAMES = [
    "__proto__",
    "constructor",
    "hasOwnProperty",
    "toString",
    "</script>",
    "a b",
    'q"uote',
    "é",
]


@pytest.fixture(scope="module")
def texts(browser, tmp_path_factory):
    from page_sites import PageSite

    with PageSite(tmp_path_factory.mktemp("hostile")) as site:
        site.write(
            make_record(
                text, name=text[:50], level=30 + at, levelname=text[:20], extra={"text": text}
            )
            for at, text in enumerate(TEXTS.values())
        )
        names = dict.fromkeys(NAMES, MARKUP)
        site.write([make_record("names", extra={**names, "inner": dict.fromkeys(NAMES, 1)})])
        yield site


def unharmed(page) -> None:
    assert page.title() == "fastlog"
    assert page.locator(".record img, .record script, .facet img, .facet script").count() == 0


@pytest.mark.parametrize("mode", ["", "&wrap=1&extras=1", "&mode=live&extras=1", "&mode=problems"])
def test_hostile_texts_are_shown_as_text(mode, texts, open_tab):
    tab = open_tab(texts)
    page = tab.open(f"/?fold=0&columns=time&columns=level&columns=name&columns=message{mode}")
    expect(page.get_by_text("<img src=x", exact=False).first).to_be_visible()
    unharmed(page)


def test_hostile_texts_open_as_text_and_as_facets(texts, open_tab):
    page = open_tab(texts).open("/?fold=0&order=oldest&facets=extra.text")
    for at in range(len(TEXTS)):
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.locator(f".record.open[aria-posinset='{at + 1}'] .detail")).to_be_visible()
    expect(page.locator(".detail").first).to_be_visible()
    unharmed(page)


def test_invisible_characters_are_made_visible(texts, open_tab):
    page = open_tab(texts).open("/?fold=0")
    expect(
        page.get_by_text(r"\x1b[31mred\x1b]0;title\x07 \x9b2J", exact=False).first
    ).to_be_visible()
    expect(page.get_by_text(r"user \u202e\u2066gnp.exe\u2069", exact=False).first).to_be_visible()
    line = page.locator(".c-message", has_text="forged").first
    assert line.evaluate("cell => cell.getClientRects().length") == 1


def test_names_of_javascript_are_names_of_extras(texts, open_tab):
    page = open_tab(texts).open("/?q=names&extras=1")
    page.locator(".disclosure").first.click()
    tree = page.locator(".detail .json-tree").first
    for name in NAMES:
        expect(tree.locator(".json-name").get_by_text(name, exact=True).first).to_be_visible()
    assert page.evaluate("({}).text") is None
    unharmed(page)


def test_names_of_javascript_are_values_of_facets_and_histogram(empty, open_tab):
    names = [*NAMES, "__proto__"]
    empty.write(make_record("m", name=name, extra={"kind": name}) for name in names)
    page = open_tab(empty).open("/?facets=extra.kind&by=extra.kind&fold=0")
    expect(page.locator("#histogram-legend")).to_contain_text("__proto__ 2")
    page.locator("#facets").get_by_role("button", name="Include __proto__").last.click()
    expect(page.locator("#query")).to_have_value("extra.kind:__proto__")
    expect(page.locator("#records-state")).to_have_text("2 records, all that match")


def test_every_value_of_a_facet_can_be_included(texts, open_tab):
    page = open_tab(texts).open("/?facets=extra.text")
    box = page.locator("details.facet", has=page.locator("summary", has_text="extra.text"))
    values = box.locator("button.include[data-value^='+']:not([data-value='+null'])")
    expect(values).to_have_count(len(TEXTS))
    for at in range(len(TEXTS)):
        values.nth(at).click()
        expect(values.nth(at)).to_have_attribute("aria-pressed", "true")
        expect(page.locator("#records-state")).to_have_text("1 record, all that match")
        values.nth(at).click()
        expect(page.locator("#query")).to_have_value("")


def test_a_message_of_megabytes_does_not_stop_the_page(empty, open_tab):
    empty.write([make_record("x" * 900_000 + " end"), make_record("small")])
    page = open_tab(empty).open("/?wrap=1")
    expect(page.locator(".record")).to_have_count(2)
    page.locator(".record", has_text="xxxx").locator(".disclosure").click()
    assert len(page.locator(".detail pre").first.inner_text()) < 30_000
    page.get_by_role("button", name="Show all").click()
    expect(page.locator(".detail pre").first).to_contain_text(" end")
    page.keyboard.press("s")
    expect(page.locator(".record", has_text="small")).to_be_visible()


def test_a_query_from_an_address_is_text(texts, open_tab):
    page = open_tab(texts).open(
        "/?q=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E&open=%3Cb%3E&tz=../../etc&by=%3Cb%3E"
    )
    unharmed(page)
