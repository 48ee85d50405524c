"""Conversion of numbers in figures to arrays and to text."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from transformer_lab.views.shared.messages import fixed


def as_array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=float)


def written_alike(values: np.ndarray, kind: str) -> list[list[str]]:
    """The numbers of one matrix as text, either all as integers or all with two decimals; a score of
    zero is "0". Weights are integers only if each is exactly 0 or 1, as in a mask."""
    finite = values[np.isfinite(values)]
    off = np.abs(finite - finite.round())
    if (kind != "weights" and (off < 5e-3).all()) or not off.any():
        return [[fixed(value, 0) for value in line] for line in values]
    zero = "0.00" if kind == "weights" else "0"
    return [[fixed(value) if value else zero for value in line] for line in values]


def written(value: float, kind: str) -> str:
    whole = kind != "weights" and abs(value % 1 - 0.5) > 0.495
    return fixed(value, 0 if whole else 2)


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
