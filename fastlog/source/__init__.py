"""The central side of JetStream: takes the blocks of other servers' journals, and stores them.

`source.py` is the loop of the process, `leases.py` decides which nodes it takes, `follower.py`
feeds the blocks of one node to a worker with the sink, `node_reader.py` puts them in order, and
`feed.py` reads them from the stream.
"""
