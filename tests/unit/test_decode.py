"""Blocks are decoded to records: frames of every Python, hostile frames, and random ones."""

from __future__ import annotations

import copyreg
import json
import logging
import logging.handlers
import math
import os
import pickle
import random
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import shapes
from attacks import attacks
from hypothesis import example, given, settings
from hypothesis import strategies as st
from interpreters import VERSIONS, interpreters

from fastlog.block import Block, Kind, make_notices, make_run
from fastlog.decode import ENGINES, Decoded, Decoder, Located
from fastlog.decode.json_lines import encode
from fastlog.errors import ConfigError
from fastlog.record import Loss, Record, Rejection, host_of

PEER = "127.0.0.1:5"
DECODERS = {engine: Decoder(engine) for engine in ENGINES}
LINE_DECODERS = {engine: Decoder(engine, "lines") for engine in ENGINES}
GOOD = pickle.dumps({"msg": "unharmed", "levelno": 20}, 1)
BOUND = 5.0
"""CPU-seconds. The slowest attack takes half a second, three times that in a sanitized build. An
attack that works takes minutes, or never ends."""

ATTACKS = attacks(1 << 20)
SMALL_ATTACKS = attacks(1 << 18)
REASONS = ("malformed pickle: ", "forbidden opcode ", "not a record: ", "malformed JSON: ")


def block_of(*payloads: bytes, peer: str = PEER) -> Block:
    return block_of_runs(make_run(Kind.STOCK, payloads, peer=peer), frames=len(payloads))


def block_of_runs(*runs: bytes, frames: int) -> Block:
    payload = b"".join(runs)
    return Block(96, 96 + 48 + len(payload), 7, frames, 1_500_000, memoryview(payload))


def decode_block(block: Block) -> Decoded:
    """Decode with both engines in both forms, check that all agree, and return the result."""
    by_c, by_python = DECODERS["c"].decode(block), DECODERS["python"].decode(block)
    assert by_c.records == by_python.records
    assert repr(by_c) == repr(by_python)  # unlike ==, repr tells 1 from 1.0 and -0.0 from 0.0
    expected = b"".join(encode(record) + b"\n" for record in by_python.records)
    for line_decoder in LINE_DECODERS.values():
        as_lines = line_decoder.decode(block)
        assert as_lines.lines == expected
        assert (as_lines.records, repr(as_lines.notices)) == ([], repr(by_python.notices))
    return by_c


def decode(*payloads: bytes) -> Decoded:
    return decode_block(block_of(*payloads))


def record_of(frame: bytes) -> Record:
    (record,) = decode(frame).records
    return record


def reason_of(frame: bytes) -> str:
    (located,) = decode(frame).notices
    assert isinstance(located.notice, Rejection)
    return located.notice.reason


# Real interpreters


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    if request.param not in interpreters():
        pytest.skip(f"no Python {request.param} on this machine")
    return str(request.param)


def test_every_shape_of_every_pickler_is_decoded_to_its_normal_form(version: str) -> None:
    wrong = []
    frames = shapes.frames(version)
    for shape, how, data in frames:
        record = record_of(data)
        extra = json.loads(record.extra)
        message = "user bob" if how == "socket" else "m"
        if (
            {"x"} != set(extra)
            or not shapes.accepts(shape, extra["x"])
            or record.message != message
        ):
            wrong.append((shape, how, record.extra[:200]))
    assert wrong == []
    assert len({shape for shape, _, _ in frames}) > 85
    assert len({how for _, how, _ in frames}) >= 7


def test_a_stock_record_has_every_field(version: str) -> None:
    frame = next(
        data for shape, how, data in shapes.frames(version) if (shape, how) == ("text", "socket")
    )
    actual = record_of(frame)
    expected = {
        "levelno": 30,
        "levelname": "WARNING",
        "name": "app.db",
        "message": "user bob",
        "pathname": "/srv/app.py",
        "filename": "app.py",
        "module": "app",
        "lineno": 12,
        "funcName": "run",
        "processName": "MainProcess",
        "threadName": "MainThread",
        "taskName": None,
        "exc_text": None,
        "stack_info": None,
        "host": "127.0.0.1",
        "received": 1.5,
        "extra": '{"x":"plain"}',
    }
    fields = actual._asdict()
    assert expected == {name: fields[name] for name in expected}
    assert abs(actual.created - time.time()) < 600
    assert actual.process and actual.thread


