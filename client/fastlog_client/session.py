# -*- coding: utf-8 -*-
"""The fastlog protocol over one connection, without I/O."""

from __future__ import absolute_import, division, print_function

import collections
import hashlib
import hmac
import os
import struct

from fastlog_client.compat import crc32
from fastlog_client.errors import ACK_BEYOND_SENT, ConnectionRejected, NewIdNeeded
from fastlog_client.gap import Gap

_HEADER = struct.Struct(">2sBBI")
_MAGIC = b"\xfa\x57"
_HELLO, _CHALLENGE, _AUTH, _WELCOME = 0x01, 0x02, 0x03, 0x04
_BATCH, _GAP, _ACK, _NOTICE, _ERROR, _BYE = 0x10, 0x11, 0x20, 0x40, 0x4F, 0x50
_HELLO_HEAD = struct.Struct(">BBH16sQQQ16sI16sB")
_WELCOME_HEAD = struct.Struct(">BBH16sQIIIHH")
_BATCH_HEAD = struct.Struct(">QHBBI")
_GAP_BODY = struct.Struct(">QQBQQ")
_ACK_BODY = struct.Struct(">QIB")
_NOTICE_HEAD = struct.Struct(">BH")
_ERROR_HEAD = struct.Struct(">HBQ")
_BYE_BODY = struct.Struct(">Q")
LENGTH = struct.Struct(">I")
CRC = struct.Struct(">I")

_VERSION = 1
_CAN_CRC, _IS_PERSISTENT = 1, 2
_CLOSING = 1
RETRY, FIX_CONFIG, NEW_ID = range(3)
_MAX_ANSWER = 4096  # bytes; the longest answer of a server is an error of 200
_MAX_FRAME = 1 << 24
_BATCH_BYTES = 64 * 1024
_SMALL_WINDOW = 16 * 1024  # bytes; a smaller rest of the window waits while batches are in flight
_LONGEST_TEXT = 200  # characters of a text of the server that are shown


