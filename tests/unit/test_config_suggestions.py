"""Suggestions for mistyped URLs, keys and units of the configuration."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from config_texts import load_text

from fastlog.config.urls import check_listen, check_sink, suggest_path
from fastlog.errors import ConfigError

pytestmark = pytest.mark.usefixtures("working_directory")


@pytest.mark.parametrize(
    ("url", "suggested"),
    [
        ("tpc://127.0.0.1:9020", "tcp://127.0.0.1:9020"),
        ("http://127.0.0.1:9020", "tcp://127.0.0.1:9020"),
        ("tcp:127.0.0.1:9020", "tcp://127.0.0.1:9020"),
        ("tcp:/127.0.0.1:9020", "tcp://127.0.0.1:9020"),
        ("tcp://127.0.0.1:9020/", "tcp://127.0.0.1:9020"),
        ("127.0.0.1:9020", "tcp://127.0.0.1:9020"),
        ("[::1]:9020", "tcp://[::1]:9020"),
        ("localhost:9020", "tcp://localhost:9020"),
        ("localhost", "tcp://localhost:9020"),
        ("9020", "tcp://127.0.0.1:9020"),
        ("unx:///run/s", "unix:///run/s"),
        ("unix://run/s", "unix:///run/s"),
        ("unix:run/s", "unix:///run/s"),
        ("/run/s", "unix:///run/s"),
    ],
)
def test_a_mistyped_address_is_an_error_with_a_valid_suggestion(url: str, suggested: str):
    with pytest.raises(ConfigError) as caught:
        check_listen(url)
    assert str(caught.value).endswith(f"got {url!r}; did you mean {suggested!r}?")
    check_listen(suggested)


@pytest.mark.parametrize(
    "url",
    ["udp://x:1", "a b", "99999", "tcp://user@host:1", "unix:", "tcp://", ":9020"],
)
def test_an_address_that_is_near_to_nothing_valid_has_no_suggestion(url: str):
    with pytest.raises(ConfigError) as caught:
        check_listen(url)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "suggested"),
    [
        ("sqlite", "sqlite:"),
        ("sqllite", "sqlite:"),
        ("console", "console:"),
        ("/var/log/app.ndjson", "ndjson:///var/log/app.ndjson"),
    ],
)
def test_a_sink_without_a_scheme_is_an_error_with_a_suggestion(url: str, suggested: str):
    with pytest.raises(ConfigError) as caught:
        check_sink(url)
    assert str(caught.value).endswith(f"got {url!r}; did you mean {suggested!r}?")
    check_sink(suggested)


def test_a_path_behind_two_slashes_gets_a_third():
    hint = suggest_path(urlsplit("ndjson://var/log/x.ndjson"))
    assert hint == "; did you mean 'ndjson:///var/log/x.ndjson'?"
    assert suggest_path(urlsplit("ndjson:///var/log/x.ndjson")) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_frame = 1", "there is no key 'max_frame'; it is a key of [limits]"),
        ("[journal]\nmax_frame = 1", "[journal] has no key 'max_frame'; it is a key of [limits]"),
        ("size = 1", "there is no key 'size'; it is a key of [journal] and of [retention]"),
        ("[journall]\nsize = 1", "there is no key 'journall'; did you mean 'journal'?"),
        ("[journal]\nsegmnt = 1", "[journal] has no key 'segmnt'; did you mean 'segment'?"),
        ('[[sink]]\nurll = "sqlite:"', "[[sink]] has no key 'urll'; did you mean 'url'?"),
        ('[listen]\nurl = "x"', "listen: expected URLs, or tables that begin with [[listen]]"),
        ("[journal]\nsize = '64 MBs'", "got '64 MBs'; did you mean '64 MB'?"),
        ("[journal]\nsize = '64 MiiB'", "got '64 MiiB'; did you mean '64 MiB'?"),
        ("[retention]\nage = '30 dyas'", "got '30 dyas'; did you mean '30 days'?"),
        ("[retention]\nage = '3days 1 huor'", "got '3days 1 huor'; did you mean '3days 1 hours'?"),
    ],
)
def test_a_mistyped_key_or_unit_is_an_error_with_a_suggestion(text: str, message: str):
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    assert message in str(caught.value)


def test_a_value_that_is_near_to_no_unit_has_no_suggestion():
    with pytest.raises(ConfigError) as caught:
        load_text("[retention]\nage = 'for ever'")
    assert str(caught.value).endswith("got 'for ever'")
