"""Run a browser or kernel test that failed once more, alone, after all others.

Such a test waits for other processes, which a busy machine may starve. If it passes alone it is
listed as flaky and does not fail the run; if more than `MOST` tests fail, or any test that has no
such excuse, nothing is run again and the run fails.
"""

import os
import subprocess
import sys

import pytest

MOST = 3
WAITING = {"chromium_of_all", "lab"}  # fixtures of a browser and of JupyterLab
KERNELS = ("tests/notebooks/", "tests/lessons/homework/")
AGAIN = "TL_RUN_AGAIN"  # set in the second run, which is not repeated


def pytest_runtest_setup(item):
    waits = WAITING & {*item.fixturenames} or item.nodeid.startswith(KERNELS)
    if waits or item.get_closest_marker("browser"):
        item.user_properties.append(("may run again", True))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session, exitstatus):
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if hasattr(config, "workerinput") or AGAIN in os.environ or reporter is None:
        return
    failed = [*reporter.stats.get("failed", []), *reporter.stats.get("error", [])]
    tests = list(dict.fromkeys(report.nodeid for report in failed))
    # A file that could not be collected has no properties.
    properties = [getattr(report, "user_properties", ()) for report in failed]
    excused = all(("may run again", True) in own for own in properties)
    if exitstatus != pytest.ExitCode.TESTS_FAILED or not excused or not 0 < len(tests) <= MOST:
        return
    second = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", *tests],
        cwd=config.invocation_params.dir,
        env=os.environ | {AGAIN: "1"},
        capture_output=True,
        text=True,
    )
    if second.returncode == 0:
        session.exitstatus = pytest.ExitCode.OK
        reporter.flaky = [f"flaky, passed when run again alone: {test}" for test in tests]
    else:
        reporter.flaky = [f"run again alone, of {len(tests)}:", *second.stdout.splitlines()[-5:]]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    yield
    for line in getattr(terminalreporter, "flaky", []):
        terminalreporter.write_line(line, yellow=True)
