"""Questions to a large store: what `fastlog query` and `fastlog stats` cost, beside other tools.

- `store`: makes the store, and the same records as lines of JSON
- `cases`: the questions, each with the commands that answer it
- `measure`: runs the commands in turns, and prints a table
- `page`: the requests of the page to a web server over the store
"""
