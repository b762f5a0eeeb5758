"""Measure the OTLP sink: microseconds a record, medians.

    python benchmarks/otlp_cost.py [--rounds 9] [--records 20000]

The same records of stock clients go through the parts of the sink, in turns, in one process:

- `decode`: blocks of the journal → records.
- `encode`: records → serialized log records. `one by one`: each built whole with
  opentelemetry-proto, as an exporter of the SDK does, and serialized with its request.
- `request`: serialized log records → requests of 1 MiB; `gzip`: these, compressed.
- `sink`: all of it, and the exchange with a receiver in another process, which stores nothing: CPU
  of this process, and elapsed time.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from decode_cost import make_blocks, make_frames

from fastlog.config import RetentionConfig
from fastlog.decode import Decoder
from fastlog.record import Record
from fastlog.sinks import SinkContext
from fastlog.sinks.otlp.extras import decode, key_value
from fastlog.sinks.otlp.mapping import Mapping, qualified
from fastlog.sinks.otlp.messages import logs, service
from fastlog.sinks.otlp.requests import make_request
from fastlog.sinks.otlp.severity import severity_number
from fastlog.sinks.otlp.sink import OtlpSink

NODE = "ab" * 16
PER_REQUEST = 2500


def serve(listener: socket.socket) -> None:
    """Answer every request with 200; in a process of its own."""
    while True:
        connection, _ = listener.accept()
        buffered = connection.makefile("rb")
        while line := buffered.readline():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            elif line == b"\r\n":
                buffered.read(length)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def one_by_one(records: list[Record]) -> bytes:
    """Return a request whose log records are built whole."""
    request = service.ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for record in records:
        attributes = {
            "log.record.uid": f"{NODE}/{record.offset}/{record.idx}",
            "code.function.name": qualified(
                record.funcName or "", record.module, record.name, record.pathname
            ),
            "code.file.path": record.pathname,
            "code.line.number": record.lineno,
            "process.pid": record.process,
            "python.process.name": record.processName,
            "thread.id": record.thread,
            "thread.name": record.threadName,
            **decode(record.extra),
        }
        scope.log_records.append(
            logs.LogRecord(
                time_unix_nano=int(record.created * 1e9),
                observed_time_unix_nano=int(record.received * 1e9),
                severity_number=severity_number(record.levelno),
                severity_text=record.levelname,
                body=key_value("", record.message).value,
                attributes=[key_value(name, value) for name, value in attributes.items()],
            )
        )
    return bytes(request.SerializeToString())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--records", type=int, default=20_000)
    options = parser.parse_args()

    listener = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        serve(listener)
    url = f"otlp+http://127.0.0.1:{listener.getsockname()[1]}"
    blocks = make_blocks(make_frames(options.records), 400, 20)
    decoder, mapping = Decoder(), Mapping(NODE, {}, 32 << 10)
    decoded = [decoder.decode(block) for block in blocks]
    records = [record for each in decoded for record in each.records]
    items = [mapping.encode(record) for record in records]
    parts = range(0, len(items), PER_REQUEST)
    requests = [make_request(items[at : at + PER_REQUEST]) for at in parts]

    def through_sink() -> None:
        with tempfile.TemporaryDirectory() as directory:
            context = SinkContext("otlp", urlsplit(url), Path(directory), RetentionConfig())
            sink = OtlpSink(context)
            sink.open(NODE)
            for at in range(0, len(blocks), 10):
                sink.apply([decoder.decode(block) for block in blocks[at : at + 10]])
            sink.close()

    ways: dict[str, Callable[[], object]] = {
        "decode": lambda: [decoder.decode(block) for block in blocks],
        "encode": lambda: [mapping.encode(record) for record in records],
        "encode, one by one": lambda: [one_by_one(records[at : at + PER_REQUEST]) for at in parts],
        "request": lambda: [make_request(items[at : at + PER_REQUEST]) for at in parts],
        "gzip": lambda: [gzip.compress(request, 1) for request in requests],
        "sink": through_sink,
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    gc.disable()
    try:
        for _ in range(options.rounds):
            for name, way in ways.items():
                began, cpu = time.perf_counter(), time.process_time()
                way()
                times = time.process_time() - cpu, time.perf_counter() - began
                taken[name].append(tuple(each / len(records) * 1e6 for each in times))
                gc.collect()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    size = sum(map(len, requests)) / len(records)
    small = sum(len(gzip.compress(request, 1)) for request in requests) / len(records)
    print(f"{len(records)} records, {size:.0f} bytes each, {small:.0f} compressed")
    for name, pairs in taken.items():
        cpu, elapsed = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name:20} {cpu:6.1f} µs of CPU {elapsed:8.1f} µs elapsed")


if __name__ == "__main__":
    main()
