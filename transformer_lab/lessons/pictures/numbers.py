"""Conversion of numbers in figures to arrays and to text."""

from __future__ import annotations

import re
from typing import Any

import numpy as np


def as_array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=float)


def written_alike(values: np.ndarray, kind: str) -> list[list[str]]:
    """The numbers of one matrix as text, either all as integers or all with two decimals; zero is "0".
    Weights are integers only if each is exactly 0 or 1, as in a mask."""
    finite = values[np.isfinite(values)]
    off = np.abs(finite - finite.round())
    if (kind != "weights" and (off < 5e-3).all()) or not off.any():
        return [[written(value, "scores") for value in line] for line in values]
    if kind == "weights":
        return [[written(value, kind) for value in line] for line in values]
    return [["0" if value == 0 else _two_places(value) for value in line] for line in values]


def _two_places(value: float) -> str:
    if np.isneginf(value):
        return "−∞"
    shown = f"{abs(value):.2f}"
    sign = "−" if value < 0 and float(shown) else ""
    return sign + (shown[1:] if shown.startswith("0") else shown)


def written(value: float, kind: str) -> str:
    if np.isneginf(value):
        return "−∞"
    if kind == "weights":
        shown = f"{value:.2f}"
        return shown[1:] if shown.startswith("0") else shown
    if abs(value - round(value)) < 5e-3:
        return f"{round(value)}".replace("-", "−")
    shown = f"{value:.2f}".replace("-", "−")
    return shown.replace("0.", ".") if abs(value) < 1 else shown


def spelt(sentence: str) -> str:
    """The sentence with numbers formatted as in figures and claims: −0.03 and 5e−8 instead of -0.03 and
    5e-08. Code in backticks stays as it is."""
    parts = re.split(r"(`[^`\n]+`)", sentence)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"(?<=\d)e([-+])0*(\d)", _power, parts[i])
        parts[i] = re.sub(r"(?:(?<=[\s(±])|^)-(?=\.?\d)", "−", parts[i])
    return "".join(parts)


def _power(match: re.Match[str]) -> str:
    return f"e{'−' if match[1] == '-' else ''}{match[2]}"
