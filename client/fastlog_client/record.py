# -*- coding: utf-8 -*-
"""The bytes of a LogRecord: what the standard handler sends, as a pickled dict."""

from __future__ import absolute_import, division, print_function

import logging

from fastlog_client.compat import PYTHON_2, TEXT_TYPES, pickle

if PYTHON_2:
    import cStringIO

PICKLE_PROTOCOL = 2 if PYTHON_2 else 4
_TEXT_LIMIT = 4096  # characters of a value that had to be made text
_default_formatter = logging.Formatter()


def encode(record, formatter, LogRecord=logging.LogRecord, text=str, dumps=pickle.dumps):
    """Make bytes of a record: the attributes that the standard handler sends, as a pickled dict.

    The record stays as it is. This is most of what `emit` costs, hence the names in the arguments,
    and getMessage() where that is known not to be somebody else's.

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
    """The traceback of a record that has `exc_info`. A formatter, this one or that of the handler
    before, may give a list of its lines.
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
        """Pickle without a memo, which takes a third of the time. Only containers need one, and a
        record to which the application has added nothing holds none.
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
    """Make bytes of a record of which something cannot be, with that as text.

    Returns:
        The bytes, and the names of what is text now.
    """
    attributes = record.__dict__.copy()
    odd = []
    try:
        attributes["msg"] = record.getMessage()
    except Exception:  # the arguments do not fit the message, or their str() fails
        odd.append("args")
        attributes["msg"] = "%s %% %s" % (
            _to_text(attributes.get("msg")),
            _to_text(attributes.get("args")),
        )
    attributes["args"] = None
    if attributes.get("exc_info"):
        try:
            attributes["exc_text"] = _traceback(attributes, formatter)
        except Exception:
            odd.append("exc_info")
            attributes["exc_text"] = _to_text(attributes["exc_info"])
    attributes["exc_info"] = None
    attributes.pop("message", None)
    for name, value in list(attributes.items()):
        try:
            pickle.dumps((name, value), protocol)
        except Exception:
            del attributes[name]
            name = name if isinstance(name, str) else _to_text(name)
            odd.append(name)
            attributes[name] = _to_text(value)
    return pickle.dumps(attributes, protocol), odd


def _to_text(value):
    try:
        text = repr(value)
    except Exception:
        text = "<unprintable %s>" % type(value).__name__
    return text if len(text) <= _TEXT_LIMIT else text[:_TEXT_LIMIT] + "..."
