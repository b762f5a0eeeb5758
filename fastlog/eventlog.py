"""The server's own log lines about what keeps happening, so few that they do not fill a disk."""

from __future__ import annotations

import logging
from collections import Counter

TEXTS = 10
"""Different texts of one kind that one second may bring; the rest is one line."""


class EventLog:
    """Counts events by their text, and tells them once a second: `rejected 10.0.0.5: http (12)`."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._kinds: dict[str, Counter[str]] = {}
        self._others: Counter[str] = Counter()

    def add(self, kind: str, text: str, count: int = 1) -> None:
        """It has happened `count` times. Kinds do not take each other's lines."""
        texts = self._kinds.setdefault(kind, Counter())
        if text in texts or len(texts) < TEXTS:
            texts[text] += count
        else:
            self._others[kind] += count

    def flush(self) -> None:
        """A second is over."""
        for kind, texts in self._kinds.items():
            for text, count in texts.items():
                self._logger.warning("%s (%d)", text, count)
            if self._others[kind]:
                self._logger.warning("%s: %d more of the like", kind, self._others[kind])
        self._kinds.clear()
        self._others.clear()
