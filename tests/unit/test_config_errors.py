"""Errors of the configuration: one line each, with the place in its source."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_texts import load_text

from fastlog.config import load
from fastlog.config.urls import public_url
from fastlog.errors import ConfigError

pytestmark = pytest.mark.usefixtures("working_directory")


def mistake(text: str, environ: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_text(text, environ, **flags)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('auth = {keys = "web:x"}', "auth.keys: expected a list of texts, got 'web:x'"),
        ("auth = {keys = [1]}", "auth.keys: expected a list of texts, got a list"),
        ('auth = {keys = ["hush"]}', "auth.keys: expected ID:SECRET, the id being letters"),
        ('auth = {keys = ["a:x", "b:y", "a:x"]}', "auth.keys: 'a' has the same secret twice"),
        ('auth = {keys = ["a:x", "a:y", "b:y"]}', "auth.keys: 'a' and 'b' have the same secret"),
        ('auth = {keys = ["a:x", "a:y", "a:z"]}', "auth.keys: 'a' has more than 2 secrets"),
        (
            '[[listen]]\nurl = "unix:///s"\nauth = "required"',
            "auth.keys: a listener has auth = 'required', but no key",
        ),
        ('[[listen]]\nurl = "unix:///s"\nauth = "yes"', "expected 'optional' or 'required'"),
        ('[[listen]]\nurl = "unix:///s"\nstock = "no"', "expected true or false, got 'no'"),
    ],
)
def test_an_error_of_authentication_does_not_contain_the_secret(text: str, expected: str):
    error = mistake(text)
    assert expected in error
    assert "hush" not in error


PASSWORDS = ("hu/sh", "hu?sh", "hu#sh", "1#hush", "1?hush")


@pytest.mark.parametrize("scheme", ["postgresql", "nats", "otlp+http"])
@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_that_ends_the_host_is_named_and_not_shown(scheme: str, password: str):
    url = f"{scheme}://user:{password}@host:1/name?option=a@b"
    assert public_url(url) == f"{scheme}://…"
    assert mistake(f"sink = ['{url}']") == (
        "fastlog.toml:1: sink: write /, ? and # in a password as %2F, %3F and %23"
    )


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:p@h:1/db?a=b@c", "nats://h:1/S?creds=/x@y", "otlp+http://[::1]/?a.b=c@d"],
)
def test_an_at_sign_in_an_option_is_no_password(url: str):
    load_text(f"sink = ['{url}']")
    assert "@" not in public_url(url)
    assert "…" not in public_url(url)


def test_an_error_in_a_value_that_a_flag_overrides_is_reported():
    assert mistake("data_dir = 3", None, data_dir="right").startswith("fastlog.toml:1: data_dir:")


def test_a_file_that_was_named_and_is_missing_is_an_error():
    with pytest.raises(ConfigError, match=r"^no\.toml: cannot be read: No such file"):
        load(Path("no.toml"), {}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\n[journal]\nsise = 1",
            "fastlog.toml:3: [journal] has no key 'sise'; did you mean 'size'?",
        ),
        ("journel = 1", "fastlog.toml:1: there is no key 'journel'; did you mean 'journal'?"),
        (
            "# a comment\n\n[limits]\n\nconnections = 'many'",
            "fastlog.toml:5: limits.connections: expected an integer, got 'many'",
        ),
        (
            "[limits]\nconnections = true",
            "fastlog.toml:2: limits.connections: expected an integer, got true",
        ),
        (
            "[limits]\nmax_frame = '16 MiB'",
            "fastlog.toml:2: limits.max_frame: expected at most 16777215, got '16 MiB'",
        ),
        (
            "limits.max_frame = 0",
            "fastlog.toml:1: limits.max_frame: expected at least 1, got 0",
        ),
        (
            "[journal]\nsize = 'huge'",
            "fastlog.toml:2: journal.size: "
            "expected a size such as 1048576 or \"64 MiB\", got 'huge'",
        ),
        (
            "[journal]\nsize = '100 MiB'",
            "fastlog.toml:2: journal.size: expected at least two segments (128 MiB), got 100 MiB",
        ),
        (
            "[journal]\nsegment = '1 GiB'",
            "fastlog.toml:2: journal.size: expected at least two segments (2 GiB), got 1 GiB",
        ),
        (
            "[[sink]]\nurl = 'console:'\nwhen_full = 'skip'",
            "fastlog.toml:1: sink.when_full: at least one sink must have 'hold', or records may be "
            "lost",
        ),
        (
            "[journal]\nwhen_full = 'stop'",
            "fastlog.toml:2: journal.when_full: expected 'drop' or 'pause', got 'stop'",
        ),
        (
            f"[retention]\nsize = {'9' * 23}",
            "fastlog.toml:2: retention.size: expected at most 9223372036854775807, got " + "9" * 23,
        ),
        (
            "[retention]\nsize = '9999999 TiB'",
            "fastlog.toml:2: retention.size: "
            "expected a size such as 1048576 or \"64 MiB\", got '9999999 TiB'",
        ),
        (
            f"[retention]\nsize = '{'9' * 400}.5'",
            'fastlog.toml:2: retention.size: expected a size such as 1048576 or "64 MiB", got \''
            + "9" * 78
            + "…",
        ),
        (
            f"[retention]\nage = {'9' * 400}",
            'fastlog.toml:2: retention.age: expected a time such as 3600 or "30 days", got '
            + "9" * 79
            + "…",
        ),
        (
            "[limits]\nmax_frame = 1\npartial_memory = 1",
            "fastlog.toml:3: limits.partial_memory: expected at least 4096 (4 KiB), got 1",
        ),
        (
            '[files]\ngroup = "a\\u0000b"',
            "fastlog.toml:2: files.group: expected text without a NUL character",
        ),
        (
            '[auth]\nkeys = ["a:\\u0000b"]',
            "fastlog.toml:2: auth.keys: expected text without a NUL character",
        ),
        (
            "listen = ['tcp://a..b:9020']",
            "fastlog.toml:1: listen: 'a..b' is no name of a host, and no address",
        ),
        (
            "[web]\nurl = 'http://a..b:9080'",
            "fastlog.toml:2: web.url: 'a..b' is no name of a host, and no address",
        ),
        (
            "[retention]\nage = '3 fortnights'",
            "fastlog.toml:2: retention.age: "
            "expected a time such as 3600 or \"30 days\", got '3 fortnights'",
        ),
        (
            "[retention]\nage = inf",
            'fastlog.toml:2: retention.age: expected a time such as 3600 or "30 days", got inf',
        ),
        (
            "[log]\nlevel = 'debug'",
            "fastlog.toml:2: log.level: there is no 'debug'; did you mean 'DEBUG'?",
        ),
        ("limits = 3", "fastlog.toml:1: limits: expected a table [limits], got 3"),
        (
            "[limits\nmax_frame = 1",
            "fastlog.toml:1: not TOML: expected ']' at the end of a table declaration",
        ),
        ("a = 1\nb = [1", "fastlog.toml:2: not TOML: unclosed array"),
        ("listen = []", "fastlog.toml:1: listen: expected a list of URLs, got a list"),
        ("listen = [3]", "fastlog.toml:1: listen: expected a URL or a table, got 3"),
        (
            "listen = [\n  'tcp://127.0.0.1:1',\n  'tls://127.0.0.1:2',\n]",
            "fastlog.toml:3: listen: 'tls://127.0.0.1:2' needs a certificate, "
            "the path of a PEM file",
        ),
        (
            "[[listen]]\nurl = 'tcp://127.0.0.1:2'\ncertificate = 'a.pem'",
            "fastlog.toml:3: listen.certificate: only valid for tls://, "
            "not for 'tcp://127.0.0.1:2'",
        ),
        (
            "[[listen]]\nurl = 'tls://127.0.0.1:2'\ncertificate = 'a'\nidentity = 'certificate'",
            'fastlog.toml:4: listen.identity: "certificate" needs client_ca, '
            "which says whose are valid",
        ),
        (
            "[web]\nurl = 'https://127.0.0.1:9080'",
            "fastlog.toml:2: web.url: 'https://127.0.0.1:9080' needs "
            "web.certificate (--certificate), the path of a PEM file",
        ),
        (
            "[web]\nurl = 'http://127.0.0.1:9080'\ncertificate = 'a.pem'",
            "fastlog.toml:3: web.certificate: only valid for an https:// url, "
            "not for 'http://127.0.0.1:9080'",
        ),
        (
            "[[sink]]\nurl = 'sqlite:'\n\n[[sink]]\nurl = 'ndjson:///a'\nname = 'sqlite'\n"
            "[[sink]]\nurl = 'ndjson:///b'\nname = 'sqlite'",
            "fastlog.toml:9: sink.name: two sinks are named 'sqlite'",
        ),
        ("[[sink]]\nname = 'x'", "fastlog.toml:1: [[sink]] needs a url"),
        *(
            (
                f"[files]\nmode = {mode}",
                'fastlog.toml:2: files.mode: expected a mode such as "0640", in quotes, got '
                + shown,
            )
            for mode, shown in (("0o640", "416"), ("640", "640"), ("'u=rw'", "'u=rw'"))
        ),
        (
            "[files]\nmode = '0440'",
            "fastlog.toml:2: files.mode: expected a mode that lets the server read and write, "
            "got '0440'",
        ),
        (
            "[files]\nmode = '0666'",
            "fastlog.toml:2: files.mode: expected no more than 0664, got '0666'",
        ),
        (
            "[files]\ngroup = 'amd'",
            "fastlog.toml:2: files.group: there is no group 'amd'; did you mean 'adm'?",
        ),
        (
            "[[listen]]\nurl = 'unix:///s'\ngroup = 'nonesuch-0'",
            "fastlog.toml:3: listen.group: there is no group 'nonesuch-0'",
        ),
        (
            "[[listen]]\nurl = 'tcp://127.0.0.1:1'\nmode = '0660'",
            "fastlog.toml:3: listen.mode: only valid for a Unix socket, not for 'tcp://127.0.0.1:1'",
        ),
        (
            "[[sink]]\nurl = 'sqlite:'\nname = '../x'",
            "fastlog.toml:3: sink.name: expected letters, digits, '_', '-' and '.', at most 64, "
            "got '../x'",
        ),
        (
            "[[sink]]\nurl = 'sqlite:'\nwhen_ful = 'hold'",
            "fastlog.toml:3: [[sink]] has no key 'when_ful'; did you mean 'when_full'?",
        ),
        (
            "sink = ['/var/log/x']",
            "fastlog.toml:1: sink: "
            "expected a URL such as sqlite: or ndjson:///path, got '/var/log/x'; "
            "did you mean 'ndjson:///var/log/x'?",
        ),
    ],
)
def test_an_error_in_the_file_has_its_line(text: str, message: str):
    assert mistake(text) == message


def test_a_file_that_is_not_text_is_an_error():
    Path("fastlog.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"^fastlog\.toml: is not UTF-8 text$"):
        load(None, {}, {})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "FASTLOG_LIMIT_MAX_FRAME",
            "1",
            "FASTLOG_LIMIT_MAX_FRAME: there is no such variable; "
            "did you mean 'FASTLOG_LIMITS_MAX_FRAME'?",
        ),
        (
            "FASTLOG_LIMITS_CONNECTIONS",
            "many",
            "FASTLOG_LIMITS_CONNECTIONS: limits.connections: expected an integer, got 'many'",
        ),
        ("FASTLOG_LISTEN", "", "FASTLOG_LISTEN: listen: expected a list of URLs, got a list"),
        ("FASTLOG_DATA_DIR", "", "FASTLOG_DATA_DIR: data_dir: expected a path, got ''"),
    ],
)
def test_an_error_in_a_variable_has_its_name(name: str, value: str, message: str):
    assert mistake("", {name: value}) == message


def test_an_error_in_a_flag_has_its_name():
    assert mistake("", None, listen=("tcp://host",)) == (
        "--listen: listen: expected a port in 'tcp://host', such as tcp://host:9020"
    )


@pytest.mark.parametrize(
    "url",
    [
        "tcp://:9020", "tcp://host:65536", "tcp://host:x", "tcp://host:1/path", "tcp://a@host:1",
        "tcp://[::1:9020", "unix://path", "unix://host/path", "udp://host:1", "9020", "", "/a",
        "unix:///" + "x" * 107,
    ],
)  # fmt: skip
def test_a_listener_may_not_be(url: str):
    assert mistake("", None, listen=(url,)).startswith("--listen: listen")


def test_an_address_is_listed_once_unless_its_port_is_0():
    twice = ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1")
    assert (
        mistake("", None, listen=twice) == "--listen: listen: 'tcp://127.0.0.1:1' is listed twice"
    )
    free = ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
    assert len(load_text("", None, listen=free).listen) == 2
