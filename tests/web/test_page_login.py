"""The login of the page, where the server has a password."""

from __future__ import annotations

import subprocess

import pytest
from page_sites import PageSite
from servers import FASTLOG

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture
def guarded(chromium, tmp_path):
    made = subprocess.run(
        [FASTLOG, "web", "--make-password"],
        input="secret words\nsecret words\n",
        capture_output=True,
        text=True,
        check=True,
    )
    (tmp_path / "password").write_text(made.stdout)
    (tmp_path / "password").chmod(0o600)
    config = f'[web]\npassword_file = "{tmp_path}/password"\n'
    with PageSite(tmp_path / "site", web_config=config) as site:
        yield site


def test_the_page_asks_for_the_password_and_shows_nothing_before(guarded, open_tab):
    guarded.log("confidential")
    tab = open_tab(guarded)
    page = tab.page
    page.goto(guarded.url)
    expect(page.locator("#login")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator("#login")).to_be_visible()
    page.locator("#password").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#login-error")).to_have_text("the password is wrong")
    expect(page.locator(".record")).to_have_count(0)
    page.locator("#password").fill("secret words")
    page.keyboard.press("Enter")
    expect(page.locator(".record")).to_contain_text("confidential")
    page.reload()
    expect(page.locator(".record")).to_contain_text("confidential")
    page.locator("#logout").click()
    expect(page.locator("#login")).to_be_visible()
    expect(page.locator(".record")).to_have_count(0)
