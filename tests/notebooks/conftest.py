"""Run notebooks without network, in a folder of their own."""

import os
from pathlib import Path

import pytest

from tests.browser.fixtures import Lesson, notebook, screenshot  # noqa: F401
from tests.kernels import FORKED

GUARD = '''
"""Put on the path of a notebook's kernel: only this machine can be reached."""
import socket

_connect, _connect_ex, _lookup = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo
_LOCAL = {"localhost", "127.0.0.1", "::1", "", None}


def _refuse(host):
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host not in _LOCAL:
        raise OSError(f"the network is blocked in tests: {host}")


def _host(family, address):
    return None if family == getattr(socket, "AF_UNIX", -1) else address[0]


def connect(self, address):
    _refuse(_host(self.family, address))
    return _connect(self, address)


def connect_ex(self, address):
    _refuse(_host(self.family, address))
    return _connect_ex(self, address)


def getaddrinfo(host, *rest, **more):
    _refuse(host)
    return _lookup(host, *rest, **more)


socket.socket.connect, socket.socket.connect_ex = connect, connect_ex
socket.getaddrinfo = getaddrinfo
'''


@pytest.fixture(autouse=True)
def sealed(tmp_path, monkeypatch) -> Path:
    """Kernels started now have no network, and keep their progress in the test's folder."""
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(GUARD)
    monkeypatch.setenv("PYTHONPATH", str(guard))
    monkeypatch.setenv("JUPYTER_PATH", os.environ[FORKED])
    monkeypatch.setenv("TRANSFORMER_LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture
def open_lesson(notebook):
    """Open a notebook file in JupyterLab, with its cells by id."""
    return lambda file: Lesson(notebook(file=file))
