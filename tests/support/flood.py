"""A flooding client: `python flood.py PORT KIND MEGABYTES [new]`; 0 megabytes: until killed.

It sends whole frames as fast as the server reads them, a megabyte per call, and closes. With `new`
it opens a new connection for each 64 KiB, until killed.
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
    """Return a frame of this kind, with its length."""
    if kind == "plain":
        return stock_frame("one of very many " * 5, kind="flood", user=7)
    if kind == "fallback":
        return stock_frame("one of very many", kind="flood", odd=1 << 70)
    if kind == "empty":
        return bytes(4)
    worst = attacks(1000)["an object of tuples of tuples"][0]
    return len(worst).to_bytes(4, "big") + worst


def frames_in_a_megabyte(kind: str) -> int:
    """Return the number of whole frames of this kind in a megabyte."""
    return MEGABYTE // len(frame_of(kind))


def flood_new_connections(port: int, frame: bytes) -> NoReturn:
    stream = frame * ((64 << 10) // len(frame))
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(stream)  # fails while the server has too many connections


def main(port: str, kind: str, megabytes: str, new: str = "") -> None:
    if new:
        flood_new_connections(int(port), frame_of(kind))
    stream = frame_of(kind) * frames_in_a_megabyte(kind)
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        remaining = int(megabytes) or -1
        while remaining:
            connection.sendall(stream)
            remaining -= 1


if __name__ == "__main__":
    main(*sys.argv[1:])
