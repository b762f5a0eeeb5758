"""What a `nats:` URL says, and what is wrong with one."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from fastlog.config import load
from fastlog.config.source_sink import source_sink
from fastlog.errors import ConfigError
from fastlog.jetstream.target import Target, parse_url


def parse(url: str) -> Target:
    return parse_url(urlsplit(url))


def test_several_servers_a_user_and_options() -> None:
    target = parse(
        "nats://u:p%40ss@a,b:4333,[::1]:4444/LOGS?replicas=1&prefix=team.x&max_bytes=2GiB&linger=2s"
    )
    assert target.servers == ("nats://a:4222", "nats://b:4333", "nats://[::1]:4444")
    assert (target.user, target.password, target.stream) == ("u", "p@ss", "LOGS")
    assert (target.replicas, target.max_bytes, target.linger) == (1, 2 << 30, 2.0)
    assert parse("nats://a/LOGS").linger == 0.5
    assert target.blocks_of("n") == "team.x.n"
    assert target.state_of("n") == "team.x-stored.n"
    assert target.states == "LOGS-stored"
    assert not target.tls
    assert "p%40ss" not in target.label


@pytest.mark.parametrize("option", ["tls=yes", "tls_ca=/ca.pem"])
def test_tls_is_asked_for(option: str) -> None:
    assert parse(f"nats://a/LOGS?{option}").tls


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("nats://a", "expected nats://host:4222/STREAM"),
        ("nats:///LOGS", "expected nats://host:4222/STREAM"),
        ("nats://a/LOGS.x", "expected nats://host:4222/STREAM"),
        ("nats://a/LOGS?replica=3", "did you mean 'replicas'?"),
        ("nats://a/LOGS?replicas=9", "replicas is a number from 1 to 5"),
        ("nats://a/LOGS?max_bytes=5", "max_bytes is a size of at least 1MiB"),
        ("nats://a/LOGS?creds=me.creds", "creds is an absolute path"),
        ("nats://a/LOGS?prefix=a.*", "prefix is letters"),
        ("nats://a/LOGS?linger=2h", "linger is a time of at most 1min"),
        ("nats://a/LOGS?linger=soon", "linger is a time of at most 1min"),
        ("nats://a/LOGS?monitor=host:8222", "monitor is a URL"),
        ("nats://u@a/LOGS?creds=/me", "give one of user, creds and nkey"),
        ("nats://a/LOGS?tls=on", "tls is no or yes"),
        ("nats://a/LOGS?tls=yes&tls=yes", "given twice"),
    ],
)
def test_what_is_wrong_is_said(url: str, what: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(url)
    assert what in str(raised.value)


def test_no_error_has_the_password() -> None:
    with pytest.raises(ConfigError) as raised:
        parse("nats://u:secret@a/?x")
    assert "secret" not in str(raised.value)


def test_a_file_of_tls_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cannot use /missing/ca\.pem: No such file"):
        parse("nats://a/LOGS?tls_ca=/missing/ca.pem").ssl_context()


@pytest.mark.parametrize(
    ("sinks", "named", "what"),
    [
        (["console:"], "", "source.url: what .* a postgresql: sink, and there is none"),
        (["postgresql:///a", "sqlite:"], "", "one of the names postgresql, sqlite"),
        (["sqlite:", "console:"], "console", "source.sink: what .*, and 'console' is none"),
        (["sqlite:"], "sqllite", "source.sink: no sink is called .* did you mean 'sqlite'"),
    ],
)
def test_a_source_needs_one_sink_that_can_store_it(sinks: list[str], named: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        load(None, {}, {"sink": sinks, "source.url": "nats://a/LOGS", "source.sink": named or None})


@pytest.mark.parametrize(
    ("sinks", "named", "name"),
    [
        ([], "", "sqlite"),
        (["console:", "postgresql:///a"], "", "postgresql"),
        (["postgresql:///a", "sqlite:"], "sqlite", "sqlite"),
    ],
)
def test_the_sink_of_a_source_is_the_only_one_that_can_or_the_named_one(
    sinks: list[str], named: str, name: str
) -> None:
    flags = {"sink": sinks or None, "source.url": "nats://a/LOGS", "source.sink": named or None}
    sink = source_sink(load(None, {}, flags))
    assert sink is not None
    assert sink.name == name


def test_a_source_is_a_stream() -> None:
    with pytest.raises(ConfigError, match=r"--source: source.url: expected nats://"):
        load(None, {}, {"sink": ["postgresql:///a"], "source.url": "kafka://a/LOGS"})
