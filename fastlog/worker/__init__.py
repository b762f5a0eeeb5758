"""The worker: one process for each sink, which follows the journal with its own cursor."""

from fastlog.worker.worker import CursorAheadError, Worker, make_worker

__all__ = ["CursorAheadError", "Worker", "make_worker"]
