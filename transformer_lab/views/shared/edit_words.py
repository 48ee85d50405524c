"""An edit inside a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .messages import Messages, messages

say = messages("shared")


def edit_words(
    values: Mapping[str, Any],
    queries: Sequence[str],
    keys: Sequence[str],
    kind: str = "",
    say: Messages = say,
) -> str:
    """An edit as `Edit.to_dict` gives it.

    Args:
        kind: of the view, where its edits name one; an edit's own is named where it is another.
        say: the catalogue of a view that is written in another language.
    """
    own = values.get("kind", "" if kind else None)
    places: dict[str, Any] = {name: values.get(name) for name in ("layer", "head")}
    for end, names in (("query", queries), ("key", keys)):
        at = values.get(end)
        places[end] = None if at is None else names[at]
    shown = None if own is None or own == kind else own or "decoder"
    return say("edit", edit=values["edit"], kind=shown, **places)
