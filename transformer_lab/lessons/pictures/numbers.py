"""Numbers of a picture: what they are made of, and how they are written."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=float)


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
