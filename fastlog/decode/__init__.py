"""Decoding: from a block of the journal to records. `docs/pickle.md` says what becomes of what.

`decoder` goes through a block; `plain` reads its plain frames many at once, by way of C. For all
others, `inert` reads a pickle with the `machine`, `literals` and `nodes`; `normal` and `objects`
put what was read into the normal form; `payload` reads JSON. `lines` writes records as JSON.
"""

from fastlog.decode.decoder import ENGINES, Decoded, Decoder, Located, read_record
from fastlog.decode.lines import Form

__all__ = ["ENGINES", "Decoded", "Decoder", "Form", "Located", "read_record"]
