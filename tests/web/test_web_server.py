"""The web server as a child of fastlog-server: it only reads, and may die, hang or be flooded."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from conditions import wait_for
from senders import stock_frame
from servers import FASTLOG, SERVER, Server, kill
from web_sites import ANY_PORT, Site, reserved_url, site_of

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")


def answers(site: Site) -> bool:
    try:
        return site.ask("/session").status == 200
    except OSError:
        return False


def send(server: Server, *messages: str) -> None:
    with server.connect(b"".join(map(stock_frame, messages))):
        pass


def test_a_server_serves_what_it_has_just_received(tmp_path: Path):
    with Server(tmp_path, web=ANY_PORT) as server:
        site = site_of(server)
        send(server, "one", "two")
        wait_for(lambda: site.get("/counts")["total"] == 2, "the records are stored")
        messages = {record["message"] for record in site.get("/records")["records"]}
        assert messages == {"one", "two"}
        wait_for(lambda: site.get("/status")["receiver"]["frames"] == 2, "the status is written")
        status = site.get("/status")
        assert status["running"] is True
        assert [sink["name"] for sink in status["sinks"]] == ["sqlite"]
        assert server.stop() == 0


def test_a_web_server_that_dies_is_started_again_and_receiving_goes_on(tmp_path: Path):
    with Server(tmp_path, web=ANY_PORT).fixed() as server:
        site = site_of(server)
        before = server.children()
        kill(before["web"])
        send(server, "one")
        server.wait_stored(1)
        wait_for(lambda: answers(site), "the web server is there again")
        after = server.children()
        assert after["web"] != before["web"]
        assert {**after, "web": 0} == {**before, "web": 0}
        assert "web was killed by SIGKILL; starting it again" in server.messages()


@pytest.mark.long
def test_a_web_server_that_hangs_or_is_flooded_disturbs_nobody(tmp_path: Path):
    with Server(tmp_path, web=ANY_PORT) as server:
        site = site_of(server)
        clients = [threading.Thread(target=flood, args=(site,)) for _ in range(8)]
        for client in clients:
            client.start()
        send(server, *(f"message {at}" for at in range(100)))
        server.wait_stored(100)
        for client in clients:
            client.join(60)
        os.kill(server.children()["web"], signal.SIGSTOP)
        send(server, "one more")
        server.wait_stored(101)
        assert server.stop() == 0


def flood(site: Site) -> None:
    for _ in range(50):
        site.ask("/records", q="message:/(a|b)*c/")


def test_a_reload_replaces_the_web_server(tmp_path: Path):
    with Server(tmp_path, web=ANY_PORT).fixed() as server:
        site = site_of(server)
        before = server.children()["web"]
        server.reload()
        wait_for(lambda: answers(site), "the new web server answers")
        assert server.children()["web"] != before
        kill(server.children()["web"])  # the new supervisor watches it, too
        wait_for(lambda: answers(site), "it is there again")


def test_a_reload_can_add_and_remove_the_web_server(tmp_path: Path):
    with reserved_url() as url, Server(tmp_path, config=" ") as server:
        site = Site(url)
        assert "page at" not in server.ready_line
        config = tmp_path / "fastlog.toml"
        config.write_text(f'[web]\nurl = "{site.url}"\n')
        server.reload()
        wait_for(lambda: answers(site), "it answers", 60)
        config.write_text("")
        server.reload()
        wait_for(lambda: "web" not in server.children(), "it has ended", 60)
        assert not answers(site)


def run(*command: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_port_in_use_ends_the_start_with_one_line(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = run(
            SERVER, "--data-dir", tmp_path / "data", "--listen", "tcp://127.0.0.1:0", "--web", url
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"fastlog-server: cannot listen on {url}: Address already in use"
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://127.0.0.1:9080", "needs web.certificate (--certificate), the path of a PEM file"),
        ("127.0.0.1:9080", "expected http://host:port"),
        ("http://127.0.0.1", "expected a port"),
        ("http://127.0.0.1:99999", "expected a port from 0 to 65535"),
        ("http://127.0.0.1:1/page", "expected http://host:port"),
    ],
)
def test_a_wrong_address_is_one_line(tmp_path: Path, url: str, expected: str):
    for command in ([SERVER, "--web"], [FASTLOG, "web", "--url"]):
        done = run(*command, url, "--data-dir", tmp_path)
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert line.startswith(("fastlog-server: --web: web.url:", "fastlog web: --url:"))
        assert expected in line


def test_a_server_without_a_store_has_no_page(tmp_path: Path):
    done = run(
        *(SERVER, "--data-dir", tmp_path / "data", "--listen", "tcp://127.0.0.1:0"),
        *("--web", ANY_PORT, "--sink", f"ndjson://{tmp_path}/records.ndjson"),
    )
    assert done.returncode == 2
    assert "there is no sqlite: or postgresql: sink" in done.stderr.splitlines()[-1]


def test_a_server_that_stores_elsewhere_than_before_serves_its_own_store(tmp_path: Path):
    for name in ("old", "new"):
        with Server(tmp_path, web=ANY_PORT, sinks=[f"sqlite://{tmp_path}/{name}"]) as server:
            site = site_of(server)
            send(server, name)
            wait_for(lambda: name in messages(site), "the record is stored")  # noqa: B023
            assert server.stop() == 0


def messages(site: Site) -> set[str]:
    return {record["message"] for record in site.get("/records")["records"]}


def test_a_directory_without_a_store_is_one_line(tmp_path: Path):
    done = run(FASTLOG, "web", "--data-dir", tmp_path / "none", "--url", ANY_PORT)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
