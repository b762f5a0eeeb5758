"""Servers and tabs for tests of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from browsers import Tab, chromium
from web_sites import NOW, Site, demonstration

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    Open = Callable[..., Tab]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def shop(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with 3,000 records of a shop, which no test may add to."""
    with Site(tmp_path_factory.mktemp("shop")) as site:
        site.write(demonstration(NOW))
        yield site


@pytest.fixture
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site without records."""
    with Site(tmp_path_factory.mktemp("site")) as empty:
        yield empty


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Open]:
    """A function that opens a tab at a site; afterwards no tab may have had an error."""
    tabs: list[Tab] = []

    def open_(site: Site, **options: Any) -> Tab:
        tabs.append(Tab(browser, site.url, **options))
        return tabs[-1]

    yield open_
    complaints = [complaint for tab in tabs for complaint in tab.complaints]
    for tab in tabs:
        tab.close()
    assert complaints == []
