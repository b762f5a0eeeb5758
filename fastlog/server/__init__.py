"""The supervisor: the process that users start, and that starts the others."""

from fastlog.server.supervisor import serve

__all__ = ["serve"]
