"""Pictures of the page for the documents: `make pictures` writes them to docs/images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from browsers import PHONE

expect = pytest.importorskip("playwright.sync_api").expect

WIDE = {"width": 1280, "height": 800}
THEMES = ["dark", "light"] if "PICTURES" in os.environ else ["light"]
"""All pictures are taken when they are wanted; else those that no other test looks at."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    given = os.environ.get("PICTURES")
    return Path(given) if given else tmp_path


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("size", "name"), [(WIDE, "desktop"), (PHONE, "phone")])
def test_pictures_of_a_search(theme, size, name, shop, open_tab, folder):
    page = open_tab(shop, color_scheme=theme, viewport=size).open("/?extras=1")
    expect(page.locator("#histogram-legend")).to_contain_text("ERROR 15")
    expect(page.locator(".facet-value").first).to_be_attached()
    expect(page.locator("#status-pill")).to_contain_text("All stored")
    page.screenshot(path=folder / f"page-search-{theme}-{name}.png")


@pytest.mark.parametrize("theme", THEMES)
def test_pictures_of_an_open_record(theme, shop, open_tab, folder):
    page = open_tab(shop, color_scheme=theme, viewport=WIDE).open("/?q=level:error")
    page.locator(".record .disclosure").first.click()
    expect(page.locator(".exception")).to_be_visible()
    expect(page.locator("#histogram-legend")).to_contain_text("ERROR 15")
    page.screenshot(path=folder / f"page-record-{theme}.png")


def test_pictures_of_problems(shop, open_tab, folder):
    page = open_tab(shop, viewport=WIDE).open("/?mode=problems")
    expect(page.locator(".problem").first).to_be_visible()
    expect(page.locator("#histogram-legend")).to_contain_text("ERROR 15")
    page.screenshot(path=folder / "page-problems-dark.png")
