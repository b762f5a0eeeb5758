"""An OTLP sink with a receiver, for tests that apply blocks to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from builders import NODE, make_context

from fastlog.block import Block
from fastlog.decode import Decoded
from fastlog.errors import SinkUnavailableError
from fastlog.sinks import make_sink
from fastlog.sinks.otlp.sink import OtlpSink


def open_sink(
    data_dir: Path,
    url: str,
    *,
    steady: Callable[[], float] = time.monotonic,
    stopping: Callable[[], bool] = lambda: False,
) -> OtlpSink:
    context = make_context(data_dir, url, name="otlp", steady=steady)
    sink = make_sink(context._replace(stopping=stopping))
    assert isinstance(sink, OtlpSink)
    sink.open(NODE)
    return sink


def failure_of(sink: OtlpSink, blocks: Sequence[Decoded]) -> str:
    """Apply blocks, and return why the receiver did not take them; "" if it did."""
    try:
        sink.apply(blocks)
    except SinkUnavailableError as error:
        return str(error)
    return ""


def uids_of(blocks: Sequence[Decoded]) -> list[str]:
    return [f"{NODE}/{record.offset}/{record.idx}" for each in blocks for record in each.records]


def blocks_of(decoded: Sequence[Decoded]) -> list[Block]:
    return [each.block for each in decoded]
