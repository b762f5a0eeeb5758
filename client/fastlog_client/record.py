# -*- coding: utf-8 -*-
"""The bytes of a LogRecord: what the standard handler sends, as a pickled dict."""

from __future__ import absolute_import, division, print_function

import logging

from fastlog_client.compat import PYTHON_2, TEXT_TYPES, pickle

if PYTHON_2:
    import cStringIO

PICKLE_PROTOCOL = 2 if PYTHON_2 else 4
_TEXT_LIMIT = 4096  # characters of a value that is replaced by text
_default_formatter = logging.Formatter()


def encode(record, formatter, LogRecord=logging.LogRecord, text=str, dumps=pickle.dumps):
    """Encode a record: the attributes that the standard handler sends, as a pickled dict.

    The record is not changed. This is most of the cost of `emit`, hence the names in the arguments,
    and no call of getMessage() where it is known to be that of LogRecord.

    Raises:
        Exception: whatever its arguments, the formatter or the pickler raise.
    """
    attributes = record.__dict__.copy()
    message = attributes["msg"]
    if message.__class__ is text and record.__class__ is LogRecord:
        args = attributes["args"]
        if args:
            attributes["msg"] = message % args
    else:
        attributes["msg"] = record.getMessage()
    attributes["args"] = None
    if attributes["exc_info"]:
        attributes["exc_text"] = _traceback(attributes, formatter)
        attributes["exc_info"] = None
    if "message" in attributes:
        del attributes["message"]
    return dumps(attributes, PICKLE_PROTOCOL)


def _traceback(attributes, formatter):
    """Return the traceback of a record that has `exc_info`.

    A formatter, this one or that of an earlier handler, may have returned a list of its lines.
    """
    trace = attributes.get("exc_text")
    if not trace:
        trace = (formatter or _default_formatter).formatException(attributes["exc_info"])
    if isinstance(trace, (list, tuple)) and all(isinstance(line, TEXT_TYPES) for line in trace):
        return "\n".join(line[:-1] if line.endswith("\n") else line for line in trace)
    return trace


if PYTHON_2:
    _PLAIN_LENGTH = len(logging.makeLogRecord({}).__dict__)

    def _dumps_without_memo(
        attributes, protocol, Pickler=pickle.Pickler, StringIO=cStringIO.StringIO
    ):
        """Pickle without a memo, which takes a third of the time.

        Only containers need a memo, and a record without attributes of the application has none.
        """
        if len(attributes) > _PLAIN_LENGTH:
            return pickle.dumps(attributes, protocol)
        out = StringIO()
        pickler = Pickler(out, protocol)
        pickler.fast = True
        pickler.dump(attributes)
        return out.getvalue()

    encode.__defaults__ = (logging.LogRecord, str, _dumps_without_memo)


def encode_with_text(record, formatter, protocol):
    """Encode a record, with values that cannot be pickled as text.

    Returns:
        The bytes, and the names of the attributes that are text now.
    """
    attributes = record.__dict__.copy()
    replaced = []
    try:
        attributes["msg"] = record.getMessage()
    except Exception:  # the arguments do not fit the message, or their str() fails
        replaced.append("args")
        attributes["msg"] = "%s %% %s" % (
            _to_text(attributes.get("msg")),
            _to_text(attributes.get("args")),
        )
    attributes["args"] = None
    if attributes.get("exc_info"):
        try:
            attributes["exc_text"] = _traceback(attributes, formatter)
        except Exception:
            replaced.append("exc_info")
            attributes["exc_text"] = _to_text(attributes["exc_info"])
    attributes["exc_info"] = None
    attributes.pop("message", None)
    for name, value in list(attributes.items()):
        try:
            pickle.dumps((name, value), protocol)
        except Exception:
            del attributes[name]
            name = name if isinstance(name, str) else _to_text(name)
            replaced.append(name)
            attributes[name] = _to_text(value)
    return pickle.dumps(attributes, protocol), replaced


def _to_text(value):
    try:
        text = repr(value)
    except Exception:
        text = "<unprintable %s>" % type(value).__name__
    return text if len(text) <= _TEXT_LIMIT else text[:_TEXT_LIMIT] + "..."
