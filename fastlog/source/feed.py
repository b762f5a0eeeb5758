"""The messages of one subject, in the order of the stream, read ahead into a bounded buffer.

They are read by a pull consumer that the servers keep in memory only: where reading has to go on is
known from the store's cursor, and a position that a server keeps would be a second truth beside
it. Whenever anything is irregular (a server died, a number is missing), another consumer is made
that begins behind the last message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, NamedTuple

import msgspec

from fastlog.jetstream.connection import TIMEOUT, Client, Connection, explain

log = logging.getLogger(__name__)

BUFFER: Final = 4 << 20
"""Bytes that one feed reads ahead."""
BUFFERS: Final = 64 << 20
"""Bytes that all feeds of a process read ahead together, unless each has one message only."""
MESSAGE: Final = 1 << 20
"""Bytes of the largest message of a collector, and of what the servers add."""
_BATCH: Final = 256
_EXPIRES: Final = 5.0
_HEARTBEAT: Final = 1.0
_SILENCE: Final = 3.0
"""Seconds without a heartbeat after which a consumer is taken for lost."""
_RETRY: Final = 0.5
_INACTIVE: Final = 30
"""Seconds after which a server removes a consumer that nobody asks."""


class Message(NamedTuple):
    """A message of the subject."""

    seq: int
    """Its sequence in the stream."""
    data: bytes

    @property
    def size(self) -> int:
        """Bytes of memory that it takes, about: also a million empty ones take some."""
        return len(self.data) + 256


class Budget:
    """What all feeds of a process may read ahead, in bytes."""

    def __init__(self) -> None:
        self.used = 0
        """Only for the client's loop."""
        self.feeds = 0

    @property
    def share(self) -> int:
        """Bytes that one feed reads ahead: less than `BUFFER` where there are many."""
        return max(MESSAGE, min(BUFFER, BUFFERS // max(1, self.feeds)))


class _IrregularError(Exception):
    """The consumer cannot be used any more."""


class Feed:
    """Reads a subject from its first message on.

    Args:
        notify: Called in another thread when a message has arrived.
    """

    def __init__(
        self, connection: Connection, subject: str, budget: Budget, notify: Callable[[], object]
    ) -> None:
        self._connection, self._subject, self._budget = connection, subject, budget
        self._notify = notify
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._room = asyncio.Event()
        self._last = 0
        """The sequence of the last message that was received; 0: none."""
        self._received = 0
        """Messages that this consumer has delivered."""
        self._is_at_end = False
        self._restarts = 0
        self.pending = 0
        """Messages of the subject that were not received yet, as of the last one."""
        self.error = ""
        """Why reading fails now; "" if it does not."""
        self._has_too_large = False
        """Whether the next message is larger than those of collectors."""
        budget.feeds += 1
        self._task: Future[None] = asyncio.run_coroutine_threadsafe(self._run(), connection.loop)

    # For the thread that reads

    @property
    def share(self) -> int:
        """Bytes that are read ahead at most."""
        return self._budget.share

    def take(self) -> Message | None:
        """Return the next message; None if none has arrived."""
        try:
            message = self._messages.popleft()
        except IndexError:
            return None
        self._connection.loop.call_soon_threadsafe(self._give_back, message.size)
        return message

    @property
    def has_messages(self) -> bool:
        """Whether a message has arrived."""
        return bool(self._messages)

    @property
    def is_at_end(self) -> bool:
        """Whether all messages of the subject were taken, as far as is known."""
        return self._is_at_end and not self._messages

    def restart(self) -> None:
        """Read the subject again from its first message on."""
        self._is_at_end = False

        def begin() -> None:
            self._restarts += 1
            self._last = 0
            self._clear()

        self._connection.run(_call(begin))

    def close(self) -> None:
        """End reading."""
        self._budget.feeds -= 1
        self._task.cancel()
        with contextlib.suppress(Exception):
            self._connection.run(_call(self._clear))

    # In the client's loop

    def _clear(self) -> None:
        self._messages.clear()
        self._is_at_end = False
        self._give_back(self._bytes)

    def _give_back(self, size: int) -> None:
        size = min(size, self._bytes)
        self._bytes -= size
        self._budget.used -= size
        self._room.set()

    def _has_room(self) -> bool:
        return not self._bytes or (self._bytes < self.share and self._budget.used < BUFFERS)

    async def _run(self) -> None:
        while True:
            try:
                await self._read()
            except _IrregularError as error:
                log.debug("%s: %s", self._subject, error)
                if not self._received:  # the next consumer may be as irregular as this one
                    await asyncio.sleep(_RETRY)
            except Exception as error:
                self.error = explain(error)
                await asyncio.sleep(_RETRY)

    async def _read(self) -> None:
        """Read with a new consumer, until it cannot be used any more or `restart` is called."""
        client, restarts = self._connection.client, self._restarts
        name = await self._make_consumer(client)
        inbox = client.new_inbox()
        replies = await client.subscribe(inbox)
        following = f"$JS.API.CONSUMER.MSG.NEXT.{self._connection.target.stream}.{name}"
        self._received = 0
        try:
            while self._restarts == restarts:
                while not self._has_room():
                    self._room.clear()
                    await self._room.wait()
                await client.publish(following, self._question(), inbox)
                await self._receive(replies, restarts)
        finally:
            with contextlib.suppress(Exception):
                await replies.unsubscribe()
                delete = f"$JS.API.CONSUMER.DELETE.{self._connection.target.stream}.{name}"
                await client.publish(delete, b"")

    def _question(self) -> bytes:
        limits = {"batch": _BATCH, "max_bytes": self.share}
        if self._has_too_large:  # it must be passed, too; a server bounds it by `max_payload`
            limits = {"batch": 1}
        times = {"expires": int(_EXPIRES * 1e9), "idle_heartbeat": int(_HEARTBEAT * 1e9)}
        return msgspec.json.encode({**limits, **times})

    async def _make_consumer(self, client: Client) -> str:
        stream = self._connection.target.stream
        name = f"fastlog-{secrets.token_hex(8)}"
        config: dict[str, Any] = {
            "name": name,
            "filter_subject": self._subject,
            "deliver_policy": "by_start_sequence" if self._last else "all",
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": int(_INACTIVE * 1e9),
        }
        if self._last:
            config["opt_start_seq"] = self._last + 1
        question = {"stream_name": stream, "config": config, "action": "create"}
        made = await client.request(
            f"$JS.API.CONSUMER.CREATE.{stream}.{name}.{self._subject}",
            msgspec.json.encode(question),
            timeout=TIMEOUT,
        )
        answer = msgspec.json.decode(made.data, type=_Made)
        if answer.error is not None:
            raise RuntimeError(answer.error.description or "no consumer")
        self._is_at_end = not answer.num_pending
        self.pending, self.error = answer.num_pending, ""
        return name

    async def _receive(self, replies: Any, restarts: int) -> None:
        """Receive the answers to one question.

        Raises:
            _IrregularError: A message is missing, or the consumer is gone.
        """
        for _ in range(_BATCH):
            message = await self._next(replies)
            if self._restarts != restarts:
                return
            if not _is_of_stream(message):
                headers = message.headers or {}
                status, text = headers.get("Status", ""), headers.get("Description", "")
                self._has_too_large = "MaxBytes" in text
                if status in ("404", "408") or self._has_too_large:
                    return
                raise _IrregularError(f"{status} {text}")
            sequence = message.metadata.sequence
            if sequence.consumer != self._received + 1:
                raise _IrregularError(f"message {self._received + 1} is missing")
            self._received += 1
            self._last, self.pending = sequence.stream, message.metadata.num_pending or 0
            arrived = Message(sequence.stream, message.data)
            self._messages.append(arrived)
            self._bytes += arrived.size
            self._budget.used += arrived.size
            self._is_at_end = not self.pending
            self._notify()
            if self._has_too_large:
                self._has_too_large = False
                return

    async def _next(self, replies: Any) -> Any:
        """Return the next message that is no heartbeat."""
        while True:
            try:
                message = await replies.next_msg(timeout=_SILENCE)
            except TimeoutError:
                raise _IrregularError("the consumer does not answer") from None
            if _is_of_stream(message) or (message.headers or {}).get("Status") != "100":
                return message


def _is_of_stream(message: Any) -> bool:
    """Return whether a message is one of the stream; else it is a status of the server.

    Headers do not say that: whoever publishes a message chooses them.
    """
    return str(message.reply).startswith("$JS.ACK.")


class _Failure(msgspec.Struct):
    description: str = ""


class _Made(msgspec.Struct):
    """The answer to the creation of a consumer."""

    error: _Failure | None = None
    num_pending: int = 0


async def _call(function: Callable[[], object]) -> None:
    function()
