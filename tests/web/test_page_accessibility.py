"""axe-core finds nothing serious on the page, in both themes and at both widths."""

from __future__ import annotations

import pytest
from browsers import PHONE, WIDE

pytest.importorskip("playwright.sync_api")
AXE_SCRIPT = pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT

CONTRAST = {"type": "rule", "values": ["color-contrast"]}
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def problems(page, within: str = "html") -> list[str]:
    """Return what axe finds: all of it in the dark theme, and contrasts in the light one too.

    The other rules look at what does not depend on the theme.
    """
    found = _violations(page, within, TAGS)
    page.emulate_media(color_scheme="light")
    page.locator("html[data-theme=light]").wait_for()
    found += _violations(page, within, CONTRAST)
    page.emulate_media(color_scheme="dark")
    page.locator("html[data-theme=dark]").wait_for()
    return [
        f"{rule['impact']} {rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical", "moderate")
        for node in rule["nodes"]
    ]


def _violations(page, within: str, rules):
    # The page's policy forbids scripts of others: axe runs in a world of its own.
    if page.evaluate("typeof axe === 'undefined'"):
        page.evaluate(AXE_SCRIPT)
    options = {"runOnly": rules, "resultTypes": ["violations"]}
    run = "([within, options]) => axe.run(within, options).then((found) => found.violations)"
    return page.evaluate(run, [within, options])


def test_a_fault_of_contrast_is_found_in_the_theme_that_has_it(shop, open_tab):
    page = open_tab(shop, color_scheme="dark").open()
    style = "[data-theme=light] #modes button { color: #ddd; background: #fff; }"
    page.evaluate(
        """(text) => {
        const sheet = new CSSStyleSheet();
        sheet.replaceSync(text);
        document.adoptedStyleSheets.push(sheet);
    }""",
        style,
    )
    found = problems(page, "#modes")
    assert found and all("color-contrast" in each for each in found)


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_serious(size, shop, open_tab):
    tab = open_tab(shop, viewport=size)
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


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_serious_in_a_popover(size, shop, open_tab):
    page = open_tab(shop, viewport=size).open()
    for name in ("View", "Saved", "Export", "Range of time"):
        page.get_by_role("button", name=name, exact=True).click()
        page.locator("[popover]:popover-open").wait_for()
        assert problems(page, "[popover]:popover-open") == [], name
        page.keyboard.press("Escape")
