"""The fastlog protocol without I/O: its frames, its handshake, the table of known clients."""
