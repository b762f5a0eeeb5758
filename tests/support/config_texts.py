"""Configurations that are loaded from a text."""

from __future__ import annotations

from pathlib import Path

from fastlog.config import Config, load

MIB = 1024 * 1024


def load_text(text: str, environ: dict[str, str] | None = None, **flags: object) -> Config:
    Path("fastlog.toml").write_text(text, "utf-8")
    return load(None, environ or {}, flags)
