"""The weights of one row over a picture, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...tracing.packing import WEIGHT_SCALE
from ..shared.messages import messages

say = messages("patches")


def weight_of(code: int) -> float:
    return 0.0 if code == 0 else 1.0 if code >= WEIGHT_SCALE else (code + 0.5) / WEIGHT_SCALE


def look_values(
    codes: np.ndarray, labels: Sequence[str], start: int, n: int, others: str | None, padded: bool
) -> dict[str, Any]:
    """What is said of one row.

    Args:
        codes: its weights in 16 bits, as the browser has them.
        start, n: the position of the first patch, and how many there are.
        others: what the positions are called that are no patches; None where there are none.
        padded: whether its window may reach beyond the picture, which takes its share.
    """
    weights = [weight_of(code) for code in codes.tolist()]
    patches = range(start, start + n)
    top = [i for i in sorted(patches, key=lambda i: (-int(codes[i]), i))[:3] if codes[i]]
    names = [say("patch", patch=labels[i], weight=weights[i]) for i in top]
    return dict(
        n=len(names),
        **dict(zip("abc", names, strict=False)),
        others=others,
        others_share=sum(weight for i, weight in enumerate(weights) if i not in patches),
        beyond=1 - sum(weights) if padded else 0.0,
    )


def others_name(labels: Sequence[str], start: int, n: int) -> str | None:
    """What the positions are called that are no patches."""
    others = [*labels[:start], *labels[start + n :]]
    kinds = dict.fromkeys(label.rstrip(" 0123456789") for label in others)
    names = [kind if kind in others else f"{kind}s" for kind in kinds]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]])) or None
