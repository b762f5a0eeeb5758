"""The fastlog protocol: its frames, and the handshake of its clients. No I/O."""
