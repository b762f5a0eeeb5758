"""What a receiver's answer means: stored, never to be stored, or not stored now."""

from __future__ import annotations

from http.client import HTTPMessage

import pytest
from builders import MONDAY
from otlp_receivers import PROTOBUF, partial_success, status_message

from fastlog.sinks.otlp.answers import MAX_WAIT, Accepted, Rejected, Waits, meaning
from fastlog.sinks.otlp.exchange import Answer

DATE = "Mon, 23 Nov 2026 00:00:{:02} GMT"
"""Seconds after `MONDAY`."""


def answered(
    status: int, body: bytes = b"", content_type: str = PROTOBUF, **headers: str
) -> object:
    message = HTTPMessage()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return meaning(Answer(status, body, content_type, message), MONDAY)


@pytest.mark.parametrize(
    ("status", "body", "content_type", "expected"),
    [
        (200, b"", PROTOBUF, Accepted()),
        (200, b"", "text/html", Accepted()),  # empty, and so a response whose fields are not set
        (204, b"", "", Accepted()),
        (202, b"{}", "application/json", Accepted()),
        (200, partial_success(0, "deprecated"), PROTOBUF, Accepted(0, "deprecated")),
        (200, partial_success(3, "too old"), PROTOBUF, Accepted(3, "too old")),
        (200, partial_success(3, ""), "", Accepted(3)),
        (200, partial_success(-3, ""), "", Accepted()),
        (
            200, b'{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"no"},"more":1}',
            "application/json", Accepted(2, "no"),
        ),
        (
            200, b"<html>Log in!</html>", "text/html",
            Waits("HTTP 200, but text/html is no answer of an OTLP receiver; check the URL"),
        ),
        (
            200, b"\xff\xfegarbage", PROTOBUF,
            Waits("HTTP 200, but the answer is no response of OTLP; check the URL"),
        ),
        (
            200, b"[" * 60_000, "application/json",
            Waits("HTTP 200, but the answer is no response of OTLP; check the URL"),
        ),
        (
            200, b'{"a":' + b"9" * 9000 + b"}", "application/json",
            Waits("HTTP 200, but the answer is no response of OTLP; check the URL"),
        ),
        (
            200, b"{", "application/json",
            Waits("HTTP 200, but the answer is no response of OTLP; check the URL"),
        ),
        (
            200, b"\xff", "application/json",
            Waits("HTTP 200, but the answer is no response of OTLP; check the URL"),
        ),
    ],
)  # fmt: skip
def test_success(status: int, body: bytes, content_type: str, expected: object) -> None:
    assert answered(status, body, content_type) == expected


@pytest.mark.parametrize(
    ("status", "body", "content_type", "expected"),
    [
        (400, b"", PROTOBUF, Rejected("HTTP 400", False)),
        (400, status_message("too old"), PROTOBUF, Rejected("HTTP 400: too old", False)),
        (400, b"\xff", PROTOBUF, Rejected("HTTP 400", False)),
        (400, b"line 1\nline 2", "text/plain", Rejected("HTTP 400: line 1", False)),
        (
            400, b"\x1b[2J\xff" + b"x" * 999, "text/plain",
            Rejected("HTTP 400: ?[2J\ufffd" + "x" * 295, False),
        ),
        (413, b"<html>nginx", "text/html", Rejected("HTTP 413: a page of HTML", True)),
        (429, b"", PROTOBUF, Waits("HTTP 429")),
        (500, b"oops", "text/plain", Waits("HTTP 500: oops")),
        (
            401, b"no token", "text/plain",
            Waits(
                "HTTP 401: no token; check the credentials in headers_file or headers_env"
            ),
        ),
        (404, b"", "", Waits("HTTP 404; check the path of the URL")),
        (415, b"", "", Waits("HTTP 415; it takes no protobuf")),
    ],
)  # fmt: skip
def test_errors(status: int, body: bytes, content_type: str, expected: object) -> None:
    assert answered(status, body, content_type) == expected


def test_a_redirect_is_not_followed() -> None:
    assert answered(307, location="https://elsewhere/logs?token=secret") == Waits(
        "HTTP 307: it redirects to https://elsewhere/logs, which is not followed; correct the URL"
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7),
        ({"retry_after": " 0 "}, 0),
        ({"retry_after": "99999999999999999999"}, MAX_WAIT),
        ({"retry_after": DATE.format(30)}, 30),
        ({"retry_after": DATE.format(30), "date": DATE.format(20)}, 10),
        ({"retry_after": "Mon, 23 Nov 2020 00:00:00 GMT"}, 0),
        ({"retry_after": "Mon, 23 Nov 2099 00:00:00 GMT"}, MAX_WAIT),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "1.5"}, None),
        ({"retry_after": "\u0661"}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retry_after(status: int, headers: dict[str, str], seconds: float | None) -> None:
    assert answered(status, **headers) == Waits(f"HTTP {status}", seconds)
