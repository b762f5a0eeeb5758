"""Inert trees: the values that both engines read from a frame, in built-in types of Python only.

`None`, `bool`, `int`, `float`, `str`, `bytes` (also a bytearray, and the `str` of Python 2) and
sequences (list, tuple, set, frozenset: all are treated alike) stand for themselves. A `dict` is a
*node*; its key names its kind:

    {"pairs": [key, value, …]}      a dict as it was sent, equal keys included
    {"global": "P:module:name"}     a name that an unpickler would have imported; P is the protocol
                                    there, which shows whether it is a name of Python 2
    {"class": C, "args": [..]}      what an unpickler would have got by calling C: the text of a
                                    global, or a node. Also, if they were given:
        "kwargs": {"pairs": …}      the node of a dict
        "items": [..]               what was appended
        "pairs": [key, value, …]    what was set by key
        "state": value              what BUILD, or a setter, was given
    {"huge": [head, length]}        an integer too long to be a number: its first digits, or its
                                    most significant bytes, and how many it has
    {"cut": "size"}                 a container beyond the reader's bound

An object that occurs twice in the pickle is the same Python object here. A node may contain itself.
Nothing here has behaviour that the client chose.
"""

from __future__ import annotations

import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from functools import lru_cache
from typing import Any, TypeGuard

Node = dict[str, Any]

HUGE_DIGITS = 4096
"""Decimal digits of the longest integer that is kept as a number."""
HUGE_BYTES = 1700
"""The same for a binary one: 1,700 bytes are never more than 4,096 digits."""
HEAD = 32
"""Digits that are kept of a longer integer."""
NAME_LENGTH = 256
"""Characters that are kept of the name of a module, and of a name in it."""
FACTORIES = 8
"""How often the result of a call may be called again and still have a name."""

_MODULES = {"exceptions": "builtins"}
"""Modules of Python 2 that `_compat_pickle` lacks."""
_MOVED = {"pathlib._local": "pathlib"}
"""Modules that have another name in some versions of Python 3."""
RENAMED = {*IMPORT_MAPPING, *_MODULES, *_MOVED, *(module for module, _ in NAME_MAPPING)}
"""Modules in which a name may have another dotted name in Python 3."""


class Members(list[Any]):
    """A set, as it was sent: what ADDITEMS may extend."""

    __slots__ = ()


def pairs_node(flat: list[Any] | None = None) -> Node:
    """Return the node of a dict, from key, value, key, value, …."""
    return {"pairs": [] if flat is None else flat}


def object_node(cls: Any, args: Any, kwargs: Node | None = None) -> Node:
    """Return the node of what calling `cls` gives: the text of a global, or a node."""
    if kwargs is not None:
        return {"class": cls, "args": args, "kwargs": kwargs}
    return {"class": cls, "args": args}


def is_object(value: Any) -> TypeGuard[Node]:
    """Return whether the value is the node of an object."""
    return type(value) is dict and "class" in value


def is_global(value: Any) -> TypeGuard[Node]:
    """Return whether the value is the node of a global."""
    return type(value) is dict and "global" in value


def is_dict(value: Any) -> TypeGuard[Node]:
    """Return whether the value is the node of a dict."""
    return type(value) is dict and "pairs" in value and "class" not in value


def is_empty(node: Any) -> bool:
    """Return whether a value is None or a container without members."""
    if type(node) is dict:
        return "pairs" in node and "class" not in node and not node["pairs"]
    return node is None or (isinstance(node, (list, tuple)) and not node)


def global_text(protocol: int, module: str, name: str) -> str:
    """Return the text of a global; neither name is longer than `NAME_LENGTH`."""
    return f"{protocol}:{module}:{name}"


@lru_cache(maxsize=4096)
def resolve(text: str) -> str:
    """Return the dotted name in Python 3 of a global, from its text."""
    protocol, _, rest = text.partition(":")
    module, _, name = rest.partition(":")
    if protocol < "3":
        if (module, name) in NAME_MAPPING:
            module, name = NAME_MAPPING[module, name]
        else:
            module = IMPORT_MAPPING.get(module) or _MODULES.get(module, module)
    return f"{_MOVED.get(module, module)[:NAME_LENGTH]}.{name[:NAME_LENGTH]}"


def dotted(cls: Any) -> str:
    """Return the dotted name of what was called.

    Args:
        cls: The text of a global, or a node.
    """
    suffix = ""
    for _ in range(FACTORIES):
        if type(cls) is str:
            return resolve(cls) + suffix
        if type(cls) is not dict:
            break
        if "global" in cls:
            return resolve(cls["global"]) + suffix
        if "class" not in cls:
            break
        owner = attribute(cls)
        if owner:
            cls, suffix = owner[0], f".{owner[1][:NAME_LENGTH]}{suffix}"
        else:
            cls, suffix = cls["class"], f"(){suffix}"
    return f"…{suffix}"


def attribute(node: Node) -> tuple[Node, str] | None:
    """Return owner and name of an object that is `getattr(owner, name)`, else None. Picklers write
    a member of an Enum, and a method of a class, like this."""
    cls, args = node["class"], node["args"]
    if type(cls) is str and len(args) == 2 and resolve(cls) == "builtins.getattr":
        owner, name = args
        if type(owner) is dict and type(name) is str and ("global" in owner or "class" in owner):
            return owner, name
    return None


def kind_of(node: Any) -> str:
    """Return the name of the kind of a value, for users: `dict`, `int`, `object`, …."""
    if type(node) is Members:
        return "set"
    if type(node) is not dict:
        return type(node).__name__.lower()
    if "class" in node:
        return "object"
    names = {"pairs": "dict", "global": "global", "huge": "int", "cut": "overflow"}
    return next(name for key, name in names.items() if key in node)


def integer_of_digits(digits: str) -> int | Node:
    """Return the integer of decimal digits with an optional sign."""
    if len(digits) <= HUGE_DIGITS or len(digits.lstrip("-")) <= HUGE_DIGITS:
        return int(digits)
    return {"huge": [digits[:HEAD], len(digits.lstrip("-"))]}


def integer_of_bytes(data: bytes) -> int | Node:
    """Return the integer of little-endian two's complement bytes."""
    if len(data) <= HUGE_BYTES:
        return int.from_bytes(data, "little", signed=True)
    return {"huge": [data[-HEAD // 2 :], len(data)]}


def allow_digits() -> None:
    """Raise the limit of digits of `int` to `HUGE_DIGITS` if the environment has a lower one."""
    if 0 < sys.get_int_max_str_digits() < HUGE_DIGITS:
        sys.set_int_max_str_digits(HUGE_DIGITS)


def huge_text(head: str | bytes, length: int) -> str:
    """Return the text that is stored for an integer that is too long."""
    if type(head) is str:
        return f"{head}… [cut: an integer of {length} digits]"
    number = int.from_bytes(head, "little", signed=True)  # type: ignore[arg-type]
    return f"{number:#x}… [cut: an integer of {length} bytes]"
