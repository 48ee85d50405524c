"""The fixtures of this folder's tests."""

import socket
import subprocess
import sys
import threading

from tests.browser.fixtures import _answers
from tests.ports import free_port


def test_a_port_that_went_to_somebody_else_is_no_jupyterlab():
    """Another test's kernel took the port once, and its greeting broke every test in JupyterLab."""
    running = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with socket.create_server(("127.0.0.1", 0)) as door:

            def greet():
                there, _ = door.accept()
                with there:
                    there.sendall(b"\xff\0\0\0\0\0\0\0\1\x7f\3\0")  # ZeroMQ's greeting
                    there.recv(1 << 16)

            threading.Thread(target=greet, daemon=True).start()
            assert not _answers(f"http://127.0.0.1:{door.getsockname()[1]}/api/status", running)
    finally:
        running.kill()
        running.wait()
    assert not _answers(f"http://127.0.0.1:{free_port()}/", running)  # the process has ended
