"""Ports for servers that bind them some time after they were chosen."""

import random
import socket


def free_port():
    """A free port below 32768: Linux assigns those above to kernels, which ask for any. One of them
    went to another test's kernel before the server it was meant for had started."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_768)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
