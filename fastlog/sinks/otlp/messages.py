"""The messages of opentelemetry-proto: the only file that imports them.

A serialized message is the sequence of its fields, so a message can be put together from parts that
were serialized before; repeated fields are then appended. So what recurs in records is serialized
once, and the size of a record is known before its request is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastlog.errors import how_to_install

try:
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as service
    from opentelemetry.proto.common.v1 import common_pb2 as common
    from opentelemetry.proto.logs.v1 import logs_pb2 as logs
    from opentelemetry.proto.resource.v1 import resource_pb2 as resource
except ImportError as error:
    raise ImportError(f"{error}; {how_to_install('otlp')}") from error

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DecodeError", "common", "embedded", "json_format", "logs", "resource", "service", "tag"]

_LENGTH_DELIMITED = 2


def tag(message: Any, field: str) -> bytes:
    """Return the bytes before the length of an embedded message, in a field of `message`.

    The number is below 16 in all messages of OTLP's logs, so the tag is one byte.
    """
    return bytes([message.DESCRIPTOR.fields_by_name[field].number << 3 | _LENGTH_DELIMITED])


def embedded(field: bytes, parts: Iterable[bytes]) -> bytes:
    """Return serialized parts of a message as a field of another.

    Args:
        field: See `tag`.
    """
    content = b"".join(parts)
    length, size = len(content), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return b"".join((field, size, content))
