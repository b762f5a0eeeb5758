"""The inert pickle reader: it reads a pickle and never imports, calls or sets anything.

`unpickle` turns the bytes of one pickle, of any protocol and any Python, into an inert tree
(`inert_tree.py`): what an unpickler would import becomes the node of a global, what it would call
becomes the node of an object. Time and memory are linear in the bytes read, whatever they hold:
nothing is allocated by an announced size, and no step recurses.

It is strict: every argument is within the bytes (and within its frame, if frames are used), STOP is
the last byte and leaves one value, the type of each operand is checked. So a pickle has one meaning
here, while the unpicklers of CPython differ from each other.

`opcodes.py` has the step of each opcode, `pickle_machine.py` the state that the steps change.
"""

from __future__ import annotations

from typing import Any

from fastlog.decode.opcodes import STEPS
from fastlog.decode.pickle_machine import PickleMachine, malformed
from fastlog.errors import RejectedError


class InertTree:
    """The value of one pickle, as a context manager.

    Leaving its `with` block undoes the cycles in the tree, so that its memory is freed at once
    though garbage collection is off.
    """

    __slots__ = ("_fetched", "value")

    def __init__(self, value: Any, fetched: list[Any]) -> None:
        self.value = value
        self._fetched = fetched

    def __enter__(self) -> Any:
        return self.value

    def __exit__(self, *_: object) -> None:
        _undo_cycles(self._fetched)


def unpickle(data: bytes) -> InertTree:
    """Read one pickle.

    Raises:
        RejectedError: The bytes are no pickle, or use an opcode that no record needs.
    """
    machine = PickleMachine(data)
    try:
        return InertTree(machine.run(STEPS), machine.fetched)
    except IndexError:
        _undo_cycles(machine.fetched)
        raise malformed("stack underflow") from None
    except RejectedError:
        _undo_cycles(machine.fetched)
        raise


def _undo_cycles(fetched: list[Any]) -> None:
    # A cycle closes only through a second reference, and only GET makes one.
    for container in fetched:
        container.clear()
    fetched.clear()
