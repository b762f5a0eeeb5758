"""The translator rejects malformed pickles and forbidden opcodes for the same reason as Python."""

from __future__ import annotations

import pytest
from translations import is_plain, verdict_of

from fastlog.core import verdict_text

REJECTED = [
    (b"", "no STOP"),
    (b"N", "no STOP"),
    (b"X\6\0\0\0abcd.", "truncated"),
    (b"\x8c", "truncated"),
    (b"h", "truncated"),
    (b"q", "truncated"),
    (b"j\0\0\0", "truncated"),
    (b"G\0\0\0\0\0\0\0", "truncated"),
    (b"I5", "truncated"),
    (b"cos\nsystem", "truncated"),
    (b"e.", "stack underflow"),
    (b"]a.", "stack underflow"),
    (b"(q\0.", "stack underflow"),
    (b"(q\2.", "stack underflow"),
    (b"(r\2\0\0\0.", "stack underflow"),
    (b"N(\x85.", "stack underflow"),
    (b"NNNr\xff\0\0\0.", "memo index out of bounds"),
    (b"h\0.", "memo slot not set"),
    (b"X\2\0\0\0\xc3(.", "text is not UTF-8"),
    (b"X\1\0\0\0\xc3\x85.", "text is not UTF-8"),
    (b"X\2\0\0\0\xe2\x82\x85.", "text is not UTF-8"),
    (b"X\3\0\0\0\xf0\x9f\x93\x85.", "text is not UTF-8"),
    (b"\x95\2\0\0\0\0\0\0\0X\0\0\0\0.", "truncated"),
    (b"\x95\x0b\0\0\0\0\0\0\0\x95\1\0\0\0\0\0\0\0N.", "nested frame"),
    (b"\x95\0\0\0\0\0\0\0\0N.", "frame length"),
    (b"\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", "frame length"),
    (b"\x80\6N.", "unknown protocol"),
    (b"N..", "bytes behind STOP"),
    (b"N(.", "open mark"),
    (b"N(N.", "open mark"),
    (b"NN.", "not one value"),
    (b".", "not one value"),
    (b"I05\n.", "not a number"),
    (b"I+5\n.", "not a number"),
    (b"I\n.", "not a number"),
    (b"I-\n.", "not a number"),
    (b"I5L\n.", "not a number"),
    (b"L5\n.", "not a number"),
    (b"I 5\n.", "not a number"),
    (b"\x8b\xff\xff\xff\xffN.", "negative length"),
    (b"T\0\0\0\x80N.", "negative length"),
    (b"S'a\n.", "string without quotes"),
    (b"S'\n.", "string without quotes"),
    (b"Sa\n.", "string without quotes"),
    (b"S'\\xAB'\n.", "string without quotes"),
    (b"S'\\q'\n.", "string without quotes"),
    (b"V\\u12\n.", "text is not UTF-8"),
    (b"V\\U00110000\n.", "text is not UTF-8"),
    (b"F1.5.\n.", "not a number"),
    (b"F1e\n.", "not a number"),
    (b"Finfinity\n.", "not a number"),
    (b"p0\n.", "stack underflow"),
    (b"Np1234567\n.", "memo index out of bounds"),
    (b"Np\n.", "memo index out of bounds"),
    (b"g5\n.", "memo slot not set"),
    (b"0.", "stack underflow"),
    (b"1.", "stack underflow"),
    (b"(o.", "stack underflow"),
    (b"(Nd.", "key without a value"),
    (b"NN\x93.", "global without a name"),
    (b"N)R.", "call of what is no global"),
    (b"ca\nb\n]R.", "arguments that are no tuple"),
    (b"ca\nb\n)]\x92.", "arguments that are no tuple"),
    (b"]Nb.", "BUILD of what is no object"),
    (b"}(Nu.", "key without a value"),
    (b"NNa.", "APPEND to what is no list"),
    (b"](NNu.", "SETITEM in what is no dict"),
    (b"](N\x90.", "ADDITEMS to what is no set"),
    (b"\xff.", "unknown opcode"),
]
FORBIDDEN = {
    "2": "DUP",
    "P": "PERSID",
    "Q": "BINPERSID",
    "\x82": "EXT1",
    "\x83": "EXT2",
    "\x84": "EXT4",
    "\x97": "NEXT_BUFFER",
    "\x98": "READONLY_BUFFER",
}


@pytest.mark.parametrize(("frame", "reason"), REJECTED, ids=[repr(f)[2:-1] for f, _ in REJECTED])
def test_a_malformed_pickle_is_rejected_for_the_same_reason(frame: bytes, reason: str) -> None:
    assert not is_plain(frame)
    assert verdict_text(verdict_of(frame)) == f"malformed pickle: {reason}"


@pytest.mark.parametrize("opcode", FORBIDDEN)
def test_a_forbidden_opcode_is_rejected_by_name(opcode: str) -> None:
    frame = b"N" + opcode.encode("latin-1") + b"."
    assert not is_plain(frame)
    assert verdict_text(verdict_of(frame)) == f"forbidden opcode {FORBIDDEN[opcode]}"
