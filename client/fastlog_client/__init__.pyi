from fastlog_client.handler import SocketHandler as SocketHandler
from fastlog_client.reconnecting import ReconnectingSocketHandler as ReconnectingSocketHandler

__version__: str
__all__ = ["ReconnectingSocketHandler", "SocketHandler"]
