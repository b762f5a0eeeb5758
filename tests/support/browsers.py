"""Chromium for tests of the page: one process for all, a fresh profile for each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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


def find_chromium(own: str) -> str:
    """Return the path of Chromium, or skip the tests that need it.

    Args:
        own: Where Playwright's is, if it was installed.
    """
    installed = [path for name in NAMES if (path := shutil.which(name))]
    found = [os.environ.get("CHROMIUM", ""), *installed, own]
    for path in found:
        if path and Path(path).exists():
            return path
    pytest.skip("no Chromium here (Debian: apt-get install chromium; or set CHROMIUM)")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    sync_api.expect.set_options(timeout=SECONDS * 1000)
    with sync_api.sync_playwright() as playwright:
        path = find_chromium(playwright.chromium.executable_path)
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


class Tab:
    """A tab with a profile of its own, which collects what the page complains about."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        options = {"viewport": WIDE, "color_scheme": "dark", "timezone_id": "UTC", **options}
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(SECONDS * 1000)
        self.url = url
        self.complaints: list[str] = []
        """Errors of scripts, and what the content security policy has blocked."""
        self.page: Page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._note)

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
        self.context.close()
