"""Which notebooks are lessons, and the number of each: 00, 00b, 01, …"""

from __future__ import annotations

from pathlib import Path

LESSON = "[0-9][0-9]*_*.ipynb"  # 00_first_look.ipynb, 00b_pytorch.ipynb
TRANSLATED = f"[a-z][a-z]/{LESSON}"  # de/00_first_look.ipynb


def lesson_paths(folder: Path) -> list[Path]:
    """The lessons in a folder, in order."""
    return sorted(folder.glob(LESSON))


def translated_paths(folder: Path) -> list[Path]:
    """The translated lessons in a folder, by language."""
    return sorted(folder.glob(TRANSLATED))


def number_of(path: Path) -> str:
    """The number of a lesson: "00", "00b"."""
    return path.stem.partition("_")[0]
