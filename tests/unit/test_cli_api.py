"""Server-sent events as `--url` reads them, and the URLs and tokens that it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Run

from fastlog.cli.api import Event, read_events

pytestmark = pytest.mark.usefixtures("nothing_configured")


def events_of(text: bytes) -> list[Event]:
    return list(read_events(iter(text.splitlines(keepends=True))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"event: a\ndata: 1\nid: x\n\n", [Event("a", b"1", "x")]),
        (b"event:a\r\ndata:1\r\n\r\n", [Event("a", b"1", None)]),
        (b"data: 1\ndata: 2\n\n", [Event("", b"1\n2", None)]),
        (b"retry: 2000\nid: x\n\n", [Event("", b"", "x")]),
        (b": comment\n\nevent: a\n\n", []),
        (b"id: x\nevent: a\ndata: 1\n\ndata: 2\n\n", [Event("a", b"1", "x"), Event("", b"2", "x")]),
        (b"event: a\ndata: an incomplete one\n", []),
        (b"\xff\xfe: \x00\nnonsense\n\n", []),
    ],
    ids=str,
)
def test_events_are_read_as_browsers_read_them(text: bytes, expected: list[Event]):
    assert events_of(text) == expected


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("127.0.0.1:9080", "expected one such as http://127.0.0.1:9080"),
        ("ftp://127.0.0.1", "expected one such as http://127.0.0.1:9080"),
        ("http://", "expected one such as http://127.0.0.1:9080"),
        ("http://a b", "expected one such as http://127.0.0.1:9080"),
        ("http://127.0.0.1/?q=x", "expected one such as http://127.0.0.1:9080"),
        ("http://h\x1b", r"got 'http://h\x1b'"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://h:99999", "Port out of range"),
        ("http://a..b", "is fastlog web running there?"),
        ("http://me:secret@127.0.0.1", "no place for a password"),
    ],
)
def test_a_wrong_url_is_one_line(command: Run, url: str, error: str):
    for name in ("tail", "top"):
        result = command(name, "--url", url)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
        assert error in result.err
        assert "\x1b" not in result.err


@pytest.mark.parametrize("content", ["", "two words", "a\nb", "caf\u00e9"])
def test_a_file_without_a_token_is_one_line(command: Run, tmp_path: Path, content: str):
    (tmp_path / "token").write_text(content)
    result = command("tail", "--url", "http://127.0.0.1:1", "--token-file", tmp_path / "token")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "--token-file: " in result.err
    assert not content or content not in result.err
