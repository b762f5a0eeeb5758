"""Decoders of sinks that do not store all, and what they leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from builders import NODE
from columns import records_in

from fastlog.block import Block, Kind, make_run
from fastlog.config import Config, RedactConfig, SinkConfig
from fastlog.decode import Decoded, Form, copy_rows
from fastlog.record import Record
from fastlog.routing import BlockDecoder, make_decoder

FORMS: tuple[Form, ...] = ("records", "lines", "columns", "copy")


def block_of(frames: Sequence[bytes]) -> Block:
    payload = make_run(Kind.STOCK, frames, peer="10.0.0.9:5")
    return Block(7, len(payload) + 56, 0, len(frames), 1_785_000_000_123_457, memoryview(payload))


def route(
    form: Form = "records", redact: Sequence[RedactConfig] = (), engine: Any = "c", **given: Any
) -> BlockDecoder:
    """Return the decoder of a sink with this `filter`, `fields` or `without`."""
    config = Config(redact=list(redact))
    config = msgspec.structs.replace(
        config, decode=msgspec.structs.replace(config.decode, engine=engine)
    )
    return make_decoder(config, SinkConfig("x:", "x", "hold", **given), form, NODE)


def records_of(decoded: Decoded) -> list[Record]:
    """Return the records of a block in any form but `lines`, in order of arrival."""
    if decoded.columns is not None:
        return records_in(decoded.block, decoded.columns)
    if decoded.copy:
        return sorted(copy_rows.decode(decoded.copy), key=lambda record: record.idx)
    return decoded.records


def lines_of(decoded: Decoded) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in decoded.lines.splitlines()]
