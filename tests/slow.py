"""Let `make quick` leave slow tests out, and say how many of which folder.

A test is slow if it needs a browser, JupyterLab or the model wheels, if its path begins with one of
those below, or if it is marked `slow` itself.
"""

from collections import Counter

import pytest

from tests.flaky import KERNELS, WAITING

PATHS = (
    *KERNELS,
    "tests/docs/test_research.py",
    "tests/edits/test_retraced.py",
    "tests/files/test_models.py",
    "tests/graphs/",
    "tests/heads/test_naming.py",
    "tests/hostile/",
    "tests/adapters/test_caches.py",
    "tests/adapters/test_zoo.py",
    "tests/lessons/test_lesson_",
    "tests/lessons/test_machinery.py",
    "tests/reference/",
    "tests/analysis/reports/",
    "tests/analysis/studies/test_study.py",
    "tests/test_doctor.py",
    "tests/test_memory.py",
    "tests/test_optim.py",
    "tests/test_packaging.py",
    "tests/test_tasks.py",
    "tests/training/",
    "tests/views/engine/",
    "tests/views/explorer/test_cut_rows.py",
    "tests/views/pages/",
    "tests/views/positions/",
    "tests/views/test_",
)
LEFT_OUT = pytest.StashKey[Counter]()
SENT = "left out as slow"  # sent by a worker to the main process


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        waits = WAITING & {*item.fixturenames} or item.nodeid.startswith(PATHS)
        if waits or any(map(item.get_closest_marker, ("browser", "models"))):
            item.add_marker(pytest.mark.slow)


def pytest_deselected(items):
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow and "not slow" in slow[0].config.option.markexpr:
        folders = Counter(item.nodeid.split("::")[0].split("/")[1] for item in slow)
        config = slow[0].config
        config.stash[LEFT_OUT] = folders
        if hasattr(config, "workeroutput"):
            config.workeroutput[SENT] = dict(folders)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    sent = getattr(node, "workeroutput", {}).get(SENT)  # every worker leaves out the same
    if sent:
        node.config.stash[LEFT_OUT] = Counter(sent)


def pytest_terminal_summary(terminalreporter, config):
    left_out = config.stash.get(LEFT_OUT, Counter())
    if left_out:
        names = ", ".join(f"{name} {count}" for name, count in left_out.most_common())
        terminalreporter.write_line(
            f"not run, since they are slow: {left_out.total()} tests ({names}); `make test` runs them"
        )
