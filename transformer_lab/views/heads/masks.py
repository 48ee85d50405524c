"""Which cells of a map are left empty."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def causal_gaps(weights: Tensor, ahead: int = 0) -> np.ndarray:
    """[query, key] in fp32, NaN where a causal query cannot look; `ahead`: keys beyond its own number
    that it sees."""
    shown = weights.float().cpu().numpy().copy()
    shown[np.triu(np.ones(shown.shape, dtype=bool), 1 + ahead)] = np.nan
    return shown
