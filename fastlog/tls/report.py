"""`tls.json`: which certificates the TLS process uses, and until when they are valid.

The files may be newer: it reads them when it starts, at each reload.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from fastlog.certificates import read_ends
from fastlog.config import ListenConfig
from fastlog.files import replace_file

NAME = "tls.json"


class ListenerReport(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one listener. Ends are in seconds since the epoch."""

    url: str
    certificate_end: float
    """When the first certificate of its chain expires."""
    client_ca_end: float | None = None
    """When the first of the authorities of clients expires; None: clients need no certificate."""
    crl_end: float | None = None
    """When the next revocation lists are to be there at the latest; None: there are none."""
    crl: str = ""
    """The file of the revocation lists."""


def describe(listeners: Iterable[ListenConfig]) -> list[ListenerReport]:
    """Return the reports of listeners, by their files of now.

    Raises:
        ConfigError: A file is missing, or wrong.
    """
    found = []
    for each in listeners:
        ends = read_ends(each.certificate, each.client_ca, each.crl)
        own, authorities, lists = (None if end is None else end.timestamp() for end in ends)
        assert own is not None
        found.append(
            ListenerReport(
                url=each.url,
                certificate_end=own,
                client_ca_end=authorities,
                crl_end=lists,
                crl=each.crl,
            )
        )
    return found


def write_report(data_dir: Path, listeners: list[ListenerReport]) -> None:
    """Replace the report. A disk that is full leaves the old one."""
    with contextlib.suppress(OSError):
        replace_file(data_dir / NAME, msgspec.json.encode(listeners), in_place_if_full=True)


def remove_report(data_dir: Path) -> None:
    """Remove the report: there is no TLS process."""
    with contextlib.suppress(OSError):
        (data_dir / NAME).unlink()


def read_report(data_dir: Path) -> list[ListenerReport]:
    """Return the report; nothing if there is none, or if it is being written."""
    try:
        return msgspec.json.decode((data_dir / NAME).read_bytes(), type=list[ListenerReport])
    except (OSError, msgspec.MsgspecError):
        return []
