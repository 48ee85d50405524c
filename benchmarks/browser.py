"""Chromium for benchmarks, and how much memory a page takes in it."""

from __future__ import annotations

from pathlib import Path

from transformer_lab.doctor.report import chromium

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def launch(playwright):
    """A browser of its own.

    Raises:
        RuntimeError: when there is none.
    """
    path = chromium()
    if path is None:
        raise RuntimeError("no Chromium was found: install it, or set TL_CHROME to its path")
    return playwright.chromium.launch(executable_path=path, args=FLAGS)


def megabytes(browser) -> float | None:
    """What all processes of the browser hold, shared pages by their share (PSS); None where the
    system does not tell (it needs Linux)."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    held = [_held(process["id"]) for process in processes]
    known = [size for size in held if size is not None]
    return sum(known) / 1e3 if len(known) == len(held) else None


def _held(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), None)
