"""fastlog: a service that stores what `logging.handlers.SocketHandler` sends."""

from typing import TYPE_CHECKING, Any

from fastlog.errors import FastlogError, FrameError
from fastlog.version import __version__

if TYPE_CHECKING:
    from fastlog.core import FRAME_LIMIT, Framer, Translator

__all__ = ["FRAME_LIMIT", "FastlogError", "FrameError", "Framer", "Translator", "__version__"]


def __getattr__(name: str) -> Any:
    """Return a name of `core`, which most commands start without: it imports the C module."""
    if name not in ("FRAME_LIMIT", "Framer", "Translator"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fastlog import core

    return getattr(core, name)
