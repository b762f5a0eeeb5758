"""Decoding: from a block of the journal to records. `docs/pickle.md` says what becomes of what.

`decoder` goes through a block; `plain` reads its plain frames many at once, by way of C. For all
others, `inert` reads a pickle into inert values (`nodes`) with the `machine` and `literals`;
`payload` does so for JSON. `records` makes the record: `normal` renders values, `message` merges a
message with its arguments, and `objects` is the table of what classes mean, with the readers in
`arrays`, `paths`, `times`, `unwrapping` and `shapes`. `lines` writes records as JSON.
"""

from fastlog.decode.decoder import ENGINES, Decoded, Decoder, Located, read_record
from fastlog.decode.lines import Form

__all__ = ["ENGINES", "Decoded", "Decoder", "Form", "Located", "read_record"]
