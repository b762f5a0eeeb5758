"""The helpers of `copyreg`, which protocols 0 and 1 call to make an object."""

from __future__ import annotations

from typing import Any

from fastlog.decode.arguments import is_sequence
from fastlog.decode.inert_tree import (
    FACTORIES,
    Node,
    dotted,
    is_dict,
    is_object,
    object_node,
    resolve,
)
from fastlog.decode.work import Work


def unwrap(node: Node, work: Work) -> Node:
    """Return the object that the call of a helper makes; any other object as it is."""
    for _ in range(FACTORIES):
        cls = node["class"]
        make = HELPERS.get(resolve(cls)) if type(cls) is str else None
        if make is None or not work.spend(len(node["args"])):
            return node
        inner = make(node["args"])
        if inner is None:
            return node
        for part in ("items", "pairs", "state"):
            if part in node:
                inner[part] = node[part]
        node = inner
    return node


def _class(value: Any) -> Any:
    """Return the class in a value: the text of a global or a node; None if it is no class."""
    if type(value) is not dict:
        return None
    if "global" in value:
        return value["global"]
    return value if is_object(value) or "cut" in value else None


def _reconstructor(args: Any) -> Node | None:
    """Return the object of `copyreg._reconstructor(cls, base, value)`."""
    cls = _class(args[0]) if len(args) == 3 else None
    if cls is None:
        return None
    base = dotted(_class(args[1]))
    if base == "builtins.object":
        return object_node(cls, ())
    if base == "builtins.tuple" and is_sequence(args[2]):
        return object_node(cls, args[2])
    return object_node(cls, (args[2],))


def _newobj(args: Any) -> Node | None:
    """Return the object of `copyreg.__newobj__(cls, *args)`."""
    cls = _class(args[0]) if args else None
    return None if cls is None else object_node(cls, args[1:])


def _newobj_ex(args: Any) -> Node | None:
    """Return the object of `copyreg.__newobj_ex__(cls, args, kwargs)`."""
    cls = _class(args[0]) if len(args) == 3 and is_sequence(args[1]) else None
    if cls is None:
        return None
    return object_node(cls, args[1], args[2] if is_dict(args[2]) else None)


HELPERS = {
    "copyreg._reconstructor": _reconstructor,
    "copyreg.__newobj__": _newobj,
    "copyreg.__newobj_ex__": _newobj_ex,
}
