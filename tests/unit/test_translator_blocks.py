"""The translator takes runs and blocks of every kind, each independent of the one before."""

from __future__ import annotations

import json
import pickle
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from translations import LINES, PYTHON, C, body_of, frame_with, make_translator, rows_of

from fastlog.block import RUN, Block, Kind, Stamp, make_notices, make_run
from fastlog.decode.json_lines import encode
from fastlog.record import Rejection, host_of


def test_a_block_does_not_depend_on_the_one_before() -> None:
    translator = make_translator()
    frames = [frame_with(None, name=name) for name in ("a", "b", "b")]
    translations = []
    for offset in (7, 7, 9):
        translator.begin(1.5, offset)
        assert translator.run(body_of(frames), 3, 0, "h") is None
        translations.append(bytes(translator.end().rows))
    assert translations[0] == translations[1]
    assert pickle.loads(translations[2])[0][-2] == 9


def test_a_frame_cannot_read_the_memo_of_the_frame_before_it() -> None:
    before = b"}q\0X\3\0\0\0msgX\1\0\0\0aq\1s."
    after = b"}q\0X\3\0\0\0msgh\1s."  # its slot 1 is not set
    assert len(rows_of(before)) == 1
    assert len(rows_of(before, after)) == 1


def test_a_run_whose_lengths_do_not_fit_is_an_error_and_the_next_block_is_read() -> None:
    translator = make_translator()
    good = body_of([frame_with(1)])
    for body, frames in ((good, 2), (good[:-1], 1), (good + b"x", 1), (b"\0\0", 1), (b"", 1)):
        translator.begin(1.5, 0)
        with pytest.raises(ValueError, match="does not fit"):
            translator.run(body, frames, 0, "h")
    translator.begin(1.5, 0)
    assert translator.run(good, 1, 0, "h") is None
    assert len(pickle.loads(translator.end().rows)) == 1


def test_a_run_without_frames_is_plain() -> None:
    translator = make_translator()
    translator.begin(1.5, 0)
    assert translator.run(b"", 0, 0, "") is None
    assert pickle.loads(translator.end().rows) == []


@pytest.mark.parametrize("kind", [Kind.STOCK, Kind.BATCH])
def test_a_run_of_either_kind_of_records_is_translated(kind: Kind) -> None:
    stamp = Stamp(bytes(16), 1, 1) if kind is Kind.BATCH else None
    payload = make_run(kind, [frame_with(1)], peer="h:1", stamp=stamp)
    block = Block(0, len(payload), 0, 1, 1_500_000, memoryview(payload))
    assert json.loads(C.decode(block).records[0].extra) == {"x": 1}
    assert repr(C.decode(block)) == repr(PYTHON.decode(block))


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789.:[]abcunix%é", max_size=30))
@example("[::1]:5")
@example("::1")
@example("[")
@example(":")
def test_the_host_of_a_run_is_the_peer_without_its_port(peer: str) -> None:
    payload = make_run(Kind.STOCK, [frame_with(1)], peer=peer)
    block = Block(0, len(payload), 0, 1, 1_500_000, memoryview(payload))
    assert C.decode(block).records[0].host == host_of(peer)
    assert LINES.decode(block).lines == encode(C.decode(block).records[0]) + b"\n"


def test_a_block_of_every_kind_of_run_gives_the_same_result() -> None:
    good, bad, json_ = frame_with(1), b"no pickle", b'{"msg": "j"}'
    stamp = Stamp(bytes(16), 1, 1)
    gap = struct.pack(">QQBQQ", 5, 9, 1, 1, 2)
    runs = [
        make_run(Kind.STOCK, [good, bad, json_, good], peer="a:1"),
        make_run(Kind.GAP, [gap], peer="b:1", stamp=stamp),
        make_run(Kind.BATCH, [json_, good], peer="b:1", stamp=stamp),
        make_notices([Rejection("c:1", "http", 3)]),
        make_run(Kind.PADDING, []),
        make_run(Kind.STOCK, [], peer="d:1"),
        make_run(9, [good, good], peer="e:1"),
        make_run(Kind.STOCK, [bad, good], peer="f:1"),
    ]  # fmt: skip
    payload = b"".join(runs)
    block = Block(0, len(payload), 0, 12, 1_500_000, memoryview(payload))
    read = PYTHON.decode(block)
    assert [record.idx for record in read.records] == [0, 2, 3, 5, 6, 11]
    assert repr(C.decode(block)) == repr(read)
    assert LINES.decode(block).lines == b"".join(encode(each) + b"\n" for each in read.records)
    assert repr(LINES.decode(block).notices) == repr(read.notices)


def test_each_line_has_the_sender_of_its_run_and_the_place_of_its_block() -> None:
    peers = ["a:1", "a:2", "a:1 ab", "a:1 b", "ab:1", "ab:1", "", ":1 a", "a:1", "unix", "a:1"]
    runs = [make_run(Kind.STOCK, [frame_with(n)], peer=peer) for n, peer in enumerate(peers)]
    payload = b"".join(runs)
    for offset, received_us in ((0, 1_500_000), (0, 2_500_000), (9, 2_500_000)):
        block = Block(
            offset, offset + len(payload), 0, len(peers), received_us, memoryview(payload)
        )
        records = PYTHON.decode(block).records
        assert LINES.decode(block).lines == b"".join(encode(each) + b"\n" for each in records)
    assert [record.certificate for record in records][2:5] == ["ab", "b", None]


def test_runs_that_do_not_fit_are_an_error() -> None:
    translator = make_translator()
    good = make_run(Kind.BATCH, [frame_with(1)], peer="h:1", stamp=Stamp(bytes(16), 1, 1))
    cuts = [good[:cut] for cut in range(1, len(good))]
    short = RUN.pack(Kind.BATCH, 0, 0, 1, 0, 31) + bytes(31)
    for payload, frames in [
        *((cut, 1) for cut in cuts),
        (good, 0),
        (good, 2),
        (b"", 1),
        (short, 0),
        (RUN.pack(9, 0, 0, 1, (1 << 32) - 1, 0), 1),  # frames that would need 4 GB of verdicts
    ]:
        translator.begin(1.5, 0)
        with pytest.raises(ValueError, match="does not fit"):
            translator.block(payload, frames)
    translator.begin(1.5, 0)
    assert translator.block(good, 1) is None
