"""The edits of an Explorer: objects in Python, plain values in the browser. The counterpart of
static/explorer_edits.js."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..edit import Edit, EditError, edit_from_dict


class Edits:
    """Turns edits into what a browser may hold, and back. An edit that holds tensors stays here,
    under a number."""

    def __init__(self) -> None:
        self._kept: list[Edit] = []

    def dicts(self, edits: Iterable[Any]) -> list[dict[str, Any]]:
        """Of edits, or of what the browser sent.

        Raises:
            EditError: for anything else.
        """
        return [self._dict(edit) for edit in edits]

    def _dict(self, edit: Any) -> dict[str, Any]:
        if isinstance(edit, dict):
            return edit
        if not isinstance(edit, Edit):
            raise EditError(f"{edit!r} is no edit; use tl.ablate(…), tl.knock_out(…) …")
        try:
            return edit.to_dict()
        except EditError:
            if not any(kept is edit for kept in self._kept):
                self._kept.append(edit)
            number = next(i for i, kept in enumerate(self._kept) if kept is edit)
            where = {"layer": edit.layer, "head": edit.head, "kind": edit.kind}
            return {"edit": "kept", "number": number, "words": edit.describe(), **where}

    def object(self, values: Any) -> Edit:
        if isinstance(values, dict) and values.get("edit") == "kept":
            number = values.get("number")
            if not isinstance(number, int) or not 0 <= number < len(self._kept):
                raise EditError(f"this view keeps no edit {number!r}")
            return self._kept[number]
        return edit_from_dict(values)

    def objects(self, values: Iterable[Any]) -> list[Edit]:
        return [self.object(value) for value in values]

    def code(self, values: Sequence[Any]) -> str:
        """The Python that makes these edits."""
        lines = "".join(f"    {edit.code()},\n" for edit in self.objects(values))
        return f"edits = [\n{lines}]" if values else "edits = []"

    def subject(self, values: Sequence[Any], *, several: bool) -> str:
        """The beginning of a sentence on what edits do: "Without layer 1, head 2"."""
        edits = self.objects(values)
        if len(edits) != 1:
            return f"With these {len(edits)} edits"
        edit = edits[0]
        ablated = values[0].get("edit") == "ablate" and set(values[0]) <= {
            "edit", "layer", "head", "kind"
        }  # fmt: skip
        if ablated and edit.layer is not None and edit.head is not None:
            side = f"{edit.kind} " if several and edit.kind else ""
            return f"Without {side}layer {edit.layer}, head {edit.head}"
        return f"With this edit ({edit.describe()})"

    @staticmethod
    def names_tokens(values: dict[str, Any]) -> bool:
        """Whether an edit names tokens of a text, and so belongs to that text alone."""
        return values.get("edit") in ("knock_out", "kept")

    def heads_off(
        self, values: Iterable[Any], kind: str, n_layers: int, n_heads: int, default: str
    ) -> list[tuple[int, int]]:
        """(layer, head) of every head of this kind that is switched off."""
        found = set()
        for value in values:
            if value.get("edit") != "ablate" or (value.get("kind") or default) != kind:
                continue
            layer, head = value.get("layer"), value.get("head")
            layers = range(n_layers) if layer is None else [layer]
            heads = range(n_heads) if head is None else [head]
            found |= {(one, other) for one in layers for other in heads}
        return sorted(found)


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
