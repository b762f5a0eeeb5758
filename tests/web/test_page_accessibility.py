"""axe-core finds nothing serious on the page, in both themes and at both widths."""

from __future__ import annotations

import pytest
from browsers import PHONE, WIDE

pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def problems(page) -> list[str]:
    # The page's policy forbids scripts of others: axe runs in a world of its own.
    found = axe.Axe().run(page, options={"runOnly": TAGS})
    return [
        f"{rule['impact']} {rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found.response["violations"]
        if rule["impact"] in ("serious", "critical", "moderate")
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_serious(theme, size, shop, open_tab):
    tab = open_tab(shop, color_scheme=theme, viewport=size)
    page = tab.open("/?q=level>=warning&facets=extra.user&extras=1")
    page.locator("#histogram canvas").wait_for()
    page.locator(".record .disclosure").first.click()
    page.locator(".around-choice select").first.select_option("process")
    page.locator(".around-list li").first.wait_for()
    assert problems(page) == []
    page.locator("#status-pill").click()
    assert problems(page) == []
    page.keyboard.press("Escape")
    tab.search("levl:error")
    page.locator("#query-error").wait_for()
    assert problems(page) == []
    tab.open("/?mode=problems")
    page.locator(".problem summary").first.click()
    assert problems(page) == []
    page.locator("#help-button").click()
    assert problems(page) == []


@pytest.mark.parametrize("name", ["View", "Saved", "Export", "Range of time"])
def test_axe_finds_nothing_serious_in_a_popover(name, shop, open_tab):
    page = open_tab(shop).open()
    page.get_by_role("button", name=name, exact=True).click()
    page.locator("[popover]:popover-open").wait_for()
    assert problems(page) == []
