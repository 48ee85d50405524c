"""Messages during a wait: what they say, where, and that none stays on screen."""

import sys
import threading
import time
from types import SimpleNamespace

import pytest

from transformer_lab.files import waiting as waits
from transformer_lab.files.waiting import waiting


@pytest.fixture
def screen(monkeypatch):
    lines = []
    monkeypatch.setattr(waits, "AFTER", 0.001)
    monkeypatch.setattr(waits, "EVERY", 0.001)
    monkeypatch.setattr(waits, "_screen", lambda: (lines.append, "Ctrl-C"))
    return lines


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_the_innermost_wait_is_shown_and_taken_away(screen):
    before = threading.active_count()

    def interrupted():
        with waiting("Opening"):
            until(lambda: screen and screen[-1].startswith("Opening … "))
            with waiting("Reading") as tell:
                tell(3, 1200)
                until(lambda: screen[-1].startswith("Reading … 3 of 1,200 · "))
                with waiting("Running"):  # has no count, so the counted message stays
                    shown = len(screen)
                    until(lambda: len(screen) > shown + 2)
                    assert screen[-1].startswith("Reading … 3 of 1,200 · ")
            until(lambda: screen[-1].startswith("Opening"))
            assert screen[-1].endswith(" s (Ctrl-C stops it)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert screen[-1] == "" and threading.active_count() == before


def test_a_wait_is_shown_however_soon_its_thread_looks(screen, monkeypatch):
    monkeypatch.setattr(waits, "AFTER", 0.0)
    for _ in range(100):
        screen.clear()
        with waiting("Opening"):
            until(lambda: screen)
        assert screen[-1] == ""


def test_who_asks_for_the_numbers_gets_them_and_the_screen_nothing(screen):
    numbers = []
    with waiting("Reading", lambda *both: numbers.append(both)) as tell:
        tell(1, 2)
    assert numbers == [(1, 2)] and not screen


@pytest.mark.parametrize("asks", [True, False, None], ids=["lab", "papermill", "pipe"])
def test_nothing_is_shown_where_nobody_watches(monkeypatch, asks):
    kernel = None if asks is None else SimpleNamespace(_allow_stdin=asks)
    ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=kernel))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=print))
    assert (waits._screen() is not None) == bool(asks)
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(waits._screen()))
    thread.start()
    thread.join()
    assert elsewhere == [None]
