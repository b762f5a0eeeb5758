"""`fastlog export`: write all records that match to a file, which continues after a crash."""

from __future__ import annotations

import sys
import time
from datetime import UTC
from pathlib import Path
from typing import Final

import click

from fastlog.cli.command import INCOMPLETE, INTERRUPTED, OK, Command
from fastlog.cli.counted import counted
from fastlog.cli.fields import PrintedField, parse_fields
from fastlog.cli.filters import Filters, unread_filter_options
from fastlog.cli.long_work import LongWork, report
from fastlog.cli.options import asked_zone, config_options, store_option, zone_options
from fastlog.cli.output import Style, csv_line, prepare_stdout
from fastlog.cli.safe_text import print_line
from fastlog.cli.unread import unread_files
from fastlog.cli.unstored import report_unstored
from fastlog.config import Config
from fastlog.config.urls import public_url
from fastlog.errors import ConfigError
from fastlog.query import TimeContext
from fastlog.search import Found, Progress
from fastlog.status.data_directory import boot_of
from fastlog.status.record_stores import choose_store
from fastlog.terminal import escape_json
from fastlog.transfer.export import Source, write_file
from fastlog.transfer.export_file import ExportFile, ExportState, is_complete, read_state
from fastlog.transfer.record_lines import LINE_FORMS, Form, encode_values, line_form
from fastlog.zone import Zone

_FORMATS: Final = ("ndjson", "csv", "parquet")
STDOUT: Final = "-"


@click.command(cls=Command)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    default=STDOUT,
    help="Write this file, which gets its name when it is complete (default: -, standard output).",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    help="The form of the file (default: by its suffix, else ndjson).",
)
@click.option(
    "--fields",
    metavar="FIELD,...",
    help="Write these fields only: columns, level, logger, time, extra.NAME.",
)
@click.option("--resume", is_flag=True, help="Continue an export that was interrupted.")
@store_option
@config_options
@unread_filter_options
@zone_options
def export(
    config: Config,
    filters: Filters,
    output: str,
    form: str | None,
    fields: str | None,
    resume: bool,
    store: str | None,
) -> int:
    """Write all records that match as NDJSON, CSV or Parquet.

    Writes them in order of arrival.
    """
    form = form or _form_of(output)
    if output == STDOUT and (resume or form == "parquet"):
        raise click.UsageError(
            f"{'--resume' if resume else '--format parquet'} needs --output FILE"
        )
    path, is_file = Path(output), output != STDOUT
    if is_file and path.is_dir():
        raise ConfigError(f"{path} is a directory; name a file with --output")
    if resume and is_complete(path):
        print_line(f"{path} is complete already")
        return OK
    known = read_state(path) if resume else None
    now, boot = (
        (time.time(), boot_of(config.data_dir)) if known is None else (known.now, known.boot)
    )
    chosen = choose_store(config, store)
    source = Source(
        chosen.store,
        filters.in_context(TimeContext(now, asked_zone(), boot)),
        unread_files(),
        Progress(),
    )
    report_unstored(config, chosen.sink)
    work = LongWork(source.progress, verb="exporting")
    file_form = _form(form, None if fields is None else parse_fields(fields))
    if not is_file:
        return _print(source, file_form, work, is_escaped=form == "ndjson")
    place = f"{config.data_dir.resolve()} {chosen.sink}" if store is None else public_url(store)
    question = repr((place, filters, str(asked_zone()), form, fields))

    def begin() -> ExportState:
        parts = [(part.name, part.end) for part in source.parts()]
        return ExportState(question=question, now=now, boot=boot, parts=parts)

    with ExportFile(path, question, begin, resume=resume) as file, work:
        is_done = write_file(source, file_form, file, work.show)
        records, is_whole = file.state.records, not file.state.unread
    if not is_done:
        so_far = counted(records, "record")
        report(f"interrupted after {so_far}; the same command with --resume continues")
        return INTERRUPTED
    return _report_written(path, records, is_whole=is_whole)


def _report_written(path: Path, records: int, *, is_whole: bool) -> int:
    print_line(f"exported {counted(records, 'record')} to {path}")
    return OK if is_whole else INCOMPLETE


def _form_of(output: str) -> str:
    suffix = Path(output).suffix.removeprefix(".")
    return suffix if suffix in _FORMATS else "ndjson"


def _form(form: str, fields: tuple[PrintedField, ...] | None) -> Form:
    """Return the form of a file with all columns, or with some fields."""
    if form == "parquet":
        from fastlog.transfer.parquet import parquet_form  # needs pyarrow

        return parquet_form(None if fields is None else [field.column_name for field in fields])
    if fields is None:
        return LINE_FORMS[form]
    zone = Zone(asked_zone() or UTC)

    def ndjson(found: Found) -> bytes:
        return encode_values({field.name: field.value(found, zone) for field in fields}) + b"\n"

    def csv(found: Found) -> bytes:
        return csv_line(field.value(found, zone) for field in fields).encode()

    if form == "ndjson":
        return line_form(b"", ndjson)
    return line_form(csv_line(field.name for field in fields).encode(), csv)


def _print(source: Source, form: Form, work: LongWork, *, is_escaped: bool) -> int:
    """Write an export to standard output, and return the exit code.

    Args:
        is_escaped: Whether a terminal gets escaped JSON.
    """
    prepare_stdout(Style.JSON)
    is_escaped = is_escaped and sys.stdout.isatty()
    records = 0
    with work:
        work.write(form.header.decode())
        for _, _, some in source.batches(source.parts()):
            text = form.encode(some).decode()
            if is_escaped:
                lines = text.split("\n")  # a text has no line feed of its own in JSON
                text = "\n".join(map(escape_json, lines))
            work.write(text)
            records += len(some)
            work.show(records)
    if source.progress.must_stop():
        report("interrupted; the export is incomplete")
        return INTERRUPTED
    return OK if not source.unread.files else INCOMPLETE
