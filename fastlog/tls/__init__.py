"""The TLS process: it has the `tls://` listeners, and passes plain bytes to the receiver.

For each connection whose handshake is done, it makes a pair of Unix sockets. The receiver gets one
end, with the name of the real peer, and treats it as any accepted connection. The TLS process
copies between the other end and the network, with a bounded buffer in each direction: when one side
does not read, the other one is not read either.

    client ══ TLS ══ TLS process ── pair of sockets ── receiver
"""
