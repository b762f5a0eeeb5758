"""The decoder of a sink that does not store all: it decodes a block, and leaves things out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from fastlog.block import Block
from fastlog.config import Config, RedactConfig, SinkConfig
from fastlog.decode import Decoded, Decoder, Form, copy_rows
from fastlog.decode.columns import columns_of
from fastlog.decode.notices import Located
from fastlog.query import COLUMNS, EVERYTHING
from fastlog.record import Record, Rejection
from fastlog.routing.checks import parse_filter
from fastlog.routing.choice import FieldChoice
from fastlog.routing.redaction import Redaction
from fastlog.routing.selection import Selection, safe_predicate

FEW: Final = 4
"""If no more than one record in so many is stored, these are encoded in Python, and the block is
not translated a second time."""
_EXTRA: Final = "extra"


class BlockDecoder(Protocol):
    """What a worker needs of a decoder."""

    def decode(self, block: Block) -> Decoded:
        """Return the records and the notices of a block; no bytes in its frames make this fail."""


def make_decoder(config: Config, settings: SinkConfig, form: Form, node: str) -> BlockDecoder:
    """Return the decoder for a sink: the plain one if the sink stores all.

    Args:
        settings: The sink's.
        form: What it stores.
        node: The journal's id, in hex.

    Raises:
        ConfigError: A filter, a field or a pattern is wrong.
    """
    engine, key = config.decode.engine, bytes.fromhex(node)
    query = parse_filter(settings.filter) if settings.filter else EVERYTHING
    if config.redact or settings.fields or settings.without:
        return RoutingDecoder(
            Decoder(engine, "records", key), form, node, config.redact, safe_filter(query), settings
        )
    decoder = Decoder(engine, form, key)
    if query == EVERYTHING:
        return decoder
    columns = decoder if form == "columns" else Decoder(engine, "columns", key)
    return FilteringDecoder(decoder, columns, Selection(query, node), node)


class FilteringDecoder:
    """Leaves out the records that do not match. Those that do stay in the form that C wrote.

    Args:
        decoder: Into the form that the sink stores.
        columns: Into columns, which are what is decided by; it may be the same.
    """

    def __init__(self, decoder: Decoder, columns: Decoder, selection: Selection, node: str) -> None:
        self._decoder, self._columns, self._selection = decoder, columns, selection
        self._forms = _Forms(decoder.form, node)

    def decode(self, block: Block) -> Decoded:
        """Return the records that match, and the notices of the block."""
        decided = self._columns.decode(block)
        assert decided.columns is not None
        total = len(decided.columns)
        kept = self._selection.kept(decided.columns, block)
        if self._columns is self._decoder:
            decoded = decided
        elif len(kept) * FEW <= total:
            records = decided.columns.records(kept, block.received, block.offset)
            few = Decoded(block, records, decided.notices, filtered=total - len(kept))
            return self._forms.put(few)
        else:
            decoded = self._decoder.decode(block)
        if len(kept) == total:
            return decoded
        idx = {decided.columns.idx[at] for at in kept}
        return decoded.only(kept, idx, total)._replace(filtered=total - len(kept))


class RoutingDecoder:
    """Redacts records, leaves out those that do not match, and then some of their fields.

    Args:
        decoder: Into records.
        form: What the sink stores.
        node: The journal's id, in hex.
        redact: The rules of redaction.
        query: The sink's filter; it sees what is redacted.
        settings: Of the sink: its fields.
    """

    def __init__(
        self,
        decoder: Decoder,
        form: Form,
        node: str,
        redact: Sequence[RedactConfig],
        is_wanted: Any,
        settings: SinkConfig,
    ) -> None:
        self._decoder, self._node = decoder, node
        self._is_wanted = is_wanted
        self._redaction = Redaction(redact) if redact else None
        self._choice: FieldChoice | None = None
        if settings.fields or settings.without:
            self._choice = FieldChoice(settings.fields, settings.without)
        self._forms = _Forms(form, node, self._choice)

    def decode(self, block: Block) -> Decoded:
        """Return what is left of the records, and the notices of the block."""
        decoded = self._decoder.decode(block)
        counts: Counter[str] = Counter()
        records: list[Record] = []
        notices = decoded.notices
        if self._redaction is not None:
            notices = [_without_raw(each) for each in notices]
        filtered = 0
        for record in decoded.records:
            if self._redaction is not None:
                try:
                    record = self._redaction.apply(record, counts)
                except Exception as error:  # a bug; what is not redacted must not be stored
                    notices.append(_not_redacted(block, record, error))
                    continue
            if not self._is_wanted((*record, self._node)):
                filtered += 1
            else:
                records.append(record if self._choice is None else self._choice.apply(record))
        notices.sort(key=lambda each: each.idx)
        routed = self._forms.put(decoded._replace(records=records, notices=notices))
        return routed._replace(filtered=filtered, redacted=dict(counts))


class _Forms:
    """Puts records into the form that a sink stores.

    Args:
        node: The journal's id, in hex.
        choice: The fields that lines have.
    """

    def __init__(self, form: Form, node: str, choice: FieldChoice | None = None) -> None:
        self._form, self._node = form, bytes.fromhex(node)
        self._encode_line = _line_encoder(choice)

    def put(self, decoded: Decoded) -> Decoded:
        """Return a block that has its records in the form of the sink."""
        records = decoded.records
        if self._form == "records":
            return decoded
        decoded = decoded._replace(records=[])
        if self._form == "columns":
            return decoded._replace(columns=columns_of(records))
        if self._form == "lines":
            lines = b"".join([self._encode_line(record) + b"\n" for record in records])
            return decoded._replace(lines=lines)
        copy = b"".join([copy_rows.encode(each, self._node) for each in records])
        return decoded._replace(copy=copy)


def safe_filter(query: Any) -> Any:
    """Return a function that tells whether a record, with the journal's id behind it, matches."""
    return (lambda row: True) if query == EVERYTHING else safe_predicate(query, COLUMNS)


def _without_raw(located: Located) -> Located:
    """Return a notice without the bytes of a frame, in which nothing is redacted."""
    if not isinstance(located.notice, Rejection):
        return located
    return located._replace(notice=msgspec.structs.replace(located.notice, raw=b""))


def _not_redacted(block: Block, record: Record, error: Exception) -> Located:
    reason = f"redaction failed: {type(error).__name__}"
    return Located(record.idx, Rejection(record.host, reason, 0, received=block.received))


def _line_encoder(choice: FieldChoice | None) -> Any:
    """Return what makes a line of JSON of a record, with the chosen fields only."""
    names = Record._fields if choice is None else choice.columns
    places = [Record._fields.index(name) for name in names]
    line: Any = msgspec.defstruct("_Line", [(name, Any) for name in names], gc=False)

    def encode(record: Record) -> bytes:
        values: list[Any] = [record[at] for at in places]
        if _EXTRA in names:
            values[names.index(_EXTRA)] = msgspec.Raw(record.extra.encode())
        return msgspec.json.encode(line(*values))

    return encode
