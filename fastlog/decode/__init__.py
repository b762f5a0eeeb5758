"""Decoding: from a block of the journal to records. `docs/pickle.md` says what becomes of what.

`decoder` goes through a block; `inert` reads a pickle with the `machine`, `literals` and `nodes`;
`normal` and `objects` put what was read into the normal form; `payload` reads JSON.
"""

from fastlog.decode.decoder import Decoded, Decoder, Located, read_record

__all__ = ["Decoded", "Decoder", "Located", "read_record"]
