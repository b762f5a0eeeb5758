"""Access to the web server: passwords, tokens, cookies, and requests of other sites."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from servers import FASTLOG
from web_sites import Answer, Site, make_store, numbered, serving

from fastlog.web.passwords import hash_password, is_password

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")

PASSWORD = "correct horse 🐎"
TOKEN = "0123456789abcdef0123"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data_dir = make_store(tmp_path_factory.mktemp("store"), numbered(3))
    with serving(data_dir) as site:
        yield site


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Site]:
    data_dir = make_store(tmp_path, numbered(3))
    password = data_dir / "password"
    password.write_text(hash_password(PASSWORD) + "\n")
    password.chmod(0o600)
    config = f'[web]\npassword_file = "password"\ntokens = ["ci:{TOKEN}"]\n'
    with serving(data_dir, config=config) as site:
        yield site


def log_in(site: Site, password: str) -> Answer:
    return site.post("/login", json.dumps({"password": password}).encode())


PATHS = (
    *("/records", "/records/ab:0:0", "/records/ab:0:0/around", "/counts", "/histogram"),
    *("/fields", "/problems", "/status", "/tail", "/export", "/export/size"),
)


@pytest.mark.parametrize("path", PATHS)
def test_without_a_login_nothing_is_told(guarded: Site, path: str):
    answer = guarded.ask(path)
    assert answer.status == 401
    assert answer.json == {"error": {"message": "log in first, or send a token", "column": None}}


def test_the_password_gives_a_cookie_that_no_script_and_no_other_site_can_use(guarded: Site):
    before = guarded.get("/session")
    assert before == {"login_needed": True, "can_log_in": True, "logged_in": False}
    answer = log_in(guarded, PASSWORD)
    assert answer.status == 200
    cookie, *flags = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(flags)
    own = {"Cookie": cookie}
    assert guarded.ask("/records", headers=own).status == 200
    assert guarded.ask("/session", headers=own).json["logged_in"] is True
    assert guarded.post("/logout", headers=own).status == 200
    assert guarded.ask("/records", headers=own).status == 401


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer {TOKEN}"])
def test_a_token_is_enough(guarded: Site, header: str):
    assert guarded.ask("/records", headers={"Authorization": header}).status == 200


@pytest.mark.parametrize("header", ["Bearer", "Bearer ci", f"Basic {TOKEN}", f"Bearer {TOKEN}0"])
def test_another_token_is_not(guarded: Site, header: str):
    assert guarded.ask("/records", headers={"Authorization": header}).status == 401


def test_wrong_passwords_are_limited(guarded: Site):
    statuses = [log_in(guarded, f"guess {at}").status for at in range(6)]
    assert statuses == [403] * 5 + [429]
    answer = log_in(guarded, PASSWORD)
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("body", [b"", b"[]", b'{"password": 7}', b"\xff", b'{"password"'])
def test_a_malformed_login_is_an_error(guarded: Site, body: bytes):
    assert guarded.post("/login", body).status == 400


def test_a_long_body_is_not_read(guarded: Site):
    assert guarded.post("/login", b" " * 100_000).status == 413


@pytest.mark.long
def test_a_body_that_does_not_arrive_is_not_waited_for(guarded: Site):
    host, port = urlsplit(guarded.url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        head = f"POST /api/v1/login HTTP/1.1\r\nHost: {host}\r\nX-Fastlog: 1\r\n"
        client.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_a_post_without_the_header_of_the_page_is_rejected(guarded: Site, path: str):
    answer = guarded.post(path, b"{}", {"X-Fastlog": ""})
    assert answer.status == 403
    assert "X-Fastlog" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9080", "", "localhost.evil.example"]
)
def test_a_host_that_is_no_name_of_the_server_is_rejected(site: Site, host: str):
    assert site.ask("/records", headers={"Host": host}).status == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80", "10.0.0.1"])
def test_addresses_and_names_of_the_server_are_hosts(site: Site, host: str):
    assert site.ask("/records", headers={"Host": host}).status == 200


def test_a_configured_name_is_a_host(tmp_path: Path):
    with serving(make_store(tmp_path, []), config='[web]\nhosts = ["Logs.example"]\n') as site:
        assert site.ask("/records", headers={"Host": "logs.example:80"}).status == 200


def test_a_page_of_another_site_gets_nothing(site: Site):
    assert site.ask("/export", headers={"Sec-Fetch-Site": "cross-site"}).status == 403
    answer = site.ask("/records", headers={"Origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["/", "/static/none.js", "/api/v1/records", "/nowhere", "/api/v1/x"]
)
def test_every_answer_has_the_policy(site: Site, path: str):
    headers = site.request(path).headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    )
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/static/../application.py", "/static/%2e%2e/site.py", "/static//etc/passwd"]
)
def test_no_other_files_are_served(site: Site, path: str):
    assert site.request(f"/static{path}").status == 404


def test_a_public_address_without_a_password_is_a_warning(tmp_path: Path):
    data_dir = make_store(tmp_path, [])
    with serving(data_dir, url="http://0.0.0.0:0"):
        pass
    assert "everybody who can reach" in (data_dir / "web.log").read_text()
    with serving(data_dir):
        pass
    assert "everybody" not in (data_dir / "web.log").read_text()


def test_make_password_prints_what_the_file_needs():
    done = subprocess.run(
        [FASTLOG, "web", "--make-password"], input=f"{PASSWORD}\n{PASSWORD}\n",
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert is_password(PASSWORD, done.stdout.strip())
    assert not is_password("wrong", done.stdout.strip())


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        ("scrypt:1:2", 0o600, "--make-password"),
        ("", 0o600, "--make-password"),
        ("secret", 0o600, "--make-password"),
        (None, 0, "cannot be read"),
        ("secret", 0o644, "chmod 600"),
    ],
)
def test_a_wrong_password_file_is_one_line(
    tmp_path: Path, text: str | None, mode: int, expected: str
):
    data_dir = make_store(tmp_path, [])
    if text is not None:
        (data_dir / "password").write_text(text)
        (data_dir / "password").chmod(mode)
    (data_dir / "web.toml").write_text('[web]\npassword_file = "password"\n')
    done = subprocess.run(
        [FASTLOG, "web", "--data-dir", data_dir, "--config", data_dir / "web.toml"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert expected in line


@pytest.mark.parametrize("token", ["ci", "ci:short", "c i:0123456789abcdef", "ci:0123456789abcdeé"])
def test_a_wrong_token_is_one_line_that_does_not_show_it(tmp_path: Path, token: str):
    config = tmp_path / "web.toml"
    config.write_text(f'[web]\ntokens = ["{token}"]\n')
    done = subprocess.run(
        [FASTLOG, "web", "--data-dir", tmp_path, "--config", config],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f"{config}:2: web.tokens: expected NAME:TOKEN" in line
    assert token not in line
