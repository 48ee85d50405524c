"""An edit inside a sentence. The counterpart of edit_words.js."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def place_words(values: Mapping[str, Any], kind: str = "") -> str:
    """Where an edit acts; its kind is named where it is another than that of the view."""
    where = [f"layer {values['layer']}" if values.get("layer") is not None else "every layer"]
    where += [f"head {values['head']}"] if values.get("head") is not None else []
    own = values.get("kind", "" if kind else None)
    named = "" if own is None or own == kind else f"{own or 'decoder'} "
    return named + ", ".join(where)


def edit_words(
    values: Mapping[str, Any], queries: Sequence[str], keys: Sequence[str], kind: str = ""
) -> str:
    """An edit as `Edit.to_dict` gives it.

    Args:
        kind: of the view, where its edits name one.
    """
    place = place_words(values, kind)
    if values["edit"] == "ablate":
        return f"{place} switched off"
    if values["edit"] == "knock_out":
        ends = [
            names[values[end]] if values.get(end) is not None else "everything"
            for end, names in (("query", queries), ("key", keys))
        ]
        return f"{ends[0]} → {ends[1]} cut in {place}"
    return f"{values['edit']} in {place}"
