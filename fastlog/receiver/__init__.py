"""The receiver: the process that owns the connections and writes the journal."""

from fastlog.receiver.receiver import Receiver

__all__ = ["Receiver"]
