"""Seeds of fuzz_session.c and fuzz_protocol.c: `python tests/fuzz/seeds.py` writes their corpora.

The formats are at the top of those two files.
"""

from __future__ import annotations

import pickle
import struct
import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

from protocol_client import AUTH, BATCH, BYE, CRC, GAP, HELLO, batch, bye, frame, gap  # noqa: E402

_RECORD = {"msg": "hi", "name": "app", "levelno": 20, "levelname": "INFO", "created": 1.5}
_PICKLE = pickle.dumps(_RECORD, 1)
_JSON = b'{"msg":"hi","levelno":20}'
_TWO, _THREE = [_PICKLE, b""], [b"a", b"bb", b"ccc"]
_LAST = (1 << 48) - 1

FRAMES: dict[str, bytes] = {
    "batch-pickle": batch(1, [_PICKLE], crc=False),
    "batch-json": batch(1, [_JSON], crc=False, format=1),
    "batch-checked": batch(1, _TWO),
    "batch-known-in-part": batch(1, _TWO) + batch(2, _THREE) + batch(3, _THREE),
    "batch-hole": batch(2, _THREE, crc=False),
    "batch-wrong-checksum": batch(1, _THREE, crc32=1),
    "batch-wrong-count": batch(1, _THREE, crc=False, count=2),
    "batch-wrong-length": batch(1, _THREE, crc=False, raw_length=9),
    "batch-wrong-format": batch(1, _THREE, crc=False, format=2),
    "batch-wrong-codec": batch(1, _THREE, crc=False, codec=1),
    "batch-empty": batch(1, [], crc=False),
    "batch-zero": batch(0, _THREE, crc=False),
    "batch-last": batch(_LAST, [b"x"], crc=False),
    "batch-beyond-the-last": batch(_LAST, _THREE, crc=False),
    "batch-record-over-the-limit": batch(1, [bytes(5000)], crc=False)[:400],
    "batch-too-short": frame(BATCH, bytes(15)) + frame(BATCH, b"", CRC),
    "batch-unknown-flag": frame(BATCH, bytes(16), 2),
    "gap": gap(1, 5) + gap(4, 9, reason=3),
    "gap-backwards": gap(3, 2),
    "gap-zero": gap(0, 2),
    "gap-widest": gap(1, 1 << 40),
    "gap-too-wide": gap(1, (1 << 40) + 1),
    "gap-last": gap(_LAST - 1, _LAST),
    "gap-beyond-the-last": gap(_LAST, _LAST + 1),
    "gap-too-short": frame(GAP, bytes(32)),
    "bye": batch(1, _THREE) + bye(3),
    "bye-too-early": bye(1),
    "bye-too-short": frame(BYE, bytes(7)),
    "partial-header": b"\xfaW\x10\0\0",
    "other-magic": b"\xfaX" + bytes(6),
    "out-of-turn": frame(0x20, bytes(13)),
}
"""Frames of an admitted client, valid and invalid."""


def _steps(frames: bytes) -> bytes:
    """Return steps of fuzz_session.c: after each frame, the journal stores it and is durable."""
    steps, offset = b"\x10", 0
    while frames:
        length = 8 + int.from_bytes(frames[4:8], "big")
        offset += 50
        steps += b"F" + frames[:length] + b"J" + bytes([50]) + b"S" + offset.to_bytes(2, "big")
        frames = frames[length:]
    return steps


def session() -> dict[str, bytes]:
    """Return the seeds of fuzz_session.c by name."""
    seeds = {name: _steps(frames) for name, frames in FRAMES.items()}
    one, two = batch(1, _THREE, crc=False), batch(4, _TWO, crc=False)
    seeds["rejected"] = b"\x10F" + one + b"J\x05F" + two + b"DF" + two + b"J\x05S\0\x0a"
    seeds["late"] = (
        b"\x10F" + one + b"J\x05F" + two + b"J\x05F" + gap(6, 8) + b"J\x05S\0\x04S\0\xff"
    )
    seeds["again"] = b"\x10F" + one + b"J\x05B\x02F" + one + b"J\x05S\0\x0a"
    kept = [
        b"F" + gap(n, n) + b"J\x01" for n in range(1, 10)
    ]  # more pending blocks than the ring has at first
    seeds["ring-that-grows"] = b"\x10" + b"".join(
        [*kept[:3], b"S\0\x02", *kept[3:], b"S\0\x04S\0\x09"]
    )
    seeds["checked"] = b"\x10C" + batch(1, _THREE, crc32=1) + b"J\x05S\0\x05"
    written = struct.pack(">HBQB", 4, 1, 17, 5) + b"hello"
    seeds["written"] = b"\x10W" + written + b"W" + written[:-6] + b"\xff" + b"t" * 255
    return seeds


