"""The supervisor replaces itself by exec, which keeps its pid and its children.

The next supervisor gets a state in a memory file: its descriptors and its processes. The state has
a version, and the rehearsal has shown that the new code can read it.
"""

from __future__ import annotations

import os
import signal
import sys

import msgspec

from fastlog.config import from_json
from fastlog.errors import FastlogError
from fastlog.files import Identity
from fastlog.server import listeners
from fastlog.server.plan import read_plan
from fastlog.server.process import ProcessState
from fastlog.server.process_counts import ProcessCount
from fastlog.server.service import TLS, Inherited, Service, make_worker
from fastlog.server.spawn import memory_file, read_file
from fastlog.server.watch import SIGNALS

VERSION = 2
RESUME = "--resume-fd"
"""The option with the descriptor of the state."""


class State(msgspec.Struct, kw_only=True):
    """What one supervisor passes to the next."""

    version: int = VERSION
    final: bool
    """Whether the new code has made the plan."""
    plan: str
    data_dir: str
    inherited: Inherited
    bound: list[tuple[str, list[int]]]
    children: list[ProcessState]
    reload_again: bool = msgspec.field(name="again")
    """Whether another SIGHUP was received."""
    socket_files: dict[str, Identity] = {}
    """The files of Unix sockets, by URL."""
    counts: dict[str, ProcessCount] = {}
    """Failures of children, by their roles."""


class _Versioned(msgspec.Struct):
    version: int


def command_line() -> list[str]:
    """Return the command line of this process, which starts the installed code."""
    arguments = [word for word in sys.orig_argv[1:] if not word.startswith(f"{RESUME}=")]
    return [sys.executable, *arguments]


def pack(service: Service, *, final: bool) -> bytes:
    """Encode the state of this supervisor."""
    state = State(
        final=final,
        plan=service.plan.text,
        data_dir=service.plan.data_dir,
        inherited=service.inherited,
        bound=[(one.url, [each.fileno() for each in one.sockets]) for one in service.bound],
        children=[process.state() for process in service.watch.processes],
        reload_again=service.watch.reloading,
        socket_files={one.url: one.file for one in service.bound if one.file is not None},
        counts=service.watch.counts.counts,
    )
    return msgspec.json.encode(state)


def unpack(content: bytes) -> State:
    """Decode the state of another supervisor.

    Raises:
        FastlogError: This code cannot continue from it.
    """
    try:
        version = msgspec.json.decode(content, type=_Versioned).version
        if version != VERSION:
            raise FastlogError(
                f"the old supervisor leaves its state in version {version}, the new code takes "
                f"{VERSION}: only stopping and starting will do"
            )
        state = msgspec.json.decode(content, type=State)
        if state.final:
            from_json(read_plan(state.plan).config.encode())
    except msgspec.MsgspecError as error:
        raise FastlogError(f"the state of the old supervisor cannot be read: {error}") from None
    return state


def replace_self(service: Service) -> None:
    """Run the installed code in this process. Return only if the service is to stop.

    Raises:
        OSError: The program cannot be run; nothing has changed.
    """
    # A signal from here on stays pending for the handlers of the successor.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    memory = -1
    keep: list[int] = []
    try:
        if service.watch.stopping:
            return
        state = pack(service, final=True)
        memory = memory_file("fastlog-state", state)
        keep = _descriptors(unpack(state), memory)
        for fd in keep:
            os.set_inheritable(fd, True)
        sys.stdout.flush()
        sys.stderr.flush()
        program = [*command_line(), f"{RESUME}={memory}"]
        os.execv(program[0], program)  # noqa: S606 - our own command line
    finally:
        for fd in keep:
            os.set_inheritable(fd, False)
        if memory >= 0:
            os.close(memory)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _descriptors(state: State, memory: int) -> list[int]:
    controls = [child.control for child in state.children if child.pid]
    return [memory, *state.inherited, *(fd for _, fds in state.bound for fd in fds), *controls]


def resume(memory: int) -> Service:
    """Restore the service from the state of the previous supervisor.

    Raises:
        FastlogError: This code cannot continue from it.
    """
    state = unpack(read_file(memory))
    plan = read_plan(state.plan)
    for fd in state.inherited:
        if fd >= 0:
            os.set_inheritable(fd, False)
    bound = [listeners.adopt(url, fds, state.socket_files.get(url)) for url, fds in state.bound]
    inherited, is_new = state.inherited, state.inherited.tls_to < 0
    if is_new:  # an older version had no TLS: the receiver needs the channel
        inherited = Inherited.of(inherited.lock, inherited.wakeup)
    service = Service.of(plan, inherited, bound)
    service.watch.counts.restore(state.counts)
    service.watch.reloading = state.reload_again or (is_new and service.tls is not None)
    for child in state.children:
        process = service.process(child.name)
        if process is None:  # it was removed from the configuration, and is about to end
            process = make_worker(child.name, plan, inherited)
            if child.name.startswith(TLS):  # it serves its last connections
                process.role = f"tls[{child.name.removeprefix(TLS)}]"
            process.restarts = False
        process.adopt(child)
        service.watch.add(process)
    return service
