"""The banner of the page, while a real server has real faults: what is wrong, and what to do."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from conditions import wait_for
from faults import SMALL_JOURNAL, small_disk, stopped
from page_sites import PageSite
from plugins import install
from senders import stock_frame

expect = pytest.importorskip("playwright.sync_api").expect

FAILING = """
from pathlib import Path
from fastlog.errors import SinkUnavailableError
from fastlog.sinks.ndjson import NdjsonSink

FAULT = Path({fault!r})


class Sink(NdjsonSink):
    def apply(self, blocks):
        if FAULT.exists():
            raise SinkUnavailableError("<b>the department is closed</b>")
        return super().apply(blocks)
"""


def look(page) -> str:
    """Return the text of the banner, "" if it is not shown, after a new look at the server."""
    with page.expect_response("**/api/v1/status"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    banner = page.locator("#banner")
    return banner.inner_text() if banner.is_visible() else ""


def wait_shown(page, *texts: str) -> str:
    """Wait until the banner has all texts."""
    return wait_for(
        lambda: all(text in (said := look(page)) for text in texts) and said, str(texts)
    )


def wait_over(page) -> None:
    """Wait until nothing is wrong."""
    wait_for(lambda: not look(page), "the banner is gone")
    expect(page.locator("#status-pill")).to_have_text("✓ All stored", use_inner_text=True)


def age_ledger(site: PageSite) -> None:
    """Make all that the ledger has an hour older; the server must not run."""
    with closing(sqlite3.connect(site.server.data / "ledger.db")) as ledger, ledger:
        ledger.execute("UPDATE losses SET first = first - 3600, last = last - 3600")
        ledger.execute("UPDATE rejected SET received = received - 3600")


def test_a_sink_that_fails_and_the_losses_of_a_full_journal(open_tab, tmp_path):
    fault = tmp_path / "fault"
    fault.touch()
    install(tmp_path / "plugins", {"failing": FAILING.format(fault=str(fault))})
    config = (
        f'{SMALL_JOURNAL}[[sink]]\nurl = "sqlite:"\n'
        f'[[sink]]\nurl = "failing://{tmp_path}/records.ndjson"\nwhen_full = "hold"\n'
    )
    env = {"PYTHONPATH": str(tmp_path / "plugins")}
    with PageSite(tmp_path / "site", config=config, env=env) as site:
        page = open_tab(site).open()
        client = site.server.connect()
        client.sendall(stock_frame("first"))
        wait_shown(
            page,
            "Sink failing fails: <b>the department is closed</b>.",
            "wait in the journal",
        )
        expect(page.locator("#banner b")).to_have_count(0)
        expect(page.locator("#alarm")).to_contain_text("Sink failing fails")
        frames = stock_frame("x" * 10_000) * 10
        wait_for(
            lambda: client.sendall(frames) or site.server.status()["recent_dropped"] > 0, "dropped"
        )
        client.close()
        wait_shown(page, " lost in the last 5 min", "Mend it, or raise journal.size", " % full.")
        expect(page.locator("#status-pill")).to_contain_text("problems")
        fault.unlink()
        said = wait_for(
            lambda: "department" not in (text := look(page)) and "% full" not in text and text,
            "the sink goes on, and the journal is freed",
        )
        assert "records lost in the last 5 min: journal full." in said
        site.server.stop()
        age_ledger(site)
        site.server.start()
        wait_over(page)
        page.locator("#status-pill").click()
        page.get_by_text("Earlier losses and rejections").click()
        expect(page.locator("#status-details")).to_contain_text("journal full")


def test_processes_that_do_not_go_on(open_tab, tmp_path):
    with PageSite(tmp_path) as site:
        page = open_tab(site).open()
        wait_over(page)
        with (
            stopped(site.server.children()["worker sqlite"]),
            site.server.connect(stock_frame("one") + stock_frame("two")),
        ):
            wait_for(lambda: site.server.status()["index"] == 2)
            with stopped(site.server.children()["receiver"]):
                wait_shown(
                    page,
                    "Sink sqlite is ",
                    " s behind, 2 records. Its records wait in the journal",
                    "The receiver has given no sign of life for ",
                    "run fastlog check",
                )
        wait_over(page)


def test_rejected_frames(empty, open_tab):
    page = open_tab(empty).open()
    wait_over(page)
    empty.server.connect(b"\0\0\0\4nope").close()
    empty.server.connect(b"GET / HTTP/1.1\r\n\r\n").close()
    empty.server.connect(b"\0\xff\xff\xff").close()
    said = wait_shown(
        page, "rejection in the last 5 min: http. Another program sends", "frame over"
    )
    assert "A record is longer than limits.max_frame. Raise it, or log less." in said
    expect(page.locator("#status-pill")).to_contain_text("3 problems")


def test_a_full_disk_of_the_journal(open_tab, tmp_path):
    config = (
        f'sink = ["sqlite://{tmp_path}/logs"]\n[journal]\nmemory = "1 MiB"\n[limits]\nlag = 0\n'
    )
    web_config = f'sink = ["sqlite://{tmp_path}/logs"]\n'
    (tmp_path / "site").mkdir()
    with (
        small_disk(tmp_path / "site" / "data", "8m") as disk,
        PageSite(tmp_path / "site", config=config, web_config=web_config) as site,
    ):
        page = open_tab(site).open()
        wait_over(page)
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        with site.server.connect() as client:
            frames = stock_frame("x" * 10_000) * 10
            wait_for(lambda: client.sendall(frames) or site.server.status().get("failure"), "full")
        wait_shown(
            page,
            "The journal takes no records: cannot write: disk full.",
            "Make room on the disk of the data directory.",
        )
        ballast.unlink()
        wait_for(lambda: "takes no records" not in look(page), "the journal goes on")


def test_a_full_disk_of_a_sink(open_tab, tmp_path):
    with small_disk(tmp_path / "disk", "1m") as disk:
        url = f"sqlite://{disk}/logs"
        with PageSite(tmp_path, sinks=[url], web_config=f'sink = ["{url}"]\n') as site:
            page = open_tab(site).open()
            wait_over(page)
            ballast = disk / "ballast"
            with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(4096))
            with site.server.connect() as client:
                client.sendall(stock_frame("x" * 1000) * 100)
            wait_shown(page, "Sink sqlite fails: ", "full", "The server goes on trying.")
            ballast.unlink()
            wait_over(page)


def test_a_server_that_does_not_run(empty, open_tab):
    empty.log("one")
    page = open_tab(empty).open()
    wait_over(page)
    empty.server.kill()
    said = wait_shown(page, "The server has not run since ", "Start fastlog-server.")
    assert "What is sent to it now is not stored." in said
    expect(page.locator("#status-pill")).to_have_text("▲ Server stopped", use_inner_text=True)
    expect(page.locator(".record")).to_have_count(1)
    page.get_by_role("button", name="Hide these problems").click()
    assert not look(page), "it stays hidden as long as it lasts"
    empty.server.start()
    wait_over(page)
    empty.server.kill()
    wait_shown(page, "The server has not run since ")


def test_a_web_server_that_does_not_answer(empty, open_tab):
    page = open_tab(empty).open()
    wait_over(page)
    with stopped(empty.web_pid):
        expect(page.locator("#banner")).to_contain_text("The web server does not answer.")
        expect(page.locator("#banner")).to_contain_text("What is shown may be old.")
        expect(page.locator("#status-pill")).to_contain_text("No answer")
    wait_over(page)
    empty.stop_web()
    expect(page.locator("#banner")).to_contain_text("The web server does not answer.")
    empty.start_web()
    expect(page.locator("#banner")).to_be_hidden()


def test_many_problems_leave_room_for_the_records(empty, open_tab):
    empty.log("here")
    page = open_tab(empty, viewport={"width": 390, "height": 844}).open()
    for begin in (b"GET / HTTP/1.1\r\n\r\n", b"\0\xff\xff\xff", b"\x16\x03\x01\2\0", b"<34>1 - -"):
        empty.server.connect(begin).close()
    wait_shown(page, "and 1 more")
    expect(page.locator("#banner li")).to_have_count(3)
    expect(page.locator(".record", has_text="here")).to_be_visible()
    page.get_by_role("button", name="and 1 more").click()
    expect(page.locator("#status-details .problems-now li")).to_have_count(4)
