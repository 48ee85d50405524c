"""Warn about weights that were in no file."""

from __future__ import annotations

from typing import Any


def caution(*sources: Any) -> str:
    """The warning that a view of these traces or models shows first: which weights are random
    because they were in no file, from the names that the loader left in `random_weights`; "" if
    there are none."""
    names = [name for source in sources for name in getattr(source, "random_weights", ())]
    first, *more = dict.fromkeys(names) or ("",)
    if not first:
        return ""
    if not more:
        return f"random weights: {first} was not in the file"
    return f"random weights: {first} and {len(more)} more were not in the file"
