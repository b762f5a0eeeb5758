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
"""Bytes that all feeds of a process read ahead; beyond it, each has one message at least."""
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


class Budget:
    """What all feeds of a process have read ahead, in bytes. Only for the client's loop."""

    def __init__(self) -> None:
        self.used = 0


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
        self._is_at_end = False
        self._restarts = 0
        self.pending = 0
        """Messages of the subject that were not received yet, as of the last one."""
        self.error = ""
        """Why reading fails now; "" if it does not."""
        self._task: Future[None] = asyncio.run_coroutine_threadsafe(self._run(), connection.loop)

    # For the thread that reads

    def take(self) -> Message | None:
        """Return the next message; None if none has arrived."""
        try:
            message = self._messages.popleft()
        except IndexError:
            return None
        self._connection.loop.call_soon_threadsafe(self._give_back, len(message.data))
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
        return not self._bytes or (self._bytes < BUFFER and self._budget.used < BUFFERS)

    async def _run(self) -> None:
        while True:
            try:
                await self._read()
            except _IrregularError as error:
                log.debug("%s: %s", self._subject, error)
            except Exception as error:
                self.error = explain(error)
                await asyncio.sleep(_RETRY)

    async def _read(self) -> None:
        """Read with a new consumer, until it cannot be used any more or `restart` is called."""
        client, restarts = self._connection.client, self._restarts
        name = await self._make_consumer(client)
        inbox = client.new_inbox()
        replies = await client.subscribe(inbox)
        question = {
            "batch": _BATCH,
            "max_bytes": BUFFER,
            "expires": int(_EXPIRES * 1e9),
            "idle_heartbeat": int(_HEARTBEAT * 1e9),
        }
        following = f"$JS.API.CONSUMER.MSG.NEXT.{self._connection.target.stream}.{name}"
        count = 0
        try:
            while self._restarts == restarts:
                while not self._has_room():
                    self._room.clear()
                    await self._room.wait()
                await client.publish(following, msgspec.json.encode(question), inbox)
                count = await self._receive(replies, count, restarts)
        finally:
            with contextlib.suppress(Exception):
                await replies.unsubscribe()
                delete = f"$JS.API.CONSUMER.DELETE.{self._connection.target.stream}.{name}"
                await client.publish(delete, b"")

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
        answer = msgspec.json.decode(made.data)
        if "error" in answer:
            raise RuntimeError(answer["error"].get("description", "no consumer"))
        self._is_at_end = not answer.get("num_pending")
        self.pending, self.error = answer.get("num_pending", 0), ""
        return name

    async def _receive(self, replies: Any, count: int, restarts: int) -> int:
        """Receive the answers to one question.

        Returns:
            How many messages the consumer has delivered.

        Raises:
            _IrregularError: A message is missing, or the consumer is gone.
        """
        for _ in range(_BATCH):
            message = await self._next(replies)
            status = (message.headers or {}).get("Status")
            if self._restarts != restarts:
                return count
            if status is not None:
                if status in ("404", "408") or "MaxBytes" in message.headers.get("Description", ""):
                    return count
                raise _IrregularError(f"{status} {message.headers.get('Description', '')}")
            sequence = message.metadata.sequence
            count += 1
            if sequence.consumer != count:
                raise _IrregularError(f"message {count} is missing")
            self._last, self.pending = sequence.stream, message.metadata.num_pending or 0
            self._messages.append(Message(sequence.stream, message.data))
            self._bytes += len(message.data)
            self._budget.used += len(message.data)
            self._is_at_end = not self.pending
            self._notify()
        return count

    async def _next(self, replies: Any) -> Any:
        """Return the next message that is no heartbeat."""
        while True:
            try:
                message = await replies.next_msg(timeout=_SILENCE)
            except TimeoutError:
                raise _IrregularError("the consumer does not answer") from None
            if (message.headers or {}).get("Status") != "100":
                return message


async def _call(function: Callable[[], object]) -> None:
    function()
