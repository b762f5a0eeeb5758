"""NATS JetStream between collectors and a central server: what both sides share.

`target.py` has what a URL says, `packet.py` the layout of messages, `connection.py` the requests to
a cluster, `streams.py` the two streams, and `node_state.py` what the central tells a collector.
This package imports nats-py only in `connection.py`.
"""
