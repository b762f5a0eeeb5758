"""fastlog: a service that stores what `logging.handlers.SocketHandler` sends."""

from fastlog.core import FRAME_LIMIT, Framer, Translator
from fastlog.errors import FastlogError, FrameError
from fastlog.version import __version__

__all__ = ["FRAME_LIMIT", "FastlogError", "FrameError", "Framer", "Translator", "__version__"]
