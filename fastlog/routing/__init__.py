"""Routing: what of a block a sink stores. Redaction, then the sink's filter, then its fields.

    decoder = make_decoder(config, settings, sink.form, node)
    decoded = decoder.decode(block)

A sink without any of them gets the plain decoder, and so costs what it cost before.
"""

from __future__ import annotations

from fastlog.routing.checks import CHECKS, parse_filter
from fastlog.routing.decoder import BlockDecoder, make_decoder

__all__ = ["CHECKS", "BlockDecoder", "make_decoder", "parse_filter"]
