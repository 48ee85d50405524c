"""Ports for servers that bind them a while after they were chosen."""

import random
import socket


def free_port():
    """A port that nobody has, nor is given: kernels ask for any, and Linux gives those from 32768 on.
    One of these went to another test's kernel before who had asked for it had started."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_768)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
