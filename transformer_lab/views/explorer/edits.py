"""The edits of an Explorer: objects here, plain values in the browser, where edits.js shows
them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ...edits.constructors import edit_from_dict
from ...edits.interventions import default_kind
from ...edits.kinds import Edit, EditError
from ..shared.map_sentences import without_head
from ..shared.messages import messages, quoted

say = messages("explorer")

# Placeholders for indices in an edit template: no model has so many layers or tokens.
_SLOTS = {"layer": 870001, "head": 870002, "query": 870003, "key": 870004, "expert": 870005}


class Edits:
    """Converts edits to plain values for a browser, and back. An edit that holds tensors stays
    here, under a number.

    A browser knows no kinds of edits; each is sent with all that is needed to show it:
    `id`: the same for equal edits; `words`: for people; `subject`: the start of a sentence about it
    alone; `code`: the Python that creates it; `does`: "off" (heads are switched off), "cut" (an
    edge is cut) or "other"; `kind`, `layer`, `head`, `query`, `key`: what it changes, None for all;
    `alone`: "kind/layer/head" of the one head that it switches off; `made`: the input of
    `edit_from_dict`.
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
            return {"edit": "kept", "number": number}

    def sent(self, values: Iterable[Any], kinds: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Convert plain values to those for a browser.

        Args:
            kinds: kind -> {"query_tokens": …, "key_tokens": …}, to name the ends of a cut edge.
        """
        return [self._sent(value, kinds) for value in values]

    def _sent(self, made: dict[str, Any], kinds: dict[str, dict[str, Any]]) -> dict[str, Any]:
        edit, name = self.object(made), made["edit"]
        kind = edit.kind or default_kind(list(kinds))
        does = {"ablate": "off", "knock_out": "cut"}.get(name, "other")
        plain = set(made) <= {"edit", "layer", "head", "kind"} and None not in (
            edit.layer,
            edit.head,
        )
        return {
            "id": json.dumps({**made, "kind": kind}, sort_keys=True),
            "words": _words(edit, made, kinds),
            "subject": self.subject([made], kinds),
            "code": "…  # " + edit.describe() if name == "kept" else edit.code(),
            "does": does,
            "kind": kind,
            "layer": edit.layer,
            "head": edit.head,
            "query": made.get("query"),
            "key": made.get("key"),
            "alone": f"{kind}/{edit.layer}/{edit.head}" if does == "off" and plain else None,
            "made": made,
        }

    def patterns(self, kinds: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Templates of the edits that a reader can make by hand, with placeholders (`slots`) for
        indices: "off/kind" switches a head off, "cut/kind/scope/ends" cuts an edge in a head, in a
        layer or in all, where ends names which of query and key are set, "expert/kind" skips an
        expert."""
        blank = {kind: {"query_tokens": (), "key_tokens": ()} for kind in kinds}
        usual, made = default_kind(list(kinds)), {}
        for kind in kinds:
            side = {} if kind == usual else {"kind": kind}
            layer, head = {"layer": _SLOTS["layer"]}, {"head": _SLOTS["head"]}
            made[f"off/{kind}"] = {"edit": "ablate", **layer, **head, **side}
            if kind != "cross":
                expert = {"part": "mlp", "expert": _SLOTS["expert"]}
                made[f"expert/{kind}"] = {"edit": "skip", **layer, **expert, **side}
            for scope, place in (("head", {**layer, **head}), ("layer", layer), ("all", {})):
                for ends in (("query", "key"), ("query",), ("key",)):
                    edge = {end: _SLOTS[end] for end in ends}
                    cut = {"edit": "knock_out", **place, **edge, **side}
                    made[f"cut/{kind}/{scope}/{'-'.join(ends)}"] = cut
        patterns = {name: self._sent(values, blank) for name, values in made.items()}
        return {"slots": _SLOTS, **patterns}

    def object(self, values: Any) -> Edit:
        if isinstance(values, dict) and values.get("edit") == "kept":
            number = values.get("number")
            if not isinstance(number, int) or not 0 <= number < len(self._kept):
                raise EditError(f"this view has no edit {number!r}")
            return self._kept[number]
        return edit_from_dict(values)

    def objects(self, values: Iterable[Any]) -> list[Edit]:
        return [self.object(value) for value in values]

    def code(self, values: Sequence[Any]) -> str:
        """The Python that creates these edits."""
        lines = "".join(f"    {edit.code()},\n" for edit in self.objects(values))
        return f"edits = [\n{lines}]" if values else "edits = []"

    def subject(self, values: Sequence[Any], kinds: dict[str, dict[str, Any]]) -> str:
        """The start of a sentence about the effect of edits: "With layer 1, head 2 switched off".

        Args:
            kinds: kind -> {"query_tokens": …, "key_tokens": …}, to name the ends of a cut edge.
        """
        edits = self.objects(values)
        if len(edits) != 1:
            return say("several", n=len(edits))
        edit, value = edits[0], values[0]
        kind = edit.kind or default_kind(list(kinds))
        side = f"{kind} " if len(kinds) > 1 else ""
        plain = set(value) <= {"edit", "layer", "head", "kind"} and value.get("edit") == "ablate"
        if plain and edit.layer is not None and edit.head is not None:
            return without_head(kind, edit.layer, edit.head, len(kinds) > 1)
        if value.get("edit") == "knock_out" and kind in kinds:
            return f"With {_edge(value, kinds[kind])} cut in {_where(edit, side)}"
        return f"With this edit ({edit.describe()})"

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


def _words(edit: Edit, made: dict[str, Any], kinds: dict[str, dict[str, Any]]) -> str:
    """An edit in a few words, for a chip."""
    name = made["edit"]
    kind = edit.kind or default_kind(list(kinds))
    side = f"{kind} " if len(kinds) > 1 else ""
    where = _where(edit, side)
    if name == "ablate":
        return f"{where} {'at its mean' if made.get('value') == 'mean' else 'off'}"
    if name == "scale":
        return f"{where} × {made['by']:g}"
    if name == "skip":
        part = made.get("part", "attention") if (e := made.get("expert")) is None else f"expert {e}"
        return f"{where.partition(',')[0]}: {part} skipped"
    if name == "knock_out" and kind in kinds:
        return f"{_edge(made, kinds[kind])} cut in {where}"
    return edit.describe()


def _edge(cut: dict[str, Any], kind: dict[str, Any]) -> str:
    """“query” → “key”."""
    query, key = cut.get("query"), cut.get("key")
    start = "every token" if query is None else _named(kind["query_tokens"], query)
    return f"{start} → {'everywhere' if key is None else _named(kind['key_tokens'], key)}"


def _named(tokens: Sequence[str], index: int) -> str:
    """The token in quotes; its index if it is not among those on view."""
    return quoted(tokens[index] if index < len(tokens) else str(index))


def _where(edit: Edit, side: str) -> str:
    layer = f"every {side}layer" if edit.layer is None else f"{side}layer {edit.layer}"
    return f"{layer}, {'all heads' if edit.head is None else f'head {edit.head}'}"


def run_code(
    text: str,
    target: str | None,
    masked: Sequence[int],
    kind: str,
    exact_ids: Sequence[int] | None = None,
) -> str:
    """Python that runs a text without and with `edits`.

    Args:
        target: None for a model's own answer, which then stays the same under the edits.
        kind: "decoder", "encoder" or "encoder-decoder".
        exact_ids: the tokens of the predicted side, if its words would be split into others.
    """
    words = json.dumps(text, ensure_ascii=False)
    tokens = "before.tokens[0]"
    exact = "" if exact_ids is None else f"torch.tensor({list(exact_ids)})"
    why = "  # exactly these tokens: the words would be split into others"
    if kind == "encoder-decoder" and exact:
        tokens += ", before.target[0]"
        first = [
            f"target = {exact}{why}",
            f"before = model.trace_ids(model.encode({words}), target)",
        ]
    elif kind == "encoder-decoder":
        own = target is None
        words = words if own else f"{words}, {json.dumps(target, ensure_ascii=False)}"
        tokens += ", before.target[0]"
        first = [f"before = model.trace({words})" + ("  # it writes its own answer" if own else "")]
    elif masked:
        first = [
            f"ids = {exact}{why}" if exact else f"ids = model.encode({words})",
            f"ids[{list(masked)}] = model.tokenizer.mask_id",
            "before = model.trace_ids(ids)",
        ]
    elif exact:
        first = [f"ids = {exact}{why}", "before = model.trace_ids(ids)"]
    else:
        first = [f"before = model.trace({words})"]
    lines = [
        *(["import torch"] if exact else []),
        *first,
        "with tl.edit(model, *edits):",
        f"    after = model.trace_ids({tokens})  # the same tokens",
    ]
    return "\n".join(lines)


def print_code(position: int) -> str:
    """Python that prints the predictions before and after."""
    return f'print(before.predictions({position}), after.predictions({position}), sep="\\n")'
