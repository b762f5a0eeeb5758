import logging.handlers
import socket

class ReconnectingSocketHandler(logging.handlers.SocketHandler):
    timeout: float
    def __init__(self, host: str, port: int | None = None, timeout: float = 1.0) -> None: ...
    @property
    def retryTime(self) -> float | None: ...  # type: ignore[override]
    @retryTime.setter
    def retryTime(self, moment: float | None) -> None: ...
    def makeSocket(self, timeout: float | None = None) -> socket.socket: ...  # type: ignore[override]
    def createSocket(self) -> None: ...
    def send(self, s: bytes) -> None: ...  # type: ignore[override]
