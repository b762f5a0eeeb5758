# -*- coding: utf-8 -*-
"""Entries of the files of a spool: a record or a gap, with its number and a checksum."""

from __future__ import absolute_import, division, print_function

import struct

from fastlog_client.compat import crc32
from fastlog_client.gap import REASONS, Gap

ENTRY = struct.Struct(
    ">4sQI"
)  # mark, number, length or IS_GAP; then the crc32 of all, and the data
ENTRY_MARK = b"\xfaSE1"
IS_GAP = 0xFFFFFFFF
SPOOLED_GAP = struct.Struct(">QBQQ")  # count, reason, t0, t1
CRC = struct.Struct(">I")
GAP_ENTRY_BYTES = ENTRY.size + CRC.size + SPOOLED_GAP.size
MAX_NUMBER = 1 << 40
"""Above every number that a process reaches; so no gap is longer than the protocol allows."""
LONGEST_RECORD = (1 << 24) - 1  # bytes that any server accepts


def make_entry(number, length, data):
    """Return the bytes of an entry. The length of a gap is IS_GAP."""
    head = ENTRY.pack(ENTRY_MARK, number, length)
    return head + CRC.pack(crc32(data, crc32(head))) + data


def read_entries(data):
    """Yield the entries in these bytes, also those after damage: (number, record or gap)."""
    for number, entry, _ in read_entries_with_ends(data):
        yield number, entry


def read_entries_with_ends(data):
    """Yield the same entries, each with the offset after it."""
    at = data.find(ENTRY_MARK)
    work = 16 * len(data) + LONGEST_RECORD  # bytes to check of what only looks like an entry
    while at >= 0 and work >= 0:
        begin = at + ENTRY.size + CRC.size
        if begin > len(data):
            return
        _, number, length = ENTRY.unpack_from(data, at)
        (crc,) = CRC.unpack_from(data, at + ENTRY.size)
        end = begin + (SPOOLED_GAP.size if length == IS_GAP else length)
        body = data[begin:end] if end <= len(data) else b""
        if end > len(data) or crc != crc32(body, crc32(data[at : at + ENTRY.size])):
            work -= len(body)
            at = data.find(ENTRY_MARK, at + 1)
            continue
        entry, count = body, 1
        if length == IS_GAP:
            count, reason, t0, t1 = SPOOLED_GAP.unpack(body)
            entry = Gap(reason, t0, t1, count) if reason in REASONS else None
        if entry is not None and 0 < number and 0 < count <= MAX_NUMBER - number:
            yield number, entry, end
        at = data.find(ENTRY_MARK, end)
