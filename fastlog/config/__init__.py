"""The configuration: `fastlog.toml`, `FASTLOG_*` variables and flags, as one checked tree.

`load` reads it, and checks every field. The supervisor passes the tree to its children with
`to_json` and `from_json`.
"""

from __future__ import annotations

from fastlog.config.certificates import CertificateFiles, certificate_files, certificate_remarks
from fastlog.config.load import load
from fastlog.config.places import check_places, parent_fault
from fastlog.config.sources import find_file
from fastlog.config.tree import (
    AuthConfig,
    ClientsConfig,
    Config,
    DecodeConfig,
    ExpireConfig,
    FilesConfig,
    JournalConfig,
    LimitsConfig,
    ListenConfig,
    LogConfig,
    RedactConfig,
    RetentionConfig,
    SinkConfig,
    WebConfig,
    from_json,
    to_json,
)
from fastlog.config.units import format_duration, format_size, parse_duration, parse_size
from fastlog.config.urls import is_tls
from fastlog.config.values import closest, nearest

__all__ = [
    "AuthConfig",
    "CertificateFiles",
    "ClientsConfig",
    "Config",
    "DecodeConfig",
    "ExpireConfig",
    "FilesConfig",
    "JournalConfig",
    "LimitsConfig",
    "ListenConfig",
    "LogConfig",
    "RedactConfig",
    "RetentionConfig",
    "SinkConfig",
    "WebConfig",
    "certificate_files",
    "certificate_remarks",
    "check_places",
    "closest",
    "find_file",
    "format_duration",
    "format_size",
    "from_json",
    "is_tls",
    "load",
    "nearest",
    "parent_fault",
    "parse_duration",
    "parse_size",
    "to_json",
]
