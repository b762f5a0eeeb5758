"""Blocks are decoded to records and notices, in order, whatever one of their frames is."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
import shapes
from decoding import DECODERS, GOOD, PEER, block_of, block_of_runs, decode, decode_block
from interpreters import interpreters

from fastlog.block import Kind, make_notices, make_run
from fastlog.decode import Decoder, Located, copy_rows
from fastlog.errors import ConfigError
from fastlog.record import Loss, Record, Rejection, host_of


def test_many_rejected_frames_give_a_few_notes_whose_counts_add_up() -> None:
    rejected = [b"", b"\x80\x02", b"(", *[b"", b"N."] * 5000]
    decoded = decode(GOOD, *rejected, GOOD)
    assert [record.idx for record in decoded.records] == [0, len(rejected) + 1]
    notes = [located.notice for located in decoded.notices]
    assert [located.idx for located in decoded.notices] == list(range(1, 13))
    assert all(isinstance(note, Rejection) for note in notes)
    assert [note.count for note in notes[:10]] == [1] * 10
    assert sum(note.count for note in notes) == len(rejected)
    assert {note.reason for note in notes[10:]} == {note.reason for note in notes[3:5]}
    assert [note.count for note in notes[10:]] == [4997, 4996]


def test_records_and_notes_of_a_block_are_in_order() -> None:
    loss = Loss("a:1", "journal full", 5, 1.0, 2.0)
    rejected = Rejection("b:2", "http", 40, b"GET /")
    block = block_of_runs(
        make_run(Kind.STOCK, [GOOD, b"junk"], peer=PEER),
        make_notices([loss, rejected]),
        make_run(Kind.PADDING, []),
        make_run(Kind.STOCK, [b"N.", GOOD], peer="[::1]:9"),
        frames=6,
    )
    decoded = decode_block(block, python_forms=True)
    assert block is decoded.block
    assert [(each.idx, each.host) for each in decoded.records] == [(0, "127.0.0.1"), (5, "::1")]
    assert {(96, 1.5)} == {(each.offset, each.received) for each in decoded.records}
    assert [
        Located(1, Rejection(PEER, "malformed pickle: truncated", 4, b"junk", 1, 1.5)),
        Located(2, loss, by_receiver=True),
        Located(3, rejected, by_receiver=True),
        Located(4, Rejection("[::1]:9", "not a record: nonetype", 2, b"N.", 1, 1.5)),
    ] == decoded.notices


@pytest.mark.parametrize("form", ["records", "lines", "columns", "copy"])
@pytest.mark.parametrize("engine", ["c", "python"])
def test_each_run_has_the_certificate_of_its_peer(engine: str, form: str) -> None:
    """In every form, from plain frames, JSON, and those of which the translator leaves a tree."""
    left = pickle.dumps({"msg": "m", "x": range(3)}, 2)
    frames, names = [GOOD, b'{"msg":"json"}', left], {"": None, "payments": "payments"}
    names["ä b:c [d]"] = "ä b:c [d]"
    peers = [f"{at} {name}" if name else at for name in names for at in (PEER, "[::1]:9")]
    runs = [make_run(Kind.STOCK, frames, peer=peer) for peer in peers]
    decoded = Decoder(engine, form).decode(block_of_runs(*runs, frames=len(runs) * 3))  # type: ignore[arg-type]
    expected = [
        (host, name) for name in names.values() for host in ("127.0.0.1", "::1") for _ in frames
    ]
    if form == "lines":
        found = [json.loads(line) for line in decoded.lines.splitlines()]
        assert [(each["host"], each["certificate"]) for each in found] == expected
    elif form == "columns":
        processes = decoded.columns.processes
        rows = [processes[number][-2:] for number in decoded.columns.process]
        assert rows == expected
    elif form == "copy":
        records = sorted(copy_rows.decode(decoded.copy), key=lambda each: each.idx)
        assert [(each.host, each.certificate) for each in records] == expected
    else:
        assert [(each.host, each.certificate) for each in decoded.records] == expected
    assert decoded.notices == []


def test_decoding_a_block_again_gives_the_same_result() -> None:
    payloads = [f.data for f in shapes.frames(max(interpreters())) if f.how == "socket"]
    block = block_of(*payloads, b"junk", b'{"msg":"JSON","x":[1.0]}')
    assert repr(decode_block(block, python_forms=True)) == repr(decode_block(block))


def test_only_the_first_4_kib_of_a_rejected_frame_are_kept() -> None:
    (located,) = decode(b"\x00" * 5000).notices
    assert isinstance(located.notice, Rejection)
    assert (located.notice.length, len(located.notice.raw)) == (5000, 4096)


def test_an_unreadable_notice_is_a_rejection() -> None:
    block = block_of_runs(make_run(Kind.NOTICE, [b"{}", b"\xff"]), frames=2)
    reasons = [each.notice.reason for each in decode_block(block).notices]
    assert reasons == ["unreadable notice of the receiver"] * 2


def test_a_run_of_an_unknown_kind_is_one_rejection_and_the_rest_of_the_block_is_read() -> None:
    unknown = bytearray(make_run(Kind.STOCK, [b"x", b"yz"], peer=PEER))
    unknown[0] = 77
    block = block_of_runs(bytes(unknown), make_run(Kind.STOCK, [GOOD, b"junk"]), frames=4)
    decoded = decode_block(block)
    assert [record.idx for record in decoded.records] == [2]
    (first, second) = decoded.notices
    assert isinstance(first.notice, Rejection)
    assert (first.idx, first.notice.reason, first.notice.count, first.notice.peer) == (
        *(0, "a run of the unknown kind 77"),
        *(2, PEER),
    )
    assert (second.idx, second.by_receiver) == (3, False)


def test_an_error_in_the_decoder_costs_one_frame_and_is_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("fastlog.decode.frame.build_record", fail)
    (located,) = DECODERS["python"].decode(block_of(GOOD)).notices
    assert located.notice.reason == "decoder failed: ZeroDivisionError"


def test_a_record_that_cannot_be_encoded_as_a_line_is_noted_and_the_others_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(record: Record) -> bytes:
        raise OverflowError

    monkeypatch.setattr("fastlog.decode.frame.encode", fail)
    plain = pickle.dumps({"msg": "plain"}, 1)
    decoded = Decoder("c", "lines").decode(block_of(plain, b'{"msg": 5}', plain))
    assert [located.idx for located in decoded.notices] == [1]
    assert decoded.notices[0].notice.reason == "decoder failed: OverflowError"
    assert decoded.lines.count(b"\n") == 2


def test_an_unknown_engine_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"'fast' is none of c, python"):
        Decoder("fast")


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("127.0.0.1:5", "127.0.0.1"),
        ("[::1]:5", "::1"),
        ("[fe80::1%eth0]:5", "fe80::1%eth0"),
        ("unix", "unix"),
        ("::1", "::1"),
        ("", ""),
    ],
)
def test_the_host_is_the_peer_without_its_port(peer: str, host: str) -> None:
    assert host == host_of(peer)
