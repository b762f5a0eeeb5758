"""The supervisor, which starts and watches the receiver and the workers."""

from fastlog.server.supervisor import resume, serve

__all__ = ["resume", "serve"]
