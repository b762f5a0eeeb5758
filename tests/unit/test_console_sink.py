"""Records as terminal text, and the console sink that prints them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import MONDAY, NODE, make_context, make_decoded, make_record, messages_of, numbered
from hypothesis import given
from hypothesis import strategies as st

from fastlog.errors import ConfigError, SinkConflictError, SinkUnavailableError
from fastlog.sinks.console import ConsoleSink
from fastlog.terminal import render


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_a_record_is_one_line() -> None:
    record = make_record("it works", extra='{"user":7,"path":"/a b","tag":"x"}')
    assert render(record, colour=False) == (
        '2026-11-23 00:00:00.500 INFO     app.db 127.0.0.1/11 it works user=7 path="/a b" tag=x'
    )


def test_tracebacks_and_further_lines_are_indented() -> None:
    record = make_record(
        "two\nlines", exc_text="Traceback\n  boom\n", stack_info="Stack", extra="{}"
    )
    assert render(record, colour=False).split("\n")[1:] == [
        "    lines",
        "    Traceback",
        "      boom",
        "    Stack",
    ]


def test_a_mapping_is_rendered_too() -> None:
    line = render({"created": MONDAY, "message": "m", "extra": {"a": None}}, colour=False)
    assert line == "2026-11-23 00:00:00.000 -        - - m a=null"


def test_levels_have_colours_and_every_colour_is_reset() -> None:
    lines = {level: render(make_record("m", levelno=level), colour=True) for level in (10, 30, 50)}
    assert len({line.split("INFO")[0] for line in lines.values()}) == 3
    for line in lines.values():
        assert line.count("\x1b[0m") * 2 == line.count("\x1b[")


@pytest.mark.parametrize("created", [1e300, -1e300, None])
def test_a_time_out_of_range_is_shown_as_it_is(created: float | None) -> None:
    assert render(make_record("m", created=created), colour=False).startswith(str(created))


hostile = st.text(
    st.sampled_from("a\x00\x07\x1b[2J\r\x9b\u202e\u2066\u2028\x7f\t\n\ud800é語"), max_size=12
)


@given(text=hostile, name=hostile, key=hostile, value=hostile)
def test_no_logged_text_controls_the_terminal(text: str, name: str, key: str, value: str) -> None:
    record = make_record(text, name=name, exc_text=text, levelname=name, host=value)
    shown = render({**record._asdict(), "extra": {key: value.replace("\ud800", "")}}, colour=False)

    assert not set(shown) & set("\x00\x07\x1b\r\x9b\u202e\u2066\u2028\x7f\ud800")
    first, *more = shown.split("\n")
    assert first.startswith("2026-11-23 ")
    assert all(line.startswith("    ") for line in more)
    shown.encode()


def make(tmp_path: Path, url: str = "console:") -> ConsoleSink:
    return ConsoleSink(make_context(tmp_path, url))


def test_records_are_printed_in_order_and_the_cursor_is_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chain = numbered(3)
    sink = make(tmp_path)
    assert sink.open(NODE) == 0
    sink.apply(chain[:1])
    assert sink.sync() == chain[0].block.end
    sink.apply(chain[1:])
    assert sink.cursor() == chain[2].block.end

    again = make(tmp_path)
    assert again.open(NODE) == chain[0].block.end, "records since the last sync are printed again"
    with pytest.raises(SinkConflictError):
        again.apply(chain)
    printed = capfd.readouterr().out.splitlines()
    assert [line.split()[5] for line in printed] == messages_of(chain)
    assert make(tmp_path).open("ff" * 16) == 0


@pytest.mark.parametrize(
    ("choice", "coloured"), [("always", True), ("never", False), ("auto", False)]
)
def test_colour_can_be_chosen_and_a_pipe_has_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], choice: str, coloured: bool
) -> None:
    sink = make(tmp_path, f"console:?colour={choice}")
    sink.open(NODE)
    sink.apply([make_decoded(["m"])])
    assert ("\x1b[" in capfd.readouterr().out) == coloured


def test_a_closed_pipe_is_unavailable(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sink = make(tmp_path)
    sink.open(NODE)
    sink._fd = writing
    with pytest.raises(SinkUnavailableError, match="standard output: Broken pipe"):
        sink.apply([make_decoded(["m"])])
    os.close(writing)
    assert sink.cursor() == 0


@pytest.mark.parametrize("url", ["console:///tmp/x", "console:?color=never", "console:?colour=red"])
def test_a_wrong_url_is_explained(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="console:"):
        make(tmp_path, url)
