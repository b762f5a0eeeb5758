"""The decoder of a sink that does not store all: it decodes a block, and leaves things out."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, Protocol

import msgspec

from fastlog.block import Block
from fastlog.config import Config, SinkConfig
from fastlog.decode import BlockReader, Decoded, Decoder, Form, copy_rows
from fastlog.decode.columns import columns_of
from fastlog.decode.notices import Located
from fastlog.errors import ConfigError
from fastlog.query import COLUMNS, EVERYTHING, Node
from fastlog.record import Record, Rejection
from fastlog.routing.bugs import describe_bug
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
    if form == "blocks":
        if config.redact or settings.filter or settings.fields or settings.without:
            raise ConfigError(
                f"sink {settings.name} passes blocks on as they are: [[redact]], filter, fields "
                "and without belong into the configuration of the server that stores them"
            )
        return BlockReader()
    engine, key = config.decode.engine, bytes.fromhex(node)
    query = parse_filter(settings.filter) if settings.filter else EVERYTHING
    choice = None
    if settings.fields or settings.without:
        choice = FieldChoice(settings.fields, settings.without)
    forms = _Forms(form, key, choice)
    if config.redact:
        return RedactingDecoder(
            Decoder(engine, "records", key), Redaction(config.redact), query, choice, forms
        )
    if choice is not None:
        decoder = Decoder(engine, "columns", key)
        return ChoosingDecoder(decoder, Selection(query, node), choice, forms)
    decoder = Decoder(engine, form, key)
    if query == EVERYTHING:
        return decoder
    columns = decoder if form == "columns" else Decoder(engine, "columns", key)
    return FilteringDecoder(decoder, columns, Selection(query, node), forms)


class FilteringDecoder:
    """Leaves out the records that do not match. Those that do stay in the form that C wrote.

    Args:
        decoder: Into the form that the sink stores.
        columns: Into columns, which are what is decided by; it may be the same.
    """

    def __init__(
        self, decoder: Decoder, columns: Decoder, selection: Selection, forms: _Forms
    ) -> None:
        self._decoder, self._columns, self._selection = decoder, columns, selection
        self._forms = forms

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


class ChoosingDecoder:
    """Leaves out the records that do not match, and some fields of the others.

    Args:
        columns: The decoder, into columns.
        selection: The sink's filter; it sees all fields.
        choice: The sink's fields.
        forms: What puts records into the form of the sink.
    """

    def __init__(
        self, columns: Decoder, selection: Selection, choice: FieldChoice, forms: _Forms
    ) -> None:
        self._columns, self._selection = columns, selection
        self._choice, self._forms = choice, forms

    def decode(self, block: Block) -> Decoded:
        """Return what is left of the records, and the notices of the block."""
        decided = self._columns.decode(block)
        assert decided.columns is not None
        kept = self._selection.kept(decided.columns, block)
        chosen = [
            self._choice.apply(record)
            for record in decided.columns.records(kept, block.received, block.offset)
        ]
        filtered = len(decided.columns) - len(kept)
        return self._forms.put(Decoded(block, chosen, decided.notices, filtered=filtered))


class RedactingDecoder:
    """Redacts records, leaves out those that do not match, and then some of their fields.

    The filter comes second. If it saw what is redacted, a sink could reveal by the records that it
    stores what it must not store.

    Args:
        decoder: Into records.
        redaction: The rules.
        query: The sink's filter; it sees what is redacted.
        choice: The sink's fields; None for all.
        forms: What puts records into the form of the sink.
    """

    def __init__(
        self,
        decoder: Decoder,
        redaction: Redaction,
        query: Node,
        choice: FieldChoice | None,
        forms: _Forms,
    ) -> None:
        self._decoder, self._redaction = decoder, redaction
        self._is_wanted = None if query == EVERYTHING else safe_predicate(query, COLUMNS)
        self._choice, self._forms = choice, forms

    def decode(self, block: Block) -> Decoded:
        """Return what is left of the records, and the notices of the block."""
        decoded = self._decoder.decode(block)
        counts: Counter[str] = Counter()
        changed: Counter[str] = Counter()
        records: list[Record] = []
        notices = [_without_raw(each) for each in decoded.notices]
        filtered = 0
        for record in decoded.records:
            changed.clear()
            try:
                redacted = self._redaction.apply(record, changed)
            except Exception as error:  # a bug; what is not redacted must not be stored
                notices.append(_not_redacted(block, record, error))
                continue
            if self._is_wanted is not None and not self._is_wanted((*redacted, self._forms.node)):
                filtered += 1
            else:
                for rule, number in changed.items():
                    counts[rule] += number
                records.append(redacted if self._choice is None else self._choice.apply(redacted))
        notices.sort(key=lambda each: each.idx)
        routed = self._forms.put(decoded._replace(records=records, notices=notices))
        return routed._replace(filtered=filtered, redacted=dict(counts))


class _Forms:
    """Puts records into the form that a sink stores.

    Args:
        node: The journal's id.
        choice: The fields that lines have; None for all.
    """

    def __init__(self, form: Form, node: bytes, choice: FieldChoice | None) -> None:
        self._form, self._node = form, node
        self.node = node.hex()
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


def _without_raw(located: Located) -> Located:
    """Return a notice without the bytes of a frame, in which nothing is redacted."""
    if not isinstance(located.notice, Rejection):
        return located
    return located._replace(notice=msgspec.structs.replace(located.notice, raw=b""))


def _not_redacted(block: Block, record: Record, error: Exception) -> Located:
    reason = f"redaction failed: {describe_bug(error)}"
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
