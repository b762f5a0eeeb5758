"""Moving records and whole stores: export, import, backup and restore.

- `record_lines`: a record as a line of an export, which an import reads exactly.
- `export_file`, `export`: a file that appears when it is complete, and continues after a crash.
- `parquet`: the same for Parquet, without continuing.
- `import_lines`, `foreign_lines`: the records of a file of lines.
- `known`, `importer`: what a store has already, and what is added to it.
- `manifest`, `backup`, `day_copies`, `journal_copy`, `line_copies`: a backup of a running store.
- `restore`, `catch_up`: a new data directory made of it.
"""
