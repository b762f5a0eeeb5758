"""`leftovers.json`: the loss notices that a receiver could not append to the journal at its end.

The next receiver appends them.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from fastlog.files import replace_file
from fastlog.journal import Journal
from fastlog.receiver.loss_notices import LossNotices
from fastlog.record import Notice

log = logging.getLogger(__name__)


class Leftovers:
    """The file with left loss notices, in the data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "leftovers.json"

    def write(self, notices: list[Notice]) -> None:
        """Write the file durably, or log the notices if that is not possible."""
        if not notices:
            return
        try:
            replace_file(self._path, msgspec.json.encode(notices), durable=True)
        except OSError:
            for notice in notices:
                log.error("not in the ledger: %s", notice)

    def append_to(self, journal: Journal, notices: LossNotices) -> None:
        """Append what the file holds to the journal, and remove the file.

        If this process dies in between, the notices are counted twice rather than not at all.
        """
        try:
            left = msgspec.json.decode(self._path.read_bytes(), type=list[Notice])
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            log.error("cannot read %s; its losses are not in the ledger: %s", self._path, error)
            return
        notices.put_back(left)
        notices.append_to(journal)
        self._path.unlink()