# The oracle: plain data as pickle reads it, in normal form by a second implementation


def normal(value: Any) -> Any:
    match value:
        case bytes() | bytearray():
            return bytes(value).decode("utf-8", "backslashreplace").replace("\0", "\\x00")
        case str():
            return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
        case float() if not math.isfinite(value):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
        case list() | tuple() | set() | frozenset():
            return [normal(each) for each in value]
        case dict():
            return {normal(key): normal(each) for key, each in value.items()}
    return value


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]))
    | st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner, inner)
        | st.dictionaries(st.text(st.characters(exclude_characters="\0\\")), inner)
        | st.frozensets(st.integers(), max_size=1)
        | st.sets(st.text(max_size=5), max_size=1)
    ),
    max_leaves=25,
)
PICKLERS: list[Callable[..., bytes]] = [pickle.dumps, pickle._dumps]  # type: ignore[attr-defined]


@settings(deadline=None)
@given(value=VALUES, protocol=st.integers(0, 5), dumps=st.sampled_from(PICKLERS))
def test_plain_data_is_decoded_as_pickle_reads_it(
    value: Any, protocol: int, dumps: Callable[..., bytes]
) -> None:
    frame = dumps({"msg": "m", "x": value}, protocol)
    expected = {"x": normal(pickle.loads(frame)["x"])}
    assert repr(expected) == repr(json.loads(record_of(frame).extra))


# Arbitrary bytes


def check_any(frame: bytes) -> None:
    """Check that a frame gives a record or a documented rejection, and the next is read."""
    decoded = decode(frame, GOOD)
    assert decoded.records[-1].message == "unharmed"
    assert len(decoded.records) + len(decoded.notices) == 2
    for located in decoded.notices:
        note = located.notice
        assert isinstance(note, Rejection)
        assert note.reason.startswith(REASONS)
        assert (PEER, len(frame), frame[:4096]) == (note.peer, note.length, note.raw)
    for record in decoded.records:
        json.loads(record.extra)
        for text in record:
            if isinstance(text, str):
                assert "\0" not in text
                text.encode()


@settings(deadline=None)
@given(st.binary(max_size=300))
@example(b"")
@example(b"{")
@example(b"{}")
@example(b"\x80")
def test_any_bytes_give_a_record_or_a_rejection(frame: bytes) -> None:
    check_any(frame)


OPCODES = (
    b"(.01NKMJGXUTCB}])tlde\x85\x86\x87asu\x8fpqrghjILFSVcoibR\x81\x92\x93\x94\x8a\x8c\x80\n\0\1\2"
)


@settings(deadline=None)
@given(st.lists(st.sampled_from([OPCODES[i : i + 1] for i in range(len(OPCODES))]), max_size=60))
def test_any_opcodes_give_a_record_or_a_rejection(opcodes: list[bytes]) -> None:
    check_any(b"".join(opcodes))
    check_any(b"}X\x01\0\0\0x" + b"".join(opcodes) + b"s.")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**9))
