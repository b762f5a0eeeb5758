"""Chromium for tests of the page: one process for all tests of a worker."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conditions import SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
WIDE = {"width": 1440, "height": 900}
ANSWER = ".record, .problem, .empty:not([hidden]), #query-error:not([hidden])"
"""What is on the page once the server has answered."""
PHONE = {"width": 390, "height": 844}


def find_chromium() -> str:
    """Return the path of Chromium, which `make test` fetches, or skip the tests that need it."""
    installed = [path for name in NAMES if (path := shutil.which(name))]
    for path in [os.environ.get("CHROMIUM", ""), *installed, *map(str, _of_playwright())]:
        if path and Path(path).exists():
            return path
    pytest.skip("no Chromium here (Debian: apt-get install chromium; or set CHROMIUM)")


def _of_playwright() -> list[Path]:
    """Return where `playwright install chromium` has put it, the newest first."""
    cache = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache/ms-playwright")
    return sorted(cache.glob("chromium-*/chrome-linux*/chrome"), reverse=True)


class Chromium:
    """Chromium, with a tab that tests use one after the other.

    A new profile costs more processor time than all that a usual test does in it.
    """

    def __init__(self) -> None:
        sync_api = pytest.importorskip("playwright.sync_api")
        path = find_chromium()
        sync_api.expect.set_options(timeout=SECONDS * 1000)
        self._error = sync_api.Error
        self._playwright = sync_api.sync_playwright().start()
        self.browser: Browser = self._playwright.chromium.launch(
            executable_path=path, args=ARGUMENTS
        )
        self._kept: Page | None = None
        self._is_lent = False

    def tab(self, url: str, *, own: bool = False, **options: Any) -> Tab:
        """Return a tab at a site: the kept one, unless a test has it or needs a profile of its own.

        Args:
            own: Whether the test changes more than storage and cookies: permissions, scripts.
        """
        if own or options or self._is_lent:
            return Tab(self._new_page(**options), url, lambda tab: tab.context.close())
        if self._kept is None:
            self._kept = self._new_page()
        self._is_lent = True
        return Tab(self._kept, url, self._take_back)

    def _new_page(self, **options: Any) -> Page:
        options = {"viewport": WIDE, "color_scheme": "dark", "timezone_id": "UTC", **options}
        context = self.browser.new_context(**options)
        context.set_default_timeout(SECONDS * 1000)
        return context.new_page()

    def _take_back(self, tab: Tab) -> None:
        """Forget what the site has stored; a tab that no longer answers is replaced."""
        self._is_lent = False
        try:
            if tab.page.url.startswith("http"):
                tab.page.evaluate("localStorage.clear(), sessionStorage.clear()")
            tab.page.goto("about:blank")
            tab.context.clear_cookies()
        except self._error:
            tab.context.close()
            self._kept = None

    def close(self) -> None:
        self.browser.close()
        self._playwright.stop()


_running: Chromium | None = None


def running_chromium() -> Chromium:
    """Return Chromium, which runs until `end_chromium`."""
    global _running
    if _running is None:
        _running = Chromium()
    return _running


def end_chromium() -> None:
    """End Chromium if it runs.

    Playwright's event loop must not be there when other tests run theirs.
    """
    global _running
    if _running is not None:
        _running.close()
        _running = None


class Tab:
    """A tab, which collects what the page complains about.

    Args:
        give_back: Is called with the tab at its end.
    """

    def __init__(self, page: Page, url: str, give_back: Callable[[Tab], object]) -> None:
        self.page, self.context, self.url = page, page.context, url
        self.complaints: list[str] = []
        """Errors of scripts, and what the content security policy has blocked."""
        self._give_back = give_back
        self._listeners = {"pageerror": self._failed, "console": self._note}
        for event, listener in self._listeners.items():
            page.on(event, listener)  # type: ignore[call-overload]

    def _failed(self, error: Exception) -> None:
        self.complaints.append(str(error))

    def _note(self, message: Any) -> None:
        # Chromium reports each answer that is an error as one of the console too.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

    def open(self, address: str = "/") -> Page:
        """Open an address of the server, and return the page when it shows its first answer."""
        self.page.goto(self.url + address)
        self.page.locator(ANSWER).first.wait_for()
        return self.page

    def messages(self) -> list[str]:
        """Return the messages of the records in view."""
        return list(self.page.locator(".record > .line .c-message").all_inner_texts())

    def query(self) -> str:
        """Return the text in the box."""
        return str(self.page.locator("#query").input_value())

    def search(self, query: str) -> None:
        """Type a query, and run it."""
        self.page.locator("#query").fill(query)
        self.page.keyboard.press("Enter")

    def close(self) -> None:
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)
        self._give_back(self)
