"""fastlog: the service that stores what `logging.handlers.SocketHandler` sends."""

from fastlog.errors import FastlogError, FrameError
from fastlog.version import __version__

__all__ = ["FastlogError", "FrameError", "__version__"]
