"""Servers and tabs for tests of the page.

They end with each module: Playwright's event loop must not be there when other tests run theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from browsers import Tab, chromium
from page_sites import NOW, PageSite, demonstration

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of the page, which `make page` runs."""
    if item.path.name.startswith("test_page_"):
        item.add_marker("page")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def shop(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageSite]:
    """A site with 3,000 records of a shop, to which no test may add."""
    with PageSite(tmp_path_factory.mktemp("shop")) as site:
        site.write(demonstration(NOW))
        yield site


@pytest.fixture
def empty(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageSite]:
    """A site without records."""
    with PageSite(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """A function that opens a tab at a site. Afterwards no tab may have had an error."""
    tabs: list[Tab] = []

    def open_(site: PageSite, **options: Any) -> Tab:
        tabs.append(Tab(browser, site.url, **options))
        return tabs[-1]

    yield open_
    complaints = [complaint for tab in tabs for complaint in tab.complaints]
    for tab in tabs:
        tab.close()
    assert complaints == []
