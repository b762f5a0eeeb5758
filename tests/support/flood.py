"""A process that floods: `python flooding.py PORT KIND MEGABYTES`; 0 megabytes: until killed.

It sends a megabyte of whole frames a call, as fast as it is let, and then closes. With `new` behind
the arguments: over ever new connections, 64 KiB on each, until killed.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from typing import NoReturn

from attacks import attacks
from senders import stock_frame

MEGABYTE = 1 << 20


def frame_of(kind: str) -> bytes:
    """A frame with its length."""
    if kind == "plain":
        return stock_frame("one of very many " * 5, kind="flood", user=7)
    if kind == "foreign":
        return stock_frame("one of very many", kind="flood", odd=1 << 70)
    if kind == "empty":
        return bytes(4)
    worst = attacks(1000)["an object of tuples of tuples"][0]
    return len(worst).to_bytes(4, "big") + worst


def frames_in_a_megabyte(kind: str) -> int:
    return MEGABYTE // len(frame_of(kind))


def flood_anew(port: int, frame: bytes) -> NoReturn:
    stream = frame * ((64 << 10) // len(frame))
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(stream)  # rejected while the server has no place for another


def main(port: str, kind: str, megabytes: str, new: str = "") -> None:
    if new:
        flood_anew(int(port), frame_of(kind))
    stream = frame_of(kind) * frames_in_a_megabyte(kind)
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        left = int(megabytes) or -1
        while left:
            connection.sendall(stream)
            left -= 1


if __name__ == "__main__":
    main(*sys.argv[1:])