class Session(object):
    """The client's side of one connection, without the socket.

    Pass received bytes to `receive`; send `to_send()` and report it to `sent`; call `fill` when
    there may be more to send. The session begins with a HELLO, and sends nothing else before the
    server's WELCOME (`is_ready`). After its NOTICE (`retry_ms` is set) it sends nothing more.

    Args:
        key: (id, secret) as bytes, or None.
        now: monotonic seconds, as everywhere in this package.
    """

    def __init__(self, store, key, now):
        self._store, self._key = store, key
        self.received_at = now  # when the last frame was received
        self.is_ready = False
        self.retry_ms = None
        self.node = None
        self.resent = 0  # records that were sent over another connection
        self.batches = 0
        self.has_progressed = False
        self.sent_bye = False
        self.keepalive = 5.0
        self._window = 0
        self._in_flight = 0  # payload bytes of the batches that are not acknowledged
        self._batches = collections.deque()  # of those: (last number, payload bytes)
        self._in = b""
        self._out = collections.deque()
        self._nonce = os.urandom(16)
        self._server_nonce = None
        self._hello = self._make_hello()
        self._queue_frame(_HELLO, self._hello)

    # -- sending --

    def to_send(self):
        """Return the next bytes for the server; empty when there are none."""
        return self._out[0] if self._out else b""

    def sent(self, count):
        """Remove the first `count` bytes of `to_send()`: they were sent."""
        if count == len(self._out[0]):
            self._out.popleft()
        else:
            self._out[0] = self._out[0][count:]

    def fill(self, stamp):
        """Queue the next batch or gap, if there is one, it may be sent, and the queue is empty."""
        if self._out or not self.is_ready or self.retry_ms is not None or self.sent_bye:
            return
        room = self._window - self._in_flight - _BATCH_HEAD.size - CRC.size
        must = not self._in_flight and self._window > 0
        if not must and room < _SMALL_WINDOW:
            room = 0
        what = self._store.take(min(_BATCH_BYTES, room), must, self._max_record, stamp)
        if what is None:
            return
        base, content = what
        if content.__class__ is Gap:
            first = base - self._store.shift
            last = first + content.count - 1
            self._queue_frame(
                _GAP, _GAP_BODY.pack(first, last, content.reason, content.t0, content.t1)
            )
        else:
            self._queue_batch(base, content)

    def bye(self):
        """Queue a BYE: the server has acknowledged everything."""
        self.sent_bye = True
        self._queue_frame(_BYE, _BYE_BODY.pack(self._store.next - 1 - self._store.shift))

    def _make_hello(self):
        store, key_id = self._store, self._key[0] if self._key else b""
        capabilities = _CAN_CRC | (_IS_PERSISTENT if store.persistent else 0)
        head = _HELLO_HEAD.pack(
            _VERSION,
            _VERSION,
            capabilities,
            store.client_id,
            store.incarnation,
            store.first - store.shift,
            store.next - store.shift,
            store.acked_by,
            _MAX_FRAME,
            self._nonce,
            len(key_id),
        )
        return head + key_id

    def _queue_frame(self, kind, payload, flags=0):
        self._out.append(_HEADER.pack(_MAGIC, kind, flags, len(payload)) + payload)

    def _queue_batch(self, base, records):
        frames = []
        for record in records:
            frames.append(LENGTH.pack(len(record)))
            frames.append(record)
        frames = b"".join(frames)
        head = _BATCH_HEAD.pack(base - self._store.shift, len(records), 0, 0, len(frames))
        payload, flags = head + frames, 0
        if self._has_crc:
            payload, flags = payload + CRC.pack(crc32(payload)), 1
        self._queue_frame(_BATCH, payload, flags)
        self._batches.append((base + len(records) - 1, len(payload)))
        self._in_flight += len(payload)
        self.batches += 1

    # -- receiving --

    def receive(self, data, now):
        """Handle bytes of the server, in any chunks.

        Raises:
            ConnectionRejected: the connection must be closed.
            NewIdNeeded: another client id is needed as well.
        """
        self._in += data
        while len(self._in) >= _HEADER.size:
            magic, kind, _, length = _HEADER.unpack_from(self._in)
            if magic != _MAGIC or length > _MAX_ANSWER:
                raise ConnectionRejected(RETRY, "the peer does not speak the fastlog protocol")
            end = _HEADER.size + length
            if len(self._in) < end:
                return
            payload, self._in = self._in[_HEADER.size : end], self._in[end:]
            self.received_at = now
            try:
                self._handle_frame(kind, payload)
            except struct.error:
                raise ConnectionRejected(RETRY, "the server sent a frame that is too short")

    def _handle_frame(self, kind, payload):
        if kind == _ERROR:
            code, action, _ = _ERROR_HEAD.unpack_from(payload)
            if action == NEW_ID:
                raise NewIdNeeded("the server requires another client id")
            text = _printable(payload[_ERROR_HEAD.size :])
            raise ConnectionRejected(action, "the server answered: %s (code %d)" % (text, code))
        if self.is_ready:
            if kind == _ACK:
                self._handle_ack(*_ACK_BODY.unpack_from(payload))
            elif kind == _NOTICE:
                code, retry_ms = _NOTICE_HEAD.unpack_from(payload)
                if code == _CLOSING:
                    self.retry_ms = retry_ms
                    self._out.clear()
        elif kind == _CHALLENGE and self._server_nonce is None:
            self._handle_challenge(payload)
        elif kind == _WELCOME:
            self._handle_welcome(payload)
        else:
            raise ConnectionRejected(RETRY, "the server sent a frame out of order")

    def _handle_challenge(self, nonce):
        if self._key is None:
            raise ConnectionRejected(
                FIX_CONFIG, "the server requires a key, and none is configured"
            )
        if len(nonce) != len(
            self._nonce
        ):  # else the server could choose what else the proof is valid for
            raise ConnectionRejected(RETRY, "the server sent a challenge of %d bytes" % len(nonce))
        self._server_nonce = nonce
        self._queue_frame(_AUTH, self._digest(b"fl1c", nonce, self._hello))

    def _handle_welcome(self, payload):
        fields, proof = payload[: _WELCOME_HEAD.size], payload[_WELCOME_HEAD.size :]
        (version, _, capabilities, node, committed) = _WELCOME_HEAD.unpack(fields)[:5]
        _, self._max_record, self._window, _, keepalive = _WELCOME_HEAD.unpack(fields)[5:]
        if version != _VERSION:
            raise ConnectionRejected(
                FIX_CONFIG, "the server chose a version that this client does not support"
            )
        if self._key is not None:
            nonce = self._server_nonce or b""
            right = self._digest(b"fl1s", self._nonce, nonce, self._hello, fields)
            if not nonce or not hmac.compare_digest(right, proof):
                raise ConnectionRejected(
                    FIX_CONFIG, "the server does not prove that it has the key"
                )
        if not self._max_record:
            raise ConnectionRejected(FIX_CONFIG, "the server accepts records of 0 bytes only")
        last = committed + self._store.shift
        if last < self._store.first - 1:  # it would reject everything after that hole
            raise NewIdNeeded("the server forgot what it had acknowledged")
        self.node = node
        self.keepalive = keepalive or 5.0
        self._has_crc = bool(capabilities & _CAN_CRC)
        self.has_progressed = last >= self._store.first
        self.resent = self._store.rewind(last, node)
        self.is_ready = True

    def _handle_ack(self, committed, window, state):
        last = committed + self._store.shift
        if last >= self._store.cursor:
            raise NewIdNeeded(ACK_BEYOND_SENT, last)
        self._window = window
        if last >= self._store.first:
            self.has_progressed = True
            self._store.ack(last, self.node)
        while self._batches and self._batches[0][0] <= last:
            self._in_flight -= self._batches.popleft()[1]

    def _digest(self, *parts):
        return hmac.new(self._key[1], b"".join(parts), hashlib.sha256).digest()


def _printable(data):
    """Return text of a peer, safe for a terminal and a log: printable ASCII, all else escaped."""
    shown = "".join(chr(c) if 32 <= c < 127 else "\\x%02x" % c for c in bytearray(data))
    return shown[:_LONGEST_TEXT]
