"""One thread: the models here are tiny, and threads that wait for each other are ten times slower
on a busy machine. And ■ works: a shell that starts the tests in the background makes them deaf to
interrupts, which many of them send to themselves."""

import gc
import signal

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
from tests.kernels import pytest_configure  # noqa: F401
from tests.missing import pytest_runtest_setup, pytest_terminal_summary  # noqa: F401

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is collected stays: to look for garbage in it took a third of the time."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.enable()
    return found


def pytest_collection_modifyitems(items):
    """Files that have a test with a limit of time of its own come first: such tests are long, and
    one that began last would leave the other workers with nothing to do."""
    long = {item.path for item in items if item.get_closest_marker("timeout")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(autouse=True)
def _one_thread():
    """A test that asks for more threads leaves them to nobody."""
    yield
    torch.set_num_threads(1)
