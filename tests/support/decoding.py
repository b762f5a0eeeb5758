"""Decoding with both engines in all forms, which must agree."""

from __future__ import annotations

import pickle

from columns import records_in

from fastlog.block import RECORDS, Block, Kind, frames, make_run, runs
from fastlog.decode import ENGINES, Decoded, Decoder, copy_rows
from fastlog.decode.json_lines import encode
from fastlog.record import Record

PEER = "127.0.0.1:5"
DECODERS = {engine: Decoder(engine) for engine in ENGINES}
LINE_DECODERS = {engine: Decoder(engine, "lines") for engine in ENGINES}
COLUMN_DECODERS = {engine: Decoder(engine, "columns") for engine in ENGINES}
COPY_DECODERS = {engine: Decoder(engine, "copy") for engine in ENGINES}
GOOD = pickle.dumps({"msg": "unharmed", "levelno": 20}, 1)


def block_of(*payloads: bytes, peer: str = PEER) -> Block:
    return block_of_runs(make_run(Kind.STOCK, payloads, peer=peer), frames=len(payloads))


def block_of_runs(*runs: bytes, frames: int) -> Block:
    payload = b"".join(runs)
    return Block(96, 96 + 48 + len(payload), 7, frames, 1_500_000, memoryview(payload))


def decode_block(block: Block, *, python_forms: bool = False) -> Decoded:
    """Decode with both engines in all forms, check that all agree, and return the result.

    The Python engine reads the same records in every form, and writes them at the end. So it reads
    them once, except with `python_forms`, and except JSON frames, whose lines it copies.
    """
    by_c, by_python = DECODERS["c"].decode(block), DECODERS["python"].decode(block)
    assert by_c.records == by_python.records
    assert repr(by_c) == repr(by_python)  # unlike ==, repr tells 1 from 1.0 and -0.0 from 0.0
    notices = repr(by_python.notices)
    every, fast = ENGINES, ENGINES[:1]
    expected = b"".join(encode(record) + b"\n" for record in by_python.records)
    for engine in every if python_forms or _has_json(block) else fast:
        as_lines = LINE_DECODERS[engine].decode(block)
        assert as_lines.lines == expected
        assert (as_lines.records, repr(as_lines.notices)) == ([], notices)
    tuples = [(record.idx, copy_rows.encode(record)) for record in by_python.records]
    for engine in every if python_forms else fast:
        as_columns = COLUMN_DECODERS[engine].decode(block)
        assert as_columns.columns is not None
        assert records_in(block, as_columns.columns) == by_python.records
        assert (as_columns.records, repr(as_columns.notices)) == ([], notices)
        as_copy = COPY_DECODERS[engine].decode(block)
        assert sorted(copy_rows.tuples(as_copy.copy)) == tuples
        assert (as_copy.records, repr(as_copy.notices)) == ([], notices)
    return by_c


def _has_json(block: Block) -> bool:
    records = (run for run in runs(block.payload) if run.kind in RECORDS)
    return any(bytes(frame[:1]) == b"{" for run in records for frame in frames(run))


def decode(*payloads: bytes) -> Decoded:
    return decode_block(block_of(*payloads))


def record_of(frame: bytes) -> Record:
    (record,) = decode(frame).records
    return record
