"""The edits of an Explorer: objects here, plain values in the browser, where edits.js shows
them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...edits.constructors import edit_from_dict
from ...edits.kinds import Edit, EditError
from ..shared.javascript import NoJavaScript, call
from ..shared.modules import VIEWS

EDITS = VIEWS / "explorer" / "edits.js"
PROSE = VIEWS / "explorer" / "prose.js"


class Edits:
    """Converts edits to plain values for a browser, and back. An edit that holds tensors stays
    here, under a number.

    A browser knows few kinds of edits; each is sent with the Python that creates it and a
    description (`Given` of edits.js), and shown as edits.js describes it.
    """

    def __init__(self) -> None:
        self._kept: list[Edit] = []

    def dicts(self, edits: Iterable[Any]) -> list[dict[str, Any]]:
        """Convert edits, or values from the browser, to plain values.

        Raises:
            EditError: for anything else.
        """
        if not isinstance(edits, Iterable) or isinstance(edits, (str, dict)):
            raise EditError(
                f"edits={edits!r} is not a list; use [tl.ablate(…), tl.knock_out(…)], or [] for none"
            )
        return [self._dict(edit) for edit in edits]

    def _dict(self, edit: Any) -> dict[str, Any]:
        if isinstance(edit, dict):
            return edit.get("made", edit)
        if not isinstance(edit, Edit):
            raise EditError(f"{edit!r} is not an edit; use tl.ablate(…), tl.knock_out(…) …")
        try:
            return edit.to_dict()
        except EditError:
            if not any(kept is edit for kept in self._kept):
                self._kept.append(edit)
            number = next(i for i, kept in enumerate(self._kept) if kept is edit)
            place = {name: getattr(edit, name) for name in ("layer", "head", "kind")}
            named = {name: x for name, x in place.items() if x is not None}
            return {"edit": "kept", "number": number, **named}

    def sent(self, values: Iterable[Any], kinds: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Convert plain values to those for a browser.

        Args:
            kinds: kind -> {"query_tokens": …, "key_tokens": …}, to name the ends of a cut edge.
        """
        given = [self._given(value) for value in values]
        try:
            return call(EDITS, "described", given, kinds) if given else []
        except NoJavaScript:  # the browser describes them
            return given

    def _given(self, made: dict[str, Any]) -> dict[str, Any]:
        edit = self.object(made)
        what = edit.describe()
        code = f"…  # {what}" if made["edit"] == "kept" else edit.code()
        return {"made": made, "code": code, "what": what}

    def object(self, values: Any) -> Edit:
        if isinstance(values, dict) and values.get("edit") == "kept":
            number = values.get("number")
            if not isinstance(number, int) or not 0 <= number < len(self._kept):
                raise EditError(f"this view has no edit {number!r}")
            return self._kept[number]
        return edit_from_dict(values)

    def objects(self, values: Iterable[Any]) -> list[Edit]:
        return [self.object(value) for value in values]

    def subject(self, values: Sequence[Any], kinds: dict[str, dict[str, Any]]) -> str:
        """The start of a sentence about the effect of edits: "With layer 1, head 2 switched off".

        Args:
            kinds: as in `sent`.
        """
        return call(PROSE, "subjectOf", self.sent(values, kinds))

    @staticmethod
    def names_tokens(values: dict[str, Any]) -> bool:
        """Whether an edit names tokens of a text, and so applies to that text alone."""
        return values.get("edit") in ("knock_out", "kept")

    def heads_off(
        self, values: Iterable[Any], kind: str, n_layers: int, n_heads: int, default: str
    ) -> list[tuple[int, int]]:
        """(layer, head) of every head of this kind that is switched off."""
        heads_off = set()
        for value in values:
            if value.get("edit") != "ablate" or (value.get("kind") or default) != kind:
                continue
            layer, head = value.get("layer"), value.get("head")
            layers = range(n_layers) if layer is None else [layer]
            heads = range(n_heads) if head is None else [head]
            heads_off |= {(layer, head) for layer in layers for head in heads}
        return sorted(heads_off)
