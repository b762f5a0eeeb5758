"""Servers and tabs for tests of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browsers import Tab, find_chromium, running_chromium
from page_sites import NOW, PageSite, Room, demonstration


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of the page, which `make page` runs."""
    if item.path.name.startswith("test_page_"):
        item.add_marker("page")


@pytest.fixture(scope="session")
def chromium() -> None:
    """Skip where there is no Chromium, before a server is started for it."""
    pytest.importorskip("playwright.sync_api")
    find_chromium()


@pytest.fixture(scope="session")
def shop(chromium: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageSite]:
    """A site with 3,000 records of a shop, to which no test may add."""
    with PageSite(tmp_path_factory.mktemp("shop")) as site:
        site.write(demonstration(NOW))
        yield site


@pytest.fixture
def empty(chromium: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageSite]:
    """A site without records, for one test."""
    with PageSite(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="session")
def house(chromium: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageSite]:
    """A site whose tests have rooms of their own."""
    with PageSite(tmp_path_factory.mktemp("house")) as site:
        yield site


@pytest.fixture
def room(house: PageSite) -> Room:
    """A logger of a site, whose records are those of one test."""
    return Room(house, f"room{next(Room.numbers)}")


@pytest.fixture
def open_tab(chromium: None) -> Iterator[Callable[..., Tab]]:
    """A function that opens a tab at a site. Afterwards no tab may have had an error."""
    tabs: list[Tab] = []

    def open_(site: PageSite | Room, **options: Any) -> Tab:
        tabs.append(running_chromium().tab(site.url, **options))
        return tabs[-1]

    yield open_
    complaints = [complaint for tab in tabs for complaint in tab.complaints]
    for tab in tabs:
        tab.close()
    assert complaints == []
