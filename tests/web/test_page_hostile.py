"""Hostile records are text on the page: nothing in them runs, hides, or harms the page."""

from __future__ import annotations

import csv
import io
import json

import pytest
from day_files import make_record as day_record
from page_sites import PageSite, make_record
from web_sites import Site, make_store, serving

from fastlog.csv_cells import csv_cell

expect = pytest.importorskip("playwright.sync_api").expect

MARKUP = "<img src=x onerror=\"document.title='harmed'\"><script>document.title='harmed'</script>"
LONG = "x" * 10_000_000
TEXTS = {
    "markup": MARKUP,
    "template": "{{7*7}} ${7*7} <%= 7*7 %>",
    "escape codes": "\x1b[31mred\x1b]0;title\x07 \x9b2J",
    "bidi": "user \u202e\u2066gnp.exe\u2069 \u200f\u200b invisible",
    "combining": "Z" + "\u0351" * 400,
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 🇺🇳",
    "right to left": "مرحبا بالعالم level=INFO",
    "lines": "one\n2026-11-29 00:00:00 ERROR forged\r\nthree\u2028four",
    "NUL and surrogates": "nul \0 high \ud800 low \udfff",
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
def texts(chromium, tmp_path_factory):
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
    links = "all => all.every(one => one.origin === location.origin)"
    assert page.locator("a[href]").evaluate_all(links), "no link leads elsewhere"
    assert page.locator(".record img, .record script, .facet img, .facet script").count() == 0


@pytest.mark.parametrize("mode", ["", "&wrap=1&extras=1", "&mode=live&extras=1", "&mode=problems"])
def test_hostile_texts_are_shown_as_text(mode, texts, open_tab):
    tab = open_tab(texts)
    page = tab.open(f"/?fold=0&columns=time&columns=level&columns=name&columns=message{mode}")
    expect(page.get_by_text("<img src=x", exact=False).first).to_be_visible()
    unharmed(page)


def test_hostile_texts_open_as_text_and_as_facets(texts, open_tab):
    page = open_tab(texts).open("/?fold=0&order=oldest&facets=extra.text&by=extra.text")
    expect(page.locator("#histogram-legend")).to_contain_text("javascript:alert(1)")
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


def test_the_export_has_hostile_texts_as_they_are(texts):
    site = Site(texts.url)
    stored = [record["message"] for record in site.get("/records", order="oldest")["records"]]
    assert [text for text in TEXTS.values() if "\0" not in text] == [
        text for text in stored if text in TEXTS.values()
    ]
    assert "nul \\x00 high \\ud800 low \\udfff" in stored
    lines = site.ask("/export").body.splitlines()
    assert [json.loads(line)["message"] for line in lines] == stored
    rows = csv.DictReader(io.StringIO(site.ask("/export", format="csv").body.decode(), newline=""))
    assert [row["message"] for row in rows] == [csv_cell(text) for text in stored]


@pytest.fixture(scope="module")
def large(chromium, tmp_path_factory):
    """A store with texts of ten megabytes, as another program may have written it."""
    long = {"message": f"{LONG}the end", "exc_text": f"Traceback\n{LONG}\nValueError: the end"}
    records = [
        day_record(0, message="small"),
        day_record(1, name=LONG, extra=json.dumps({"blob": LONG, "user": 7}), **long),
        day_record(2, message="small too"),
    ]
    with serving(make_store(tmp_path_factory.mktemp("large"), records)) as site:
        yield site


def test_texts_of_ten_megabytes_are_abbreviated_until_their_record_is_opened(large, open_tab):
    tab = open_tab(large, own=True)
    answers = []
    tab.page.on("response", lambda answer: answers.append(answer))
    page = tab.open("/?wrap=1&extras=1&facets=extra.blob&by=extra.blob&fold=0")
    expect(page.locator(".record")).to_have_count(3)
    record = page.locator(".record").nth(1)
    expect(record).to_contain_text(f"{len(LONG) + 7:,} characters")
    expect(record).to_contain_text("ValueError: the end")
    expect(record).to_contain_text("user=7")
    include = page.get_by_role("button", name="Include xxxx")
    expect(include.first).to_be_disabled()
    assert max(len(answer.body()) for answer in answers if "/api/" in answer.url) < 100_000
    record.locator(".disclosure").click()
    message = record.locator(".detail pre").first
    expect(message).to_be_visible()
    assert len(message.inner_text()) == 20_000
    record.get_by_role("button", name="Show 1,000,000 more of 10,000,007 characters").click()
    expect(message).to_have_text("x" * 1_020_000)
    expect(record.locator(".traceback")).to_contain_text("ValueError: the end")
    page.keyboard.press("Escape")
    page.keyboard.press("k")
    expect(page.locator(".record[aria-current]")).to_contain_text("small too")


@pytest.mark.parametrize("mode", ["live", "problems"])
def test_texts_of_ten_megabytes_are_abbreviated_in_each_view(mode, large, open_tab):
    tab = open_tab(large, own=True)
    answers = []
    tab.page.on("response", lambda answer: answers.append(answer))
    page = tab.open(f"/?mode={mode}&fold=0")
    expect(page.get_by_text("xxxxx").first).to_be_visible()
    asked = [one for one in answers if "/api/" in one.url and "/tail" not in one.url]
    assert max(len(answer.body()) for answer in asked) < 100_000


def test_a_record_of_ten_megabytes_from_a_handler_is_cut_and_says_so(open_tab, tmp_path):
    config = '[limits]\nmax_frame = "15 MiB"\nrate = "64 MiB"\n'
    with PageSite(tmp_path, config=config) as site:
        tab = open_tab(site)
        page = tab.open("/?mode=live&fold=0")
        expect(page.locator("#records-state")).to_contain_text("Live")
        site.write([make_record(LONG), make_record("small")])
        expect(page.locator(".record", has_text="small")).to_be_visible()
        record = page.locator(".record", has_text="xxxx")
        expect(record).to_contain_text(" characters")
        record.locator(".disclosure").click()
        expect(record.locator(".detail pre")).to_be_visible()
        record.get_by_role("button", name="Show 1,000,000 more of 1,04").click()
        record.get_by_role("button", name="Show all 1,04").click()
        expect(record.locator(".detail pre")).to_contain_text("[cut: 8,9".replace(",", ""))


def test_a_query_from_an_address_is_text(texts, open_tab):
    page = open_tab(texts).open(
        "/?q=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E&open=%3Cb%3E&tz=../../etc&by=%3Cb%3E"
    )
    unharmed(page)