def test_any_mutation_of_a_real_frame_gives_a_record_or_a_rejection(seed: int) -> None:
    chance = random.Random(seed)
    frames = [f for f in shapes.frames(max(interpreters())) if len(f.data) < 3000]
    frame = bytearray(chance.choice(frames).data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(frame))
        match chance.randrange(4):
            case 0:
                frame[at] = chance.randrange(256)
            case 1:
                frame[at] = chance.choice(OPCODES)
            case 2:
                del frame[at : at + chance.randrange(1, 5)]
                frame = frame or bytearray(b"N")
            case _:
                frame[at:at] = chance.choice(frames).data[: chance.randrange(1, 80)]
    check_any(bytes(frame))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_takes_little_time_and_harms_no_other_frame(attack: str, engine: str) -> None:
    frame, reason = ATTACKS[attack]
    block = block_of(frame, GOOD)
    started = time.process_time()
    decoded = DECODERS[engine].decode(block)
    assert time.process_time() - started < BOUND
    assert decoded.records[-1].message == "unharmed"
    found = "".join(located.notice.reason for located in decoded.notices)
    assert found.startswith(reason) and bool(found) == bool(reason)
    if not reason:
        assert decoded.records[0].message == ("" if frame.startswith(b"{") else "hi")
        assert len(decoded.records[0].extra) < 8 << 20


@pytest.mark.parametrize("attack", SMALL_ATTACKS)
def test_both_engines_give_the_same_for_an_attack(attack: str) -> None:
    decode(SMALL_ATTACKS[attack][0], GOOD)


def test_a_block_of_attacks_harms_none_of_the_records_between_them() -> None:
    frames = [frame for frame, _ in attacks(1 << 14).values()]
    decoded = decode(GOOD, *(each for frame in frames for each in (frame, GOOD)))
    unharmed = [record.idx for record in decoded.records if record.message == "unharmed"]
    assert unharmed == list(range(0, 2 * len(frames) + 1, 2))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("opcode", [b"\x82\x01", b"\x83\x01\0", b"\x84\x01\0\0\0"])
