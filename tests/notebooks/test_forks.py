"""The kernels of these tests are forks: they share loaded libraries, but no state."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel


@pytest.fixture
def fork():
    """Start a kernel; returns its manager and a function that evaluates an expression, as text."""
    started = []

    def start():
        manager, client = start_new_kernel(kernel_name="python3")
        started.append((manager, client))

        def run(expression, *statements):
            reply = client.execute_interactive(
                "\n".join(statements), user_expressions={"value": expression}
            )
            return reply["content"]["user_expressions"]["value"]["data"]["text/plain"]

        return manager, run

    yield start
    for manager, client in started:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


LOADED = """import os, random, threading
import numpy, torch
from tests.kernels import load_ours

def state():
    drawn = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    return drawn, dict(os.environ), os.getcwd(), threading.active_count(), torch.get_num_threads()

import transformer_lab  # which has one setting, for torch's threads
before = state()
load_ours()
assert state() == before
from transformer_lab.views import View
from ipywidgets.widgets.widget import _instances
assert not any(isinstance(widget, View) for widget in _instances.values())
"""


def test_to_load_the_package_changes_nothing_else():
    """So a fork of a process that has loaded it is like a new process."""
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=root, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0 and run.stdout == "", run.stderr


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="kernels are no forks here")
def test_a_fork_is_as_new_as_any_kernel(fork, sealed, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{sealed}{os.pathsep}{os.environ['PYTHONPATH']}")
    monkeypatch.setenv("ANSWER", "42")
    monkeypatch.chdir(sealed)
    (sealed / "beside.py").write_text("answer = 42")
    _, one = fork()
    loaded = one(
        "[name in sys.modules for name in ('torch', 'transformer_lab', 'tests')]", "import sys"
    )
    assert loaded == "[True, True, False]"
    assert eval(one("os.environ['ANSWER'], os.getcwd()", "import os")) == ("42", str(sealed))
    assert one("beside.answer, sitecustomize.connect", "import beside, sitecustomize").startswith(
        "(42"
    )
    one("x", "x = 1")
    monkeypatch.setenv("ANSWER", "43")
    _, other = fork()
    assert other("os.environ['ANSWER'], 'x' in globals()", "import os") == "('43', False)"
    drawn = "random.random(), numpy.random.rand()", "import numpy, random"
    assert set(eval(one(*drawn))).isdisjoint(eval(other(*drawn)))


def test_a_fork_ends_with_what_stands_for_it(fork):
    manager, run = fork()
    number = int(run("os.getpid()", "import os"))
    os.kill(manager.provisioner.pid, signal.SIGKILL)
    for _ in range(100):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            break
        signal.sigtimedwait([], 0.1)
    else:
        pytest.fail("the fork is still there")
