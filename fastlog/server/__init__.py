"""The server as a whole: the supervisor of the receiver and the workers."""

from fastlog.server.supervisor import resume, serve

__all__ = ["resume", "serve"]
