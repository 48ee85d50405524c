"""Weights that were in no file: whoever shows such a model says so."""

from __future__ import annotations

from typing import Any


def caution(*sources: Any) -> str:
    """What a view of these traces or models has to say first: that weights are random because
    they were in no file, by the names that the loader left in their `random_weights`. "" where there is nothing to say."""
    names = [name for source in sources for name in getattr(source, "random_weights", ())]
    first, *more = dict.fromkeys(names) or ("",)
    if not first:
        return ""
    if not more:
        return f"random weights: {first} was not in the file"
    return f"random weights: {first} and {len(more)} more were not in the file"
