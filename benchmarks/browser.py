"""Chromium for benchmarks, and how much memory a page takes in it."""

from __future__ import annotations

from pathlib import Path

from transformer_lab.doctor.report import chromium

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def launch(playwright):
    """Start a separate browser.

    Raises:
        RuntimeError: when no Chromium is installed.
    """
    path = chromium()
    if path is None:
        raise RuntimeError("no Chromium was found: install it, or set TL_CHROME to its path")
    return playwright.chromium.launch(executable_path=path, args=FLAGS)


def show_tools(page) -> None:
    """Show all tools of an Explorer."""
    if not page.locator("[data-part=tool]:visible").count():
        page.locator("[data-part=all-tools]").click()


def megabytes(browser) -> float | None:
    """Memory of all the browser's processes, with shared pages divided among them (PSS).

    None if the system does not report it (only Linux does).
    """
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
