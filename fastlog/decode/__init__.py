"""Decoding: from a block of the journal to records. `docs/pickle.md` says what becomes of a value.

The files, in the order in which a block passes through them:

- `decoder`: the whole way of a block, in one function.
- `engine`, `c_engine`: the translation of a block at once, with C or without.
- `frame`: one frame that the translation left to Python.
- `unpickle`, `opcodes`, `pickle_machine`, `literals`: the inert pickle reader.
- `json_frames`: frames that are JSON objects.
- `inert_tree`: what both readers and the translator give.
- `record_builder`, `attributes`, `message_args`, `validation`: from an inert tree to a `Record`.
- `renderer`, `texts`, `bounds`: the normal form of values, and its limits.
- `object_reader`, `classes`: what the objects of known classes stand for. The readers of classes
  are in `classes`, `times`, `arrays`, `paths` and `copyreg_helpers`; they share `arguments` and
  `work`.
- `notices`: rejections and losses.
- `json_lines`: records as lines of JSON.
- `columns`: records as columns.
- `copy_rows`: records as tuples of PostgreSQL's binary COPY.
- `undecoded`: blocks that are passed on as they are.
- `batch`: consecutive blocks, decoded while they are stored.
"""

from fastlog.decode.batch import Batch
from fastlog.decode.columns import Columns, Combinations
from fastlog.decode.decoder import ENGINES, Decoded, Decoder
from fastlog.decode.engine import Form
from fastlog.decode.frame import read_record
from fastlog.decode.notices import Located
from fastlog.decode.undecoded import BlockReader

__all__ = [
    "ENGINES",
    "Batch",
    "BlockReader",
    "Columns",
    "Combinations",
    "Decoded",
    "Decoder",
    "Form",
    "Located",
    "read_record",
]
