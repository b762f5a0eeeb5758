"""`status.json`: the receiver's state and counters, for `fastlog stats` and `fastlog check`."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from fastlog.config import Config
from fastlog.config.urls import public_url
from fastlog.core import Loop
from fastlog.files import replace_file
from fastlog.journal import Journal
from fastlog.receiver.loss_notices import LossNotices
from fastlog.receiver.recent_counts import SECONDS, RecentCounts, Slot
from fastlog.receiver.rejections import Rejections
from fastlog.receiver.throttle import Throttle

log = logging.getLogger(__name__)


class Counters(msgspec.Struct, kw_only=True):
    """What all receivers have counted since the service was started."""

    acks: int = 0
    repeated: int = 0
    accepted: int = 0
    frames: int = 0
    bytes: int = 0
    """Received, of all connections."""
    blocks: int = 0
    """Appended to the journal."""
    dropped: int = 0
    throttlings: int = 0
    reloads: int = 0
    """How often a receiver has taken over from another one."""
    rejected: dict[str, int] = {}
    """By reason."""


class Status:
    """Collects and writes the receiver's status."""

    def __init__(
        self,
        config: Config,
        loop: Loop,
        journal: Journal,
        notices: LossNotices,
        rejections: Rejections,
        throttle: Throttle,
        clock: Callable[[], float],
    ) -> None:
        self._config, self._loop, self._journal = config, loop, journal
        self._notices, self._rejections = notices, rejections
        self._throttle, self._clock = throttle, clock
        self._previous = Counters()
        """What the receivers before this one have counted."""
        self._recent = RecentCounts()

    def restore(self, counters: Counters, recent: Sequence[Slot]) -> None:
        """Continue what the previous receiver has counted."""
        self._previous = msgspec.structs.replace(counters, reloads=counters.reloads + 1)
        self._recent.restore(recent, counters.dropped, sum(counters.rejected.values()))

    def write(self) -> None:
        """Replace `status.json`."""
        stats, journal = self._loop.stats(), self._journal
        counters = self._update_recent()
        status = {
            "at": self._clock(),
            "durable": journal.durable,
            "durable_received": journal.durable_received,
            "oldest": journal.oldest,
            "index": journal.index,
            "size": journal.size,
            "limit": self._config.journal.size,
            "connections": stats.connections,
            "clients": stats.clients,
            "throttled": stats.throttled,
            "lag": self._throttle.lag,
            **msgspec.structs.asdict(counters),
            "recent_dropped": self._recent.dropped,
            "recent_rejected": self._recent.rejected,
            "recent_seconds": SECONDS,
            "failure": journal.failure,
            "sinks": {sink.name: public_url(sink.url) for sink in self._config.sinks},
        }
        try:
            path = self._config.data_dir / "status.json"
            replace_file(path, json.dumps(status).encode(), in_place_if_full=True)
        except OSError as error:
            log.debug("status.json: %s", error)  # the disk fails: the journal has logged that

    def recent_slots(self) -> list[Slot]:
        """Return the counts of the last minutes, for `restore` in the next receiver."""
        self._update_recent()
        return self._recent.slots()

    def _update_recent(self) -> Counters:
        counters = self.counters()
        self._recent.update(counters.dropped, sum(counters.rejected.values()))
        return counters

    def counters(self) -> Counters:
        """Return the counters of this receiver and those before it."""
        stats, previous = self._loop.stats(), self._previous
        rejected = Counter(previous.rejected)
        rejected.update(stats.rejected)
        rejected.update(self._rejections.by_tls)
        return Counters(
            acks=previous.acks + stats.acks,
            repeated=previous.repeated + stats.repeated,
            throttlings=previous.throttlings + stats.throttlings,
            accepted=previous.accepted + stats.accepted,
            frames=previous.frames + stats.frames,
            bytes=previous.bytes + stats.bytes,
            blocks=previous.blocks + self._journal.appended,
            reloads=previous.reloads,
            dropped=previous.dropped + self._notices.dropped,
            rejected=dict(rejected),
        )
