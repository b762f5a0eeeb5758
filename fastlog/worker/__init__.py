"""The worker: a process for each sink, which follows the journal with a cursor of its own."""

from fastlog.worker.worker import CursorAheadError, Worker, make_worker

__all__ = ["CursorAheadError", "Worker", "make_worker"]
