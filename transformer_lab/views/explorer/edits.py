"""The edits of an Explorer: objects in Python, plain values in the browser. The counterpart of
static/explorer_edits.js."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ..edit import Edit, EditError, default_kind, edit_from_dict
from .words import quoted


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
        if not isinstance(edits, Iterable) or isinstance(edits, (str, dict)):
            raise EditError(
                f"edits={edits!r} is no list; use [tl.ablate(…), tl.knock_out(…)], or [] for none"
            )
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

    def subject(self, values: Sequence[Any], kinds: dict[str, dict[str, Any]]) -> str:
        """The beginning of a sentence on what edits do: "Without layer 1, head 2".

        Args:
            kinds: kind -> {"query_tokens": …, "key_tokens": …}, to name the ends of a cut edge.
        """
        edits = self.objects(values)
        if len(edits) != 1:
            return f"With these {len(edits)} edits"
        edit, value = edits[0], values[0]
        kind = edit.kind or default_kind(list(kinds))
        side = f"{kind} " if len(kinds) > 1 else ""
        plain = set(value) <= {"edit", "layer", "head", "kind"}
        if value.get("edit") == "ablate" and plain and None not in (edit.layer, edit.head):
            return f"Without {side}layer {edit.layer}, head {edit.head}"
        if value.get("edit") == "knock_out" and kind in kinds:
            return f"With {_edge(value, kinds[kind])} cut in {_where(edit, side)}"
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


def _edge(cut: dict[str, Any], kind: dict[str, Any]) -> str:
    """“query” → “key”, as static/explorer_edits.js says it."""
    query, key = cut.get("query"), cut.get("key")
    start = "every token" if query is None else _named(kind["query_tokens"], query)
    return f"{start} → {'everywhere' if key is None else _named(kind['key_tokens'], key)}"


def _named(tokens: Sequence[str], index: int) -> str:
    """The token in quotes; its number where the token is not among those on view."""
    return quoted(tokens[index] if index < len(tokens) else str(index))


def _where(edit: Edit, side: str) -> str:
    layer = f"every {side}layer" if edit.layer is None else f"{side}layer {edit.layer}"
    return f"{layer}, {'all heads' if edit.head is None else f'head {edit.head}'}"


def run_code(text: str, target: str | None, masked: Sequence[int], kind: str) -> str:
    """Python that runs a text without and with `edits`.

    Args:
        target: None for a model's own answer, which is then kept the same under the edits.
        kind: "decoder", "encoder" or "encoder-decoder".
    """
    words = json.dumps(text, ensure_ascii=False)
    given = "before.tokens[0]"
    if kind == "encoder-decoder":
        own = target is None
        words = words if own else f"{words}, {json.dumps(target, ensure_ascii=False)}"
        given += ", before.target[0]"
        first = [f"before = model.trace({words})" + ("  # it writes its own answer" if own else "")]
    elif masked:
        first = [
            f"ids = model.encode({words})",
            f"ids[{list(masked)}] = model.tokenizer.mask_id",
            "before = model.trace_ids(ids)",
        ]
    else:
        first = [f"before = model.trace({words})"]
    lines = [
        *first,
        "with tl.edit(model, *edits):",
        f"    after = model.trace_ids({given})  # the same tokens",
    ]
    return "\n".join(lines)


def print_code(position: int) -> str:
    """Python that prints the predictions before and after."""
    return f'print(before.predictions({position}), after.predictions({position}), sep="\\n")'


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
