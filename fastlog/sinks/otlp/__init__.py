"""Schemes `otlp+http` and `otlp+https`: records to any receiver of OTLP/HTTP. At least once.

In the order of a record: `mapping.py` gives it the names of OpenTelemetry, with `extras.py`,
`exceptions.py`, `trace_context.py` and `severity.py`; `requests.py` packs records into requests;
`exchange.py` sends one and gets the answer; `answers.py` says what an answer means; `sink.py` acts
on that. `settings.py` and `headers.py` are what the URL says.
"""
