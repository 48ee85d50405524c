"""One thread, since the models are tiny and waiting threads are ten times slower on a busy machine.
Interrupts, which a shell disables for tests run in the background, are enabled: many tests send
them to themselves."""

import gc
import os
import signal
from itertools import chain, islice

import pytest
import torch

from tests.browser.fixtures import browser, chromium_of_all, lab, tabs, window_of_all  # noqa: F401
from tests.halving import halving  # noqa: F401
from tests.kernels import exports_are_forks, pytest_configure  # noqa: F401
from tests.missing import pytest_runtest_setup, pytest_terminal_summary  # noqa: F401

pytest_plugins = ["tests.flaky", "tests.slow"]
torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Freeze what is collected: garbage collection took a third of the time. During tests it runs
    thirty times less often than Python's default, which took a twentieth of the CPU time and saved
    no memory."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.enable()
    return found


LAB = 1200  # seconds: a rough limit for all tests in JupyterLab


def pytest_collection_modifyitems(items):
    """Put files whose tests set a time limit, and all that need JupyterLab, first: such tests are
    long, and one that began last would leave the other workers idle. Each worker starts with one
    part of the list, so they go to the head of each part; those in JupyterLab go to the head of a
    single one, whose worker starts it once."""
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
    """Reset the number of threads after each test."""
    yield
    torch.set_num_threads(1)
