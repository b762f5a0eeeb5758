"""The framer against a small reference in Python, for any chunks; and the checksums."""

from __future__ import annotations

import itertools
import random
import shutil
import socket
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conditions import wait_for
from hypothesis import given
from hypothesis import strategies as st
from places import ROOT
from senders import stock_frame

from fastlog import FRAME_LIMIT, FrameError, Framer
from fastlog.core import crc32c


def encode(frames: list[bytes]) -> bytes:
    return b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)


def reference(stream: bytes, limit: int) -> tuple[list[bytes], bool]:
    """Return the frames of a stream, and whether an announced length is over the limit."""
    frames, at = [], 0
    while len(stream) - at >= 4:
        (length,) = struct.unpack_from(">I", stream, at)
        if length > limit:
            return frames, True
        if len(stream) - at - 4 < length:
            break
        frames.append(stream[at + 4 : at + 4 + length])
        at += 4 + length
    return frames, False


def chunked(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    return [stream[a:b] for a, b in itertools.pairwise(places)]


def split(chunks: list[bytes], limit: int) -> tuple[list[bytes], bool]:
    framer, frames = Framer(limit), []
    try:
        for chunk in [*chunks, b""]:
            frames += framer.feed(chunk)
    except FrameError:
        return frames, True
    return frames, False


@given(
    frames=st.lists(st.binary(max_size=300), max_size=200),
    rest=st.binary(max_size=20),
    cuts=st.lists(st.integers(0, 20_000), max_size=30),
)
def test_any_chunking_of_any_frames_equals_the_reference(
    frames: list[bytes], rest: bytes, cuts: list[int]
) -> None:
    stream = encode(frames) + rest
    assert split(chunked(stream, cuts), 250) == reference(stream, 250)


@given(stream=st.binary(max_size=200))
def test_random_bytes_one_by_one_give_the_same_as_all_at_once(stream: bytes) -> None:
    pieces = [stream[i : i + 1] for i in range(len(stream))]
    assert split(pieces, 1000) == split([stream], 1000) == reference(stream, 1000)


@pytest.mark.parametrize("limit", [1, 1000, 1 << 20, FRAME_LIMIT])
def test_the_limit_is_exact(limit: int) -> None:
    for length in {limit - 1, limit} - {0}:
        assert Framer(limit).feed(encode([bytes(length)])) == [bytes(length)]
    framer = Framer(limit)
    with pytest.raises(FrameError, match=str(limit)):
        framer.feed(struct.pack(">I", limit + 1))


def test_frames_before_an_error_are_returned_and_the_error_is_sticky() -> None:
    framer = Framer(10)
    assert framer.feed(encode([b"good", bytes(11)])) == [b"good"]
    for _ in range(2):
        with pytest.raises(FrameError, match="over the limit of 10 bytes"):
            framer.feed(encode([b"more"]))
    with pytest.raises(FrameError, match="over the limit"):
        framer.end()


def test_an_end_inside_a_frame_is_an_error() -> None:
    framer = Framer()
    framer.feed(encode([b"abc"]))
    framer.end()
    framer.feed(encode([b"abc"])[:-1])
    with pytest.raises(FrameError, match="ended inside a frame"):
        framer.end()


def test_nothing_is_allocated_for_an_announced_length() -> None:
    """A thousand framers get a length of 16 MB and 100 bytes each."""
    script = """
import resource
from fastlog import FRAME_LIMIT, Framer
framers = [Framer(FRAME_LIMIT) for _ in range(1000)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for framer in framers:
    framer.feed(FRAME_LIMIT.to_bytes(4, "big") + bytes(100))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert int(out.stdout) < 8 * 1024  # KiB


@pytest.mark.parametrize("limit", [0, -1, FRAME_LIMIT + 1])
def test_a_limit_out_of_range_is_rejected(limit: int) -> None:
    with pytest.raises(ValueError, match="max_frame"):
        Framer(limit)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_crc32c_continues_where_it_stopped(first: bytes, second: bytes) -> None:
    assert crc32c(second, crc32c(first)) == crc32c(first + second)


@pytest.mark.parametrize(
    ("data", "crc"),
    [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (b"", 0)],
)
def test_crc32c_of_the_test_vectors_of_rfc_3720(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc


@pytest.mark.parametrize("length", [3071, 3072, 3073, 6143, 6144, 9999, 300_000])
def test_crc32c_of_long_data_equals_that_of_its_pieces(length: int) -> None:
    data = random.Random(length).randbytes(length + 3)[3:]
    crc = 0
    for at in range(0, length, 1000):  # shorter than what the parallel code needs
        crc = crc32c(data[at : at + 1000], crc)
    assert crc32c(data) == crc


def test_two_files_are_enough_to_embed_it_in_a_c_program(tmp_path: Path) -> None:
    """Built from framer.c and framer.h alone; its input ends at a protected page."""
    program = tmp_path / "embed"
    compiler = sysconfig.get_config_var("CC").split()[0]
    for name in ("framer.c", "framer.h"):
        shutil.copy(ROOT / "csrc/framer" / name, tmp_path)
    subprocess.run(
        [compiler, "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1", "-g",
         f"-I{tmp_path}", tmp_path / "framer.c", ROOT / "tests/support/embed_framer.c",
         "-o", program],
        check=True,
    )  # fmt: skip
    out = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (out.returncode, out.stdout) == (0, "ok\n"), out.stderr


def test_the_example_splits_what_a_stock_handler_sends_under_asyncio() -> None:
    """Run examples/asyncio_listener.py on a free port."""
    source = (ROOT / "examples" / "asyncio_listener.py").read_text()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert source.count("9021") == 2
    with subprocess.Popen(
        [sys.executable, "-c", source.replace("9021", str(port))],
        stdout=subprocess.PIPE,
        text=True,
    ) as example:
        try:
            client = wait_for(lambda: _connected(port))
            frame = stock_frame()
            client.sendall(frame + b"\xff\xff\xff\xff")
            assert example.stdout is not None
            assert example.stdout.readline() == f"a frame of {len(frame) - 4} bytes\n"
            client.sendall(b"!")
            assert example.stdout.readline().startswith("closing: frame over the limit")
            client.close()
        finally:
            example.kill()


def _connected(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port), 5)
    except ConnectionRefusedError:
        return None
