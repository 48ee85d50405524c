"""One thread: the models here are tiny, and threads that wait for each other are ten times slower
on a busy machine. And ■ works: a shell that starts the tests in the background makes them deaf to
interrupts, which many of them send to themselves."""

import gc
import os
import signal
from itertools import chain, islice

import pytest
import torch

from tests.browser.fixtures import (  # noqa: F401
    browser,
    chromium_of_all,
    lab,
    tabs,
    window_of_all,
)
from tests.halving import halving  # noqa: F401
from tests.kernels import exports_are_forks, pytest_configure  # noqa: F401
from tests.missing import pytest_runtest_setup, pytest_terminal_summary  # noqa: F401

pytest_plugins = ["tests.flaky", "tests.slow"]
torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is collected stays: to look for garbage in it took a third of the time. And in tests it is
    looked for thirty times less often than Python does, which took a twentieth of the time of a core
    and held no more memory."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.enable()
    return found


LAB = 1200  # seconds that the tests in JupyterLab may take, roughly, as the limits below say it of others


def pytest_collection_modifyitems(items):
    """Files that have a test with a limit of time of its own, and all that need a JupyterLab, come
    first: such tests are long, and one that began last would leave the other workers with nothing to
    do. Each worker begins with a part of the list, so they stand at the head of each part; those in
    JupyterLab at the head of one, whose worker starts it once."""
    in_lab = {item.path for item in items if "lab" in item.fixturenames}
    group = {item: "lab" if item.path in in_lab else item.path for item in items}
    seconds = {"lab": LAB} if in_lab else {}
    for item in items:
        if (limit := item.get_closest_marker("timeout")) and group[item] != "lab":
            seconds[group[item]] = seconds.get(group[item], 0) + limit.args[0]
    parts = [[] for _ in range(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))]
    loads = [0] * len(parts)
    for name in sorted(seconds, key=lambda name: (-seconds[name], str(name))):
        least = loads.index(min(loads))
        loads[least] += seconds[name]
        parts[least] += [item for item in items if group[item] == name]
    rest = iter([item for item in items if group[item] not in seconds])
    size = -(-len(items) // len(parts))
    for part in parts:
        part += islice(rest, max(0, size - len(part)))
    items[:] = [*chain(*parts), *rest]


@pytest.fixture(scope="session", autouse=True)
def _forks():
    exports_are_forks()


@pytest.fixture(autouse=True)
def _one_thread():
    """A test that asks for more threads leaves them to nobody."""
    yield
    torch.set_num_threads(1)
