"""SIGHUP: the running server becomes the code and the configuration that are installed now.

Five steps, each of which can fail without harm to what runs:

1. A rehearsal (see `rehearsal`) shows that the new code runs, and gives the plan.
2. Listeners that are new are bound.
3. A new receiver is started; the old one stands still, makes everything durable and hands over all
   it has. Only when the new one has said `taken` does the old one end, and only when that has ended
   is the new one told to `go`. Before that, a failure of any kind or ten seconds mean: the new one
   is killed and reaped, then the old one goes on, and nothing has happened.
4. The workers end, each behind a block, and are started again; where they left off, they go on.
5. The supervisor replaces itself (see `state`), after another rehearsal: of this very moment.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable

from fastlog.errors import FastlogError
from fastlog.files import set_access
from fastlog.server import listeners
from fastlog.server.process import Process
from fastlog.server.rehearsal import ReloadError, ask
from fastlog.server.service import WORKER_END, Service, make_receiver, make_worker
from fastlog.server.state import replace_self

log = logging.getLogger(__name__)

READY = 10.0
"""Seconds in which a new receiver has to be ready."""
HAND_OVER = 10.0
"""Seconds in which it has to have everything."""
RETIRE = 5.0
"""Seconds that the old one has to end: it has nothing left to do."""
WORKERS = WORKER_END + 10.0
"""Seconds that are waited for workers, before the supervisor goes on with replacing itself."""


def reload(service: Service) -> None:
    """Replaces what runs, as far as that can be done; the log tells what came of it.

    Does not return if all of it was replaced, the supervisor included.
    """
    log.info("reload: looking at what is installed now")
    try:
        _replace_receiver_and_workers(service)
    except (FastlogError, OSError) as error:
        log.error("reload: %s; going on as before", error)
        return
    except Exception:
        log.exception("reload: a mistake of fastlog's own; going on as before")
        return
    try:
        ask(service, final=True)
        replace_self(service)
    except (FastlogError, OSError) as error:
        log.error("reload: done, but for the supervisor, which stays as it was: %s", error)


def _replace_receiver_and_workers(service: Service) -> None:
    plan = ask(service)
    for remark in plan.remarks:
        log.warning("reload: %s", remark)
    set_access(plan.files)
    change = listeners.rebind(service.bound, plan.listen, plan.sockets)
    new = make_receiver(plan, service.inherited, change.bound)
    try:
        _replace_receiver(service, new)
    except (FastlogError, OSError):
        listeners.close(change.fresh)
        raise
    listeners.close(change.gone)
    service.plan, service.bound = plan, change.bound
    _replace_workers(service)


# ---- the receiver ------------------------------------------------------------------------------


def _replace_receiver(service: Service, new: Process) -> None:
    watch, old = service.watch, service.receiver
    if not old.lives:  # it could not be kept alive: there is nothing to hand over
        watch.leave(old)
        service.receiver = new
        watch.mend(new)
        return
    old.mended = new.mended = False
    old.said.clear()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with ours, theirs:
            watch.start(new, {"takeover-fd": theirs.fileno()})
            theirs.close()
            _await(service, new, "was not ready", lambda: new.ready, READY)
            asked = time.monotonic()
            old.send({"type": "hand_over"}, ours.fileno())
        _await(service, new, "had not taken over", lambda: "taken" in new.said, HAND_OVER)
    except BaseException:
        _give_up(service, new)
        raise
    _commit(service, new)
    log.info("reload: the new receiver took over in %.1f ms", 1e3 * (time.monotonic() - asked))


def _await(
    service: Service, new: Process, what: str, is_done: Callable[[], bool], seconds: float
) -> None:
    """Waits for the new receiver.

    Raises:
        ReloadError: It will not come to that, or not in that time.
    """
    watch, old = service.watch, service.receiver

    def is_settled() -> bool:
        ended = not (new.lives and old.lives) or new.fatal is not None
        return is_done() or ended or "cannot" in old.said or watch.stopping

    watch.until(is_settled, seconds)
    watch.turn(0)  # what has just been said may have been the last thing
    if watch.stopping:
        raise ReloadError("the server is stopping")
    if "cannot" in old.said:
        raise ReloadError(f"the old receiver cannot hand over: {old.said['cannot'].get('text')}")
    if new.fatal is not None:
        raise ReloadError(f"the new receiver cannot go on: {new.fatal}")
    if not new.lives:
        raise ReloadError(f"the new receiver {new.how}")
    if not (old.lives or "taken" in new.said):
        raise ReloadError(f"the old receiver {old.how}")
    if not is_done():
        raise ReloadError(f"the new receiver {what} after {seconds:.0f} s")


def _give_up(service: Service, new: Process) -> None:
    """The new one is gone for certain before the old one moves again."""
    watch, old = service.watch, service.receiver
    new.kill()
    watch.until(lambda: not new.lives)
    old.send({"type": "thaw"})
    watch.mend(old)


def _commit(service: Service, new: Process) -> None:
    """The old one is gone for certain before the new one moves. There is no way back."""
    watch, old = service.watch, service.receiver
    old.send({"type": "retire"})
    if not watch.until(lambda: not old.lives, RETIRE):
        old.kill()  # it stands still, so this does no harm
        watch.until(lambda: not old.lives)
    service.receiver = new
    new.send({"type": "go"})
    watch.mend(new)


# ---- the workers -------------------------------------------------------------------------------


def _replace_workers(service: Service) -> None:
    plan, watch, old = service.plan, service.watch, service.workers
    gone = [worker for name, worker in old.items() if name not in plan.sinks]
    service.workers = {
        name: old.get(name) or make_worker(name, plan, service.inherited) for name in plan.sinks
    }
    for worker in gone:
        watch.leave(worker)
        worker.terminate(WORKER_END)
    for worker in service.workers.values():
        worker.config = plan.config
        worker.terminate(WORKER_END)
        watch.mend(worker)

    def are_all_new() -> bool:
        return not any(worker.lives for worker in gone) and all(
            worker.ready and not worker.asked_to_end for worker in service.workers.values()
        )

    watch.until(lambda: are_all_new() or watch.stopping, WORKERS)
