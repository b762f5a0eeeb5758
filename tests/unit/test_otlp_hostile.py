"""Whatever clients send, its record can be encoded, in bounded time, and read by a receiver."""

from __future__ import annotations

import json
import time

import pytest
from attacks import attacks
from builders import NODE, make_record
from decoding import block_of
from grammar import frame
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from otlp_receivers import Received, records_of
from places import SUPPORT

from fastlog.decode import Decoder
from fastlog.record import Record
from fastlog.sinks.otlp.mapping import Mapping
from fastlog.sinks.otlp.requests import make_request

CORPUS = SUPPORT.parent / "fuzz" / "corpus" / "translator"
DECODER = Decoder()
ATTACKS = attacks(1 << 16)


def received(records: list[Record]) -> list[Received]:
    """Return what a receiver reads of these records; check that it is all of them."""
    mapping = Mapping(NODE, {}, 32 << 10)
    request = make_request([mapping.encode(record) for record in records])
    found = list(records_of(ExportLogsServiceRequest.FromString(request)))
    assert len(found) == len(records)
    return found


@pytest.mark.soak
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks(name: str) -> None:
    records = DECODER.decode(block_of(ATTACKS[name][0])).records
    began = time.process_time()
    received(records)
    assert time.process_time() - began < 5


def test_generated_frames_and_the_corpus_of_the_fuzzer() -> None:
    frames = [frame(seed) for seed in range(300)]
    frames += [path.read_bytes() for path in sorted(CORPUS.iterdir())]
    records = DECODER.decode(block_of(*frames)).records
    assert len(records) > 200
    received(records)


TEXTS = (
    "[" * 200_000,
    '{"a":' * 100_000,
    "[9" + "9" * 40_000 + "]",
    "Traceback (most recent call last):" + " " * 500_000 + "x",
    "Traceback (most recent call last):\n" * 30_000,
    "\n\nDuring handling of the above exception, another exception occurred:\n\n" * 10_000,
    "a." * 300_000,
    "a" * 900_000,
    "  + Exception Group Traceback (most recent call last):\n" + "  | \n" * 100_000,
    "\n" * 500_000,
)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_texts_that_look_like_tracebacks_cost_little(text: str) -> None:
    began = time.process_time()
    (found,) = received([make_record("x", exc_text=text)])
    assert time.process_time() - began < 1
    assert found.body == f"x\n{text}"


@settings(deadline=None, max_examples=60)
@given(
    extra=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=20,
    ),
    exc_text=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    created=st.floats(-1e18, 1e18),
)  # fmt: skip
def test_any_values(extra: object, exc_text: str | None, created: float) -> None:
    text = json.dumps({"x": extra}, ensure_ascii=False)
    received([make_record("x", extra=text, exc_text=exc_text, created=created)])
