"""Delivers records in requests: all of them, or those that the receiver does not reject.

A request that the receiver rejects as a whole is halved until the record is found that is the
reason. What was delivered is remembered, so that the attempt after a failure begins behind it.
"""

from __future__ import annotations

import gzip
import logging
import random
from collections.abc import Callable, Sequence
from typing import Final

from fastlog.errors import ConfigError, SinkUnavailableError
from fastlog.sinks import Rejected as RejectedRecords
from fastlog.sinks.otlp.answers import Accepted, Rejected, Waits, meaning
from fastlog.sinks.otlp.exchange import Exchanges
from fastlog.sinks.otlp.headers import HeaderSource
from fastlog.sinks.otlp.mapping import Item, Mapping
from fastlog.sinks.otlp.requests import EMPTY, make_request
from fastlog.sinks.otlp.settings import Settings
from fastlog.version import __version__

log = logging.getLogger(__name__)

FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
"""Seconds between attempts, where the receiver names none: the first, and the longest."""
STOP_SECONDS: Final = 3.0
"""Seconds for which records are still sent when the server stops, to a receiver that answers."""
_COMPRESSED_BYTES: Final = 512
"""Bytes from which on a request is compressed."""
_LEVEL: Final = 1
"""Of gzip: level 6 takes more than twice the time, and saves a sixth of the bytes."""
_LEAST_LIMIT: Final = 4 << 10


class Delivery:
    """Delivers records to one receiver, in order.

    Args:
        clock: The wall clock.
        steady: A clock that cannot be set.
        stopping: See `SinkContext`.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float],
        steady: Callable[[], float],
        stopping: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._clock, self._steady, self._stopping = clock, steady, stopping
        self._stopping_since: float | None = None
        self._headers = HeaderSource(settings)
        self._exchanges = Exchanges(settings, steady, stopping)
        self.limit = settings.batch_size
        """Bytes of a request; lower than configured once the receiver has said 413."""
        self.position = 0, 0
        """Offset and `idx` from which on records are not delivered."""
        self._node = ""
        self.rejected: list[RejectedRecords] = []
        """What the receiver has rejected, until the sink takes it."""
        self._pause = 0.0
        self._resume_at = float("-inf")
        self._failure = ""

    def begin(self, node: str) -> None:
        """Begin with a journal, or continue with it after what is delivered."""
        if node != self._node:
            self.position, self._node = (0, 0), node

    def check(self) -> None:
        """Read the files of the configuration.

        Raises:
            ConfigError: They are wrong.
            SinkUnavailableError: They cannot be read now.
        """
        self._headers.read()
        self._exchanges.check()

    def probe(self) -> None:
        """Send a request without records.

        Raises:
            SinkUnavailableError: The receiver does not accept it.
        """
        found = self._post(EMPTY)
        if not isinstance(found, Accepted):
            raise self._unavailable(f"it does not take a request without records: {found.reason}")

    def check_pause(self) -> None:
        """Raise the latest error again, until the time of the next attempt.

        Raises:
            SinkUnavailableError: It is not yet time.
        """
        if self._steady() < self._resume_at:
            raise SinkUnavailableError(self._failure)

    def deliver(self, items: Sequence[Item], mapping: Mapping) -> None:
        """Deliver records, and move `position` past each that is delivered or rejected.

        Raises:
            SinkUnavailableError: The receiver does not take the rest now.
        """
        waiting = [items]
        is_probed = False
        while waiting:
            part = waiting.pop()
            found = self._attempt(part)
            if isinstance(found, Accepted):
                self._finish(part, found)
            elif len(part) > 1:
                self._lower_limit(found, part)
                half = len(part) // 2
                waiting += (part[half:], part[:half])
            elif (record := part[0].record) is not None:
                waiting.append([mapping.encode(record, traceback_in_body=True)])
            else:
                if not is_probed:  # a receiver that rejects everything is no reason to drop records
                    self.probe()
                    is_probed = True
                self._reject(part[0], found.reason)

    def close(self) -> None:
        """Close the connection."""
        self._exchanges.close()

    def _attempt(self, part: Sequence[Item]) -> Accepted | Rejected:
        self._check_stop()
        try:
            found = self._post(make_request(part))
        except SinkUnavailableError as error:
            self._wait(str(error), None)
            raise
        if isinstance(found, Waits):
            unavailable = self._unavailable(found.reason)
            self._wait(str(unavailable), found.seconds)
            raise unavailable
        self._pause = 0.0
        return found

    def _check_stop(self) -> None:
        """Send nothing more when the server has been stopping for a while."""
        if self._stopping():
            now = self._steady()
            if self._stopping_since is None:
                self._stopping_since = now
            if now > self._stopping_since + STOP_SECONDS:
                raise self._unavailable("the server stops; what is left is sent by the next one")

    def _post(self, body: bytes) -> Accepted | Rejected | Waits:
        try:
            headers = {**self._headers.read(), "Content-Type": "application/x-protobuf"}
            headers["User-Agent"] = f"fastlog/{__version__}"
            if self._settings.gzip and len(body) >= _COMPRESSED_BYTES:
                body = gzip.compress(body, _LEVEL, mtime=0)
                headers["Content-Encoding"] = "gzip"
            return meaning(self._exchanges.post(body, headers), self._clock())
        except ConfigError as error:  # it was right at the start; a file has changed since
            raise SinkUnavailableError(str(error)) from error

    def _wait(self, failure: str, seconds: float | None) -> None:
        """Make the next attempt later: when the receiver says, or after twice the last pause.

        Pauses vary, so that many senders do not come back at the same moment.
        """
        self._failure = failure
        if seconds is None:
            self._pause = min(max(2 * self._pause, FIRST_PAUSE), LAST_PAUSE)
            seconds = self._pause * random.uniform(0.5, 1.0)  # noqa: S311 no secret
        else:
            seconds *= random.uniform(1.0, 1.1)  # noqa: S311 no secret
        self._resume_at = self._steady() + seconds

    def _finish(self, part: Sequence[Item], found: Accepted) -> None:
        last = part[-1]
        self.position = last.offset, last.idx + 1
        if found.rejected:
            count = min(found.rejected, len(part))
            reason = f"partial success: {found.message or 'no reason given'}"
            self.rejected.append(RejectedRecords(last.offset, last.idx, reason, count))
        elif found.message:
            log.warning("%s: the receiver warns: %s", self._settings.label, found.message)

    def _reject(self, item: Item, reason: str) -> None:
        self.position = item.offset, item.idx + 1
        self.rejected.append(RejectedRecords(item.offset, item.idx, reason))

    def _lower_limit(self, found: Rejected, part: Sequence[Item]) -> None:
        """Make further requests smaller, if the receiver finds this one too large."""
        if found.is_too_large:
            size = sum(len(item.body) for item in part)
            limit = max(_LEAST_LIMIT, min(self.limit, size // 2))
            if limit < self.limit:
                log.info(
                    "%s: a request of %d bytes is too large for it; sending at most %d",
                    *(self._settings.label, size, limit),
                )
                self.limit = limit

    def _unavailable(self, reason: str) -> SinkUnavailableError:
        return SinkUnavailableError(f"{self._settings.label}: {reason}")
