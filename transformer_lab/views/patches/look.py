"""The weights of one row over an image, and the values in the sentence about them."""

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
    """The values in the sentence about one row.

    Args:
        codes: its weights in 16 bits, as the browser has them.
        start, n: the position of the first patch, and how many there are.
        others: the name of the positions that are not patches; None if there are none.
        padded: whether its window may extend beyond the image, which then gets some attention.
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
    """The name of the positions that are not patches; None if there are none."""
    others = [*labels[:start], *labels[start + n :]]
    kinds = dict.fromkeys(label.rstrip(" 0123456789") for label in others)
    names = [kind if kind in others else f"{kind}s" for kind in kinds]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]])) or None
