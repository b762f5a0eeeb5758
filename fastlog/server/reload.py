"""SIGHUP: replace the running server by the installed code and configuration.

A reload has six steps. Each of them can fail without harm to the running server:

1. A rehearsal (see `rehearsal`) shows that the new code runs, and returns the plan.
2. New listeners are bound.
3. A new receiver is started. The old one pauses, makes everything durable and sends its handover
   state. The old one ends only after the new one has sent `taken`. The new one starts to work only
   after the old one has ended, at the message `go`. If anything fails before, or takes more
   than ten seconds, the new one is killed and reaped, and the old one resumes: nothing has changed.
4. A new TLS process accepts; the old one serves its connections until they close.
5. Each worker ends after its current block, and is started again. It continues where it stopped.
6. The supervisor replaces itself (see `state`), after another rehearsal with its present state.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path

from fastlog.errors import FastlogError
from fastlog.files import set_access
from fastlog.server import listeners
from fastlog.server.plan import Plan
from fastlog.server.process import Process
from fastlog.server.rehearsal import ReloadError, request_plan
from fastlog.server.service import (
    TLS,
    WORKER_END,
    Inherited,
    Service,
    make_receiver,
    make_source,
    make_tls,
    make_web,
    make_worker,
)
from fastlog.server.state import replace_self
from fastlog.tls.report import remove_report

log = logging.getLogger(__name__)

READY = 10.0
"""Seconds within which a new receiver must be ready."""
HAND_OVER = 10.0
"""Seconds within which it must have the handover state."""
RETIRE = 5.0
"""Seconds that the old receiver has to end: it has no work left."""
WEB_END = 5.0
"""Seconds that the web server has to end its answers."""
WORKERS = WORKER_END + 10.0
"""Seconds to wait for the workers before the supervisor replaces itself."""


def reload(service: Service) -> None:
    """Replace the running server, as far as possible, and log the result.

    Does not return if everything was replaced, including the supervisor.
    """
    log.info("reload: checking the installed code and configuration")
    try:
        _replace_receiver_and_workers(service)
    except (FastlogError, OSError) as error:
        log.error("reload: %s; the old server continues", error)
        return
    except Exception:
        log.exception("reload: an internal error of fastlog; the old server continues")
        return
    try:
        request_plan(service, final=True)
        replace_self(service)
    except (FastlogError, OSError) as error:
        log.error("reload: done, but for the supervisor, which stays as it was: %s", error)


def _replace_receiver_and_workers(service: Service) -> None:
    plan = request_plan(service)
    for remark in plan.remarks:
        log.warning("reload: %s", remark)
    set_access(plan.files)
    change = listeners.rebind(service.bound, plan.listen, plan.sockets)
    new = make_receiver(plan, service.inherited, change.bound)
    try:
        _replace_receiver(service, new)
    except (FastlogError, OSError):
        listeners.close(change.added)
        raise
    service.plan, service.bound = plan, change.bound
    _replace_tls(service)
    listeners.close(change.removed)
    _replace_others(service)
    _replace_workers(service)


# ---- the receiver ------------------------------------------------------------------------------


def _replace_receiver(service: Service, new: Process) -> None:
    watch, old = service.watch, service.receiver
    if not old.is_alive:  # it is between restarts: there is nothing to hand over
        watch.forget(old)
        service.receiver = new
        watch.keep_alive(new)
        return
    old.restarts = new.restarts = False
    old.messages.clear()
    old_end, new_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with old_end, new_end:
            watch.start(new, {"takeover-fd": new_end.fileno()})
            new_end.close()
            _await(service, new, "was not ready", lambda: new.ready, READY)
            began = time.monotonic()
            old.send({"type": "hand_over"}, old_end.fileno())
        _await(service, new, "had not taken over", lambda: "taken" in new.messages, HAND_OVER)
    except BaseException:
        _roll_back(service, new)
        raise
    _commit(service, new)
    log.info("reload: the new receiver took over in %.1f ms", 1e3 * (time.monotonic() - began))


def _await(
    service: Service, new: Process, failure: str, is_done: Callable[[], bool], seconds: float
) -> None:
    """Wait until `is_done()`.

    Args:
        failure: What the error says if `seconds` pass.

    Raises:
        ReloadError: A receiver failed, the server is stopping, or the time is over.
    """
    watch, old = service.watch, service.receiver

    def is_settled() -> bool:
        ended = not (new.is_alive and old.is_alive) or new.fatal is not None
        return is_done() or ended or "cannot" in old.messages or watch.stopping

    watch.wait_until(is_settled, seconds)
    watch.poll(0)  # read the last messages of a receiver that has ended
    if watch.stopping:
        raise ReloadError("a stop was requested")
    if "cannot" in old.messages:
        raise ReloadError(
            f"the old receiver cannot hand over: {old.messages['cannot'].get('text')}"
        )
    if new.fatal is not None:
        raise ReloadError(f"the new receiver cannot continue: {new.fatal}")
    if not new.is_alive:
        raise ReloadError(f"the new receiver {new.exit_text}")
    if not (old.is_alive or "taken" in new.messages):
        raise ReloadError(f"the old receiver {old.exit_text}")
    if not is_done():
        raise ReloadError(f"the new receiver {failure} after {seconds:.0f} s")


def _roll_back(service: Service, new: Process) -> None:
    """Kill and reap the new receiver, and only then let the old one resume."""
    watch, old = service.watch, service.receiver
    new.kill()
    watch.wait_until(lambda: not new.is_alive)
    old.send({"type": "thaw"})
    watch.keep_alive(old)


def _commit(service: Service, new: Process) -> None:
    """End the old receiver, and only then let the new one work. This cannot be undone."""
    watch, old = service.watch, service.receiver
    old.send({"type": "retire"})
    if not watch.wait_until(lambda: not old.is_alive, RETIRE):
        old.kill()  # it is paused, so this does no harm
        watch.wait_until(lambda: not old.is_alive)
    service.receiver = new
    new.send({"type": "go"})
    watch.keep_alive(new)


# ---- the TLS process ---------------------------------------------------------------------------


def _replace_tls(service: Service) -> None:
    """Let a new TLS process accept. The old one serves its connections until they close."""
    watch, old = service.watch, service.tls
    new = make_tls(service.plan, service.inherited, service.bound)
    if new is not None:
        new.restarts = False
        try:
            watch.start(new)
            watch.wait_until(lambda: new.ready or not new.is_alive or watch.stopping, READY)
        except OSError as error:
            log.error("reload: the new TLS process cannot be started: %s", error.strerror)
        if not new.ready and not watch.stopping and old is not None and old.is_alive:
            why = new.fatal or new.exit_text or f"was not ready after {READY:.0f} s"
            log.error("reload: the new TLS process: %s; the old one goes on accepting", why)
            new.kill()
            return
        watch.keep_alive(new)
    else:
        remove_report(Path(service.plan.data_dir))
    service.tls = new
    if old is not None:
        watch.forget(old)
        if old.is_alive:
            old.name, old.role = f"{TLS}{old.pid}", f"tls[{old.pid}]"
    for process in watch.processes:
        if process.name.startswith(TLS) and process is not new:
            process.send({"type": "retire"})  # older ones look for revoked certificates again


# ---- the workers -------------------------------------------------------------------------------


def _replace_workers(service: Service) -> None:
    plan, watch, old = service.plan, service.watch, service.workers
    removed = [worker for name, worker in old.items() if name not in plan.sinks]
    service.workers = {
        name: old.get(name) or make_worker(name, plan, service.inherited) for name in plan.sinks
    }
    for worker in removed:
        watch.forget(worker)
        worker.terminate(WORKER_END)
    for worker in service.workers.values():
        worker.config = plan.config
        worker.terminate(WORKER_END)
        watch.keep_alive(worker)

    def are_replaced() -> bool:
        return not any(worker.is_alive for worker in removed) and all(
            worker.ready and not worker.stop_requested for worker in service.workers.values()
        )

    watch.wait_until(lambda: are_replaced() or watch.stopping, WORKERS)


# ---- the web server, and the source ------------------------------------------------------------


def _replace_others(service: Service) -> None:
    """Start the web server and the source anew, and do not wait for them.

    The web server only reads the store. A stream keeps what the source has not stored.
    """
    plan = service.plan
    make = make_web if plan.web else None
    service.web = _replace(service, service.web, make, WEB_END)
    make = make_source if plan.source else None
    service.source = _replace(service, service.source, make, WORKER_END)


def _replace(
    service: Service,
    old: Process | None,
    make: Callable[[Plan, Inherited], Process] | None,
    seconds: float,
) -> Process | None:
    """Start a process anew, or end it if the plan has none."""
    watch = service.watch
    if make is None:
        if old is not None:
            watch.forget(old)
            old.terminate(seconds)
        return None
    process = old or make(service.plan, service.inherited)
    process.config = service.plan.config
    process.terminate(seconds)
    watch.keep_alive(process)
    return process
