"""The wording of an edit inside a sentence."""

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
    """Describe an edit, as returned by `Edit.to_dict`.

    Args:
        kind: of the view, if its edits have one; an edit's own is mentioned if it differs.
        say: the catalogue of a view in another language.
    """
    own = values.get("kind", "" if kind else None)
    places: dict[str, Any] = {name: values.get(name) for name in ("layer", "head")}
    for end, names in (("query", queries), ("key", keys)):
        at = values.get(end)
        places[end] = None if at is None else names[at]
    shown = None if own is None or own == kind else own or "decoder"
    return say("edit", edit=values["edit"], kind=shown, **places)
