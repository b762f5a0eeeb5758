"""The URL of an OTLP receiver: what it says, what is wrong with it, and headers that are secret."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from builders import Clock, make_context, numbered
from otlp_receivers import Receiver, Reply
from otlp_sinks import failure_of, open_sink

from fastlog.errors import ConfigError, SinkUnavailableError
from fastlog.sinks import make_sink
from fastlog.sinks.otlp.headers import read_headers
from fastlog.sinks.otlp.settings import BATCH_SIZE, MAX_TRACEBACK, TIMEOUT, Settings, parse_url


def settings(url: str) -> Settings:
    return parse_url(urlsplit(url))


def test_defaults() -> None:
    assert settings("otlp+http://collector") == Settings(
        is_secure=False,
        host="collector",
        port=4318,
        path="/v1/logs",
        label="otlp+http://collector",
        batch_size=BATCH_SIZE,
        timeout=TIMEOUT,
        gzip=True,
        max_traceback=MAX_TRACEBACK,
        headers_file=None,
        headers_env=None,
        ca_file=None,
        cert_file=None,
        key_file=None,
        attributes={},
    )


def test_every_option() -> None:
    found = settings(
        "otlp+https://[::1]:443/otlp/v1/logs?batch_size=512KiB&timeout=3s&compression=none"
        "&max_traceback=8KiB&headers_file=/h&headers_env=H&ca_file=/a&cert_file=/c&key_file=/k"
        "&service.name=my%20shop&deployment.environment.name=prod&k8s.cluster.name=eu"
    )
    attributes = {
        "service.name": "my shop",
        "deployment.environment.name": "prod",
        "k8s.cluster.name": "eu",
    }
    assert found == Settings(
        *(True, "::1", 443, "/otlp/v1/logs", "otlp+https://[::1]:443/otlp/v1/logs"),
        *(512 << 10, 3.0, False, 8 << 10, Path("/h"), "H", Path("/a"), Path("/c"), Path("/k")),
        attributes,
    )


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("otlp+http:", "expected otlp\\+http://host:4318, got 'otlp\\+http:"),
        ("otlp+http:///path", "expected otlp\\+http://host:4318"),
        ("otlp+http://host:99999", "expected a port from 0 to 65535"),
        ("otlp+http://user:secret@host", "otlp\\+http://host: a URL is no place for a password"),
        ("otlp+http://host/a b", "expected a path of ASCII characters"),
        ("otlp+http://host/\u00e4", "expected a path of ASCII characters"),
        ("otlp+http://host/a#b", "expected a path of ASCII characters"),
        ("otlp+http://host?batchsize=1", "no option 'batchsize'; did you mean 'batch_size'"),
        ("otlp+http://host?timeout=soon", "timeout is a time such as 1d, not 'soon'"),
        ("otlp+http://host?compression=zstd", "compression is gzip or none, not 'zstd'"),
        ("otlp+http://host?a.b=1&a.b=2", "option 'a.b' is given twice"),
        ("otlp+http://host?headers_env=", "headers_env is a text, not ''"),
        ("otlp+http://host?ca_file=/a", "ca_file is an option of otlp\\+https"),
        ("otlp+https://host?key_file=/a", "key_file is given without cert_file"),
        ("otlp+htpp://host", "sink otlp: no .* 'otlp\\+htpp'; did you mean 'otlp\\+http'"),
    ],
)
def test_a_wrong_url(tmp_path: Path, url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        make_sink(make_context(tmp_path, url, name="otlp"))
    assert "secret" not in str(caught.value)


def test_without_the_extra_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [*sys.modules]:
        if name.startswith("fastlog.sinks.otlp"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.proto.collector.logs.v1", None)
    with pytest.raises(ConfigError, match=r"run: pip install 'fastlog-server\[otlp\]'"):
        make_sink(make_context(tmp_path, "otlp+http://host", name="otlp"))


def test_headers_of_a_file_and_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("# a comment\n\nAuthorization: Bearer a:b=c\nX-Scope-OrgID:  1 \n")
    found = settings(f"otlp+http://host?headers_file={file}&headers_env=HEADERS")
    assert read_headers(found, {"HEADERS": "x-key=a%2Cb%20c, y=1=2,"}) == {
        "Authorization": "Bearer a:b=c",
        "X-Scope-OrgID": "1",
        "x-key": "a,b c",
        "y": "1=2",
    }


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: b\nsecret", "headers, line 2: expected a header's name and value"),
        ("a b: secret", "headers, line 1: expected a header's name and value"),
        (": secret", "headers, line 1"),
        ("a: secret\x01", "headers, line 1"),
        ("Content-Type: secret", "headers, line 1: Content-Type is set by fastlog"),
        (f"a: secret{'x' * 65_536}", "headers: it has more than 65536 bytes"),
    ],
)
def test_wrong_headers_are_named_without_their_values(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "headers"
    file.write_text(text)
    with pytest.raises(ConfigError, match=what) as caught:
        open_sink(tmp_path, f"otlp+http://host?headers_file={file}")
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_waited_for_and_a_missing_variable_is_not(tmp_path: Path) -> None:
    with pytest.raises(SinkUnavailableError, match="headers_file /no/such: No such file"):
        open_sink(tmp_path, "otlp+http://host?headers_file=/no/such")
    with pytest.raises(ConfigError, match="there is no variable FASTLOG_NO_SUCH"):
        open_sink(tmp_path, "otlp+http://host?headers_env=FASTLOG_NO_SUCH")


def test_headers_are_read_again_when_their_file_has_changed(tmp_path: Path) -> None:
    clock, blocks, file = Clock(), numbered(3), tmp_path / "headers"
    file.write_text("Authorization: old")
    with Receiver() as receiver:
        sink = open_sink(tmp_path, receiver.url(f"headers_file={file}"), steady=clock)
        receiver.replies = [Reply(), Reply(401)]
        sink.apply(blocks[:1])
        assert "headers_file" in failure_of(sink, blocks[1:])
        file.write_text("Authorization: new one")
        clock.now += 60
        sink.apply(blocks[1:])
        seen = [headers["authorization"] for headers in receiver.headers]
        assert seen == ["old", "old", "new one"]
        file.write_text("no header")
        assert "expected a header's name" in failure_of(sink, numbered(4)[3:])
        sink.close()
