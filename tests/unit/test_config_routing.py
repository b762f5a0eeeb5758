"""Filters, fields, redaction and expiry in the configuration: each mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastlog.cli.options import load_config
from fastlog.config import ExpireConfig, RedactConfig, from_json, to_json
from fastlog.errors import ConfigError

pytestmark = pytest.mark.usefixtures("working_directory")

SINK = '[[sink]]\nurl = "sqlite:"\n'


def mistake(text: str) -> str:
    Path("fastlog.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(None)
    return str(caught.value)


def test_all_of_it_is_read_and_reaches_the_workers() -> None:
    Path("fastlog.toml").write_text(
        SINK + "filter = 'level>=WARNING logger=app'\nfields = ['message', 'extra.user']\n"
        "[[redact]]\nfield = 'extra.password'\naction = 'drop'\n"
        "[[redact]]\npattern = '\\d{16}'\nfields = ['message']\nname = 'cards'\n"
        "[[expire]]\nfilter = 'level<INFO'\nage = '3 days'\n"
    )
    config = from_json(to_json(load_config(None)))
    [sink] = config.sinks
    assert sink.filter == "level>=WARNING logger=app"
    assert sink.fields == ["message", "extra.user"]
    assert config.redact == [
        RedactConfig(field="extra.password", action="drop"),
        RedactConfig(pattern=r"\d{16}", fields=["message"], name="cards"),
    ]
    assert config.expire == [ExpireConfig("level<INFO", 3 * 86400.0)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            SINK + "filter = 'levl:error'",
            "fastlog.toml:3: sink.filter: there is no field 'levl'; did you mean 'level'? An extra"
            " of this name is extra.levl (column 1 of 'levl:error')",
        ),
        (SINK + "filter = 'created>1h'", "3: sink.filter: a filter here has no time that moves"),
        (SINK + "filter = 3", "fastlog.toml:3: sink.filter: expected text, got 3"),
        (SINK + "fields = ['mesage']", "sink.fields: there is no field 'mesage'; did you mean"),
        (SINK + "fields = ['extra.a[0]']", "sink.fields: extra.a[0]: name the whole list"),
        (SINK + "without = ['offset']", "sink.without: offset is stored always"),
        (
            SINK + "fields = ['message']\nwithout = ['extra']",
            "fastlog.toml:4: sink.without: fields says which fields are stored; leave one",
        ),
        ("redact = 3", "redact: expected tables that begin with [[redact]], got 3"),
        ("[[redact]]\naction = 'mask'", "1: [[redact]] needs a field or a pattern, and not both"),
        (
            "[[redact]]\nfield = 'extra.a'\npattern = 'x'",
            "[[redact]] needs a field or a pattern, and not both",
        ),
        (
            "[[redact]]\nfield = 'extra.a'\nfields = ['message']",
            "fastlog.toml:3: redact.fields: only valid beside a pattern",
        ),
        ("[[redact]]\npattern = '('", "2: redact.pattern: not a regular expression: '('"),
        ("[[redact]]\npattern = 'x*'", "redact.pattern: 'x*' matches the empty text"),
        ("[[redact]]\nfield = 'created'", "redact.field: created is stored always"),
        ("[[redact]]\npatern = 'x'", "2: [[redact]] has no key 'patern'; did you mean 'pattern'?"),
        ("[[redact]]\nfield = 'host'\naction = 'hide'", "redact.action: expected 'mask' or 'drop'"),
        ("[[expire]]\nage = '1 day'", "fastlog.toml:1: [[expire]] needs filter"),
        ("[[expire]]\nfilter = 'level<INFO'\nage = 0", "expire.age: expected more than 0"),
        ("[[expire]]\nfilter = 'level<'\nage = 1", "2: expire.filter: expected a value after"),
        (
            '[[sink]]\nurl = "ndjson:///tmp/x"\n[[expire]]\nfilter = "level<INFO"\nage = "1 day"',
            "toml:3: expire: no sink can delete single records; a sqlite: or postgresql: sink can",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_line(text: str, expected: str) -> None:
    error = mistake(text)
    assert expected in error
    assert "\n" not in error
