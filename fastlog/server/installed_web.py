"""Whether the libraries of the extra `web` are installed."""

from __future__ import annotations

from importlib.util import find_spec

from fastlog.errors import ConfigError, how_to_install

_MODULES = ("starlette", "uvicorn", "prometheus_client")


def check_installed() -> None:
    """Check that the web server can run.

    Raises:
        ConfigError: A library is missing.
    """
    missing = [module for module in _MODULES if find_spec(module) is None]
    if missing:
        raise ConfigError(f"the web server needs {' and '.join(missing)}; {how_to_install('web')}")
