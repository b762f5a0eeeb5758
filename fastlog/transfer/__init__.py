"""Moving records and whole stores: export, import, backup and restore.

- `record_lines`: a record as a line of an export, which an import reads exactly, and other forms.
- `export_file`, `export`: a file that appears when it is complete, and continues after a crash.
- `parquet`: the form of Parquet.
- `import_lines`, `foreign_lines`: the records of a file of lines.
- `additions`, `known`: what every import does, and what a store has already.
- `day_importer`, `postgres_importer`: what is added to day files, and to a database.
- `manifest`, `backup`, `day_copies`, `journal_copy`, `line_copies`: a backup of a running store.
- `restore`, `catch_up`: a new data directory made of it.
"""