def _input(
    stream: bytes,
    *,
    flags: int = 0,
    limit: int = 15,
    step: int = 255,
    stores: int = 0xFF,
    rejects: int = 0,
    syncs: int = 0xFF,
    at: int = 0,
    fill: int = 0,
) -> bytes:
    return struct.pack(">6BHH", flags, limit, step, stores, rejects, syncs, at, fill) + stream


_HELLO = frame(
    HELLO,
    struct.pack(">BBH16sQQQ", 1, 1, 3, b"i" * 16, 1, 1, 1)
    + struct.pack(">16sI16sB", bytes(16), 1 << 20, b"n" * 16, 0),
)


def _large() -> bytes:
    """Return a batch of one record of 40,000 bytes, after a small batch."""
    small = _HELLO + batch(1, [b"small"], crc=False)
    head = struct.pack(">QHBBII", 2, 1, 0, 0, 40_004, 40_000)
    stream = small + struct.pack(">2sBBI", b"\xfaW", BATCH, 0, len(head) + 40_000) + head
    return _input(stream + bye(2), limit=255, at=len(stream), fill=40_000)


def protocol() -> dict[str, bytes]:
    """Return the seeds of fuzz_protocol.c by name."""
    frames = _HELLO + batch(1, _THREE) + gap(4, 6) + batch(5, _TWO) + batch(7, [_JSON], format=1)
    stock = struct.pack(">I", len(_PICKLE)) + _PICKLE
    large_stock = struct.pack(">I", 50_000)
    return {
        "bye": _input(frames + bye(7)),
        "byte-by-byte": _input(frames + bye(7), step=0),
        "cut": _input(frames[:-5]),
        "known-already": _input(frames, flags=0x40),
        "late-journal": _input(frames, step=20, stores=0x11, syncs=0x80),
        "no-journal": _input(frames, step=20, stores=0, syncs=0),
        "rejected": _input(frames, step=40, stores=0x0F, rejects=0xF0),
        "proved": _input(_HELLO + frame(AUTH, bytes(32)) + frames[len(_HELLO) :], flags=1),
        "proof-out-of-turn": _input(_HELLO + batch(1, _TWO), flags=1),
        "hello-twice": _input(_HELLO * 2),
        "hello-too-long": _input(frame(HELLO, bytes(513))),
        "hello-short": _input(frame(HELLO, b"")),
        "batch-first": _input(batch(1, _TWO)),
        "frame-over-the-limit": _input(_HELLO + frame(BATCH, b"")[:4] + b"\0\xff\0\0"),
        "large": _large(),
        "malformed": _input(_HELLO + FRAMES["batch-wrong-count"]),
        "hole": _input(_HELLO + FRAMES["batch-hole"]),
        "bye-too-early": _input(_HELLO + bye(1)),
        "stock": _input(stock * 3, step=10),
        "stock-cut": _input(stock + stock[:9]),
        "stock-over-the-limit": _input(stock + b"\0\xff\xff\xff"),
        "stock-large": _input(
            stock + large_stock + stock, limit=255, at=len(stock) + 4, fill=50_000
        ),
        "http": _input(b"GET / HTTP/1.1\r\n\r\n"),
        "nothing": _input(b""),
    }


SEEDS = {"session": session, "protocol": protocol}

if __name__ == "__main__":
    for target, seeds in SEEDS.items():
        (CORPUS / target).mkdir(exist_ok=True)
        for name, seed in seeds().items():
            (CORPUS / target / name).write_bytes(seed)
