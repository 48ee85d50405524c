"""A run's summary says what was not tested, and how to get what is missing."""

import pytest

from tests.missing import THINGS, not_tested

pytest_plugins = "pytester"

SUITE = """
    import pytest
    from tests.missing import lacking, need, package

    @pytest.mark.parametrize("i", range(3))
    def test_page(i):
        need("browser")

    def test_words():
        lacking("models", "the sha256 is another one")

    def test_odd():
        pytest.skip("not on a Tuesday")

    def test_package():
        package("no_such_package")

    def test_here():
        pass
"""
LINE = (
    "not tested here: 3 tests need Chromium (apt install chromium); "
    "1 test and 1 file need the extra `dev` (pip install -e '.[dev]'); "
    "1 test needs the model wheels (make models); 1 for other reasons (pytest -rs tells them)"
)


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a suite without Chromium; `required` are the variables that make things required."""
    pytester.makepyfile(test_suite=SUITE)
    pytester.makepyfile(test_file="from tests.missing import package\npackage('nor_this_one')")
    monkeypatch.setenv("TL_CHROME", "no-such-browser")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # saves seconds per run

    def run(*arguments, required=()):
        for thing in THINGS.values():
            if thing.required:
                monkeypatch.setenv(thing.required, "1" if thing.required in required else "0")
        return pytester.runpytest_inprocess(
            "-p", "tests.missing", "-p", "no:cacheprovider", "-rfE", *arguments
        )

    return run


def test_the_last_lines_tell_what_is_missing(run):
    result = run()
    result.assert_outcomes(passed=1, skipped=7)
    assert result.outlines[-2] == LINE
    assert not any("SKIPPED" in line for line in result.outlines)


def test_two_workers_tell_it_once(run):
    pytest.importorskip("xdist")
    result = run("-p", "xdist", "-n", "2")
    assert [line for line in result.outlines if "not tested" in line] == [LINE]


@pytest.mark.parametrize(
    ("variable", "failed", "says"),
    [
        ("TL_REQUIRE_BROWSER", 3, "TL_REQUIRE_BROWSER=1, and this test needs Chromium"),
        ("TL_REQUIRE_MODELS", 1, "needs the model wheels (make models): the sha256 is another one"),
    ],
)
def test_what_must_be_here_fails_where_it_is_not(run, variable, failed, says):
    result = run(required=(variable,))
    result.assert_outcomes(passed=1, failed=failed, skipped=7 - failed)
    assert says in result.stdout.str()


def test_a_mark_is_asked_before_the_fixtures(pytester, monkeypatch):
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def costly():
            raise AssertionError("made for nothing")

        @pytest.mark.needs("gpu")
        def test_fast(costly):
            pass
        """
    )
    monkeypatch.setitem(THINGS, "gpu", type(THINGS["gpu"])("a GPU", here=lambda: False))
    result = pytester.runpytest_inprocess("-p", "tests.missing", "-p", "no:cacheprovider")
    result.assert_outcomes(skipped=1)
    assert result.outlines[-2] == "not tested here: 1 test needs a GPU"


def test_where_all_was_tested_nothing_is_said():
    assert not_tested([]) == ""