def test_an_extension_that_copyreg_has_cached_is_rejected(
    opcode: bytes, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unpickler does not call `find_class` for it: it takes the object from the cache."""
    monkeypatch.setitem(copyreg._inverted_registry, 1, ("os", "system"))  # type: ignore[attr-defined]
    monkeypatch.setitem(copyreg._extension_cache, 1, os.system)  # type: ignore[attr-defined]
    assert pickle.loads(opcode + b".") is os.system
    frame = b"}(X\3\0\0\0msgX\2\0\0\0hiX\1\0\0\0x" + opcode + b"u."
    decoded = DECODERS[engine].decode(block_of(frame, GOOD))
    assert [record.message for record in decoded.records] == ["unharmed"]
    (rejected,) = decoded.notices
    assert rejected.notice.reason.startswith("forbidden opcode EXT")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("attack", SMALL_ATTACKS)
def test_an_attack_takes_memory_in_proportion_to_its_length(attack: str, engine: str) -> None:
    """This is the memory of Python; `test_translator_bounds.py` measures that of C."""
    frame, _ = SMALL_ATTACKS[attack]
    block = block_of(frame)
    tracemalloc.start()
    try:
        DECODERS[engine].decode(block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (10 << 20) + 40 * len(frame)


@pytest.mark.parametrize("name", ["msg", "x"])
def test_the_record_of_a_short_frame_is_short_whatever_its_aliases_and_escapes(name: str) -> None:
    """2.9 KB that would become 12 MB: a list of 724 times the same 1,448 control characters."""
    key = b"X" + len(name).to_bytes(4, "little") + name.encode()
    text = b"X" + (1448).to_bytes(4, "little") + b"\1" * 1448 + b"q\0"
    frame = b"}" + key + b"](" + text + b"h\0" * 723 + b"es."
    record = record_of(frame)
    assert len(frame) < 3000
    assert len(json.dumps(record.message)) + len(record.extra) < 32 * len(frame)


def test_work_for_shared_containers_is_bounded_by_the_length_of_the_frame() -> None:
    """305 bytes that mean a thousand million lists; 20,000 of them would be 20 ms of work."""
    for name in ("billion laughs", "hash bomb through the memo"):
        frame, _ = ATTACKS[name]
        record = record_of(frame)
        assert len(frame) < 700
        assert "!cut" in record.extra or "… [cut: " in record.extra
        assert record.extra.count("[") < len(frame) + 64


def test_reading_takes_time_in_proportion_to_the_frame() -> None:
    def seconds(frame: bytes) -> float:
        def once() -> float:
            started = time.process_time()
            decode(frame)
            return time.process_time() - started

        return min(once() for _ in range(3))

    def frame(count: int) -> bytes:
        return b"}X\x01\0\0\0x(" + b"\x8f" * count + b"X\x02\0\0\0abM\xff\xff" * count + b"ls."

    assert seconds(frame(160_000)) < 16 * seconds(frame(20_000)) + 0.05


# JSON


def test_a_json_object_is_a_record_by_the_same_names() -> None:
    sent = {"message": "m", "levelname": "ERROR", "created": 5, "lineno": "7", "user": {"id": [1]}}
    actual = record_of(json.dumps(sent).encode())
    fields = (actual.message, actual.levelno, actual.created, actual.lineno)
    assert fields == ("m", 40, 5.0, 7)
    assert actual.extra == '{"user":{"id":[1]}}'


def test_json_that_python_reads_beyond_the_standard_is_stored_in_the_normal_form() -> None:
    frame = b'{"a":NaN,"b":-Infinity,"c":1e999,"d":"\\ud800\\u0000","e":1,"e":2,"f":%d}' % (10**20)
    expected = {"a": "NaN", "b": "-Infinity", "c": "Infinity", "d": "\\ud800\\x00", "e": 2}
    assert expected | {"f": 10**20} == json.loads(record_of(frame).extra)


def test_json_integers_over_the_bound_are_cut_to_text() -> None:
    extra = json.loads(record_of(b'{"a":' + b"7" * 4096 + b',"b":-' + b"7" * 4097 + b"}").extra)
    assert int("7" * 4096) == extra["a"]
    assert extra["b"] == "-" + "7" * 31 + "… [cut: an integer of 4097 digits]"


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"{", "malformed JSON: Expecting property name enclosed in double quotes"),
        (b"{} {}", "malformed JSON: Extra data"),
        (b'{"a":"\xff"}', "malformed JSON: text is not UTF-8"),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "malformed JSON: nested too deep"),
        (b"[]", "malformed pickle: unknown opcode"),
    ],
)
def test_json_that_is_no_object_is_rejected(frame: bytes, reason: str) -> None:
    assert reason == reason_of(frame)


def test_json_deeper_than_the_normal_form_is_cut_not_rejected() -> None:
    brackets = b'"[{' * 500
    frame = b'{"a":' + b"[" * 150 + b"]" * 150 + b',"b":' + brackets[:3] + b'[]"}'
    assert '{"!cut":"depth"}' in record_of(frame).extra
    assert "[{" * 400 in record_of(b'{"a":"' + b"[{" * 400 + b'"}').extra


# Blocks


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
    decoded = decode_block(block)
    assert block is decoded.block
    assert [(each.idx, each.host) for each in decoded.records] == [(0, "127.0.0.1"), (5, "::1")]
    assert {(96, 1.5)} == {(each.offset, each.received) for each in decoded.records}
    assert [
        Located(1, Rejection(PEER, "malformed pickle: truncated", 4, b"junk", 1, 1.5)),
        Located(2, loss, by_receiver=True),
        Located(3, rejected, by_receiver=True),
        Located(4, Rejection("[::1]:9", "not a record: nonetype", 2, b"N.", 1, 1.5)),
    ] == decoded.notices


def test_decoding_a_block_again_gives_the_same_result() -> None:
    payloads = [f.data for f in shapes.frames(max(interpreters())) if f.how == "socket"]
    block = block_of(*payloads, b"junk")
    assert repr(decode_block(block)) == repr(decode_block(block))


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


def test_a_traceback_is_stored_as_it_was_formatted() -> None:
    record = logging.LogRecord("app", 40, "/a.py", 1, "failed", None, None)
    try:
        raise ValueError("no")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    handler = logging.handlers.SocketHandler("localhost", 0)
    actual = record_of(handler.makePickle(record)[4:])
    assert actual.exc_text and actual.exc_text.endswith("ValueError: no")
    assert actual.extra == "{}"
