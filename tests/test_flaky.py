"""A browser or kernel test that fails once does not fail a run; one that fails twice does."""

import pytest

pytest_plugins = "pytester"

SUITE = """
import pathlib, pytest

@pytest.mark.parametrize("i", range({tests}))
def test_waits(i):
    tries = pathlib.Path(f"tries-{{i}}")
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    assert len(tries.read_text()) > {failures}
"""


@pytest.fixture
def run(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # saves seconds per run
    monkeypatch.delenv("TL_RUN_AGAIN", raising=False)

    def run(folder, *, tests, failures):
        path = pytester.mkdir("tests").joinpath(folder)
        path.mkdir(parents=True)
        (path / "test_suite.py").write_text(SUITE.format(tests=tests, failures=failures))
        return pytester.runpytest_inprocess("-p", "tests.flaky", "-p", "no:cacheprovider", path)

    return run


@pytest.mark.parametrize(
    ("folder", "tests", "failures", "code", "tries"),
    [
        ("notebooks", 3, 1, 0, 2),
        ("notebooks", 3, 2, 1, 2),  # fails again
        ("notebooks", 4, 1, 1, 1),  # too many
        ("notebooks", 1, 0, 0, 1),
        ("edits", 1, 1, 1, 1),  # waits for no other process
    ],
)
def test_a_flaky_test_is_listed(run, pytester, folder, tests, failures, code, tries):
    result = run(folder, tests=tests, failures=failures)
    assert result.ret == code
    assert len((pytester.path / "tries-0").read_text()) == tries
    listed = [line for line in result.outlines if line.startswith("flaky, passed")]
    assert len(listed) == (tests if failures and code == 0 else 0)
