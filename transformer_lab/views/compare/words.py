"""Where two maps differ, in words and numbers. The counterpart of compare/words.js."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..shared.messages import quoted, short

NO_MOVE = 5e-4  # a share of attention below this is called none


@dataclass(frozen=True)
class Compared:
    """What a sentence is made from: maps [query, key] on aligned axes with NaN for gaps; moved
    [layer, head]; names of the two sides."""

    kind: str
    several: bool
    layer: int
    head: int
    names: tuple[str, str]
    queries: list[str]
    keys: list[str]
    causal: bool
    first: Tensor
    second: Tensor
    moved: Tensor
    nothing: bool = False  # whether the last key is what goes to nothing


def compare_sentence(it: Compared, query: int | None, key: int | None) -> str:
    """The chosen pair or query; with nothing chosen, the head that differs most, and this one."""
    start = f"{place(it, it.layer, it.head)}: "
    if query is not None and key is not None:
        return start + _pair(it, query, key)
    if query is not None:
        a, b = it.first[query].double(), it.second[query].double()
        share = float((b.nan_to_num(0) - a.nan_to_num(0)).abs().sum() / 2)
        if bool(a.isnan().all()) or bool(b.isnan().all()):
            only = it.names[1 if bool(a.isnan().all()) else 0]
            return f"{start}{quoted(it.queries[query])} is in {only} only."
        text = (
            f"{start}{_share(share)} of the attention of {quoted(it.queries[query])} lies elsewhere"
        )
        return f"{text} in {it.names[1]}.{_most(it, query)}"
    if float(it.moved.max()) < NO_MOVE:
        return f"{it.names[0]} and {it.names[1]} are alike: no head’s attention lies elsewhere."
    best = int(it.moved.argmax())
    layer, head = divmod(best, it.moved.shape[1])
    here = float(it.moved[it.layer, it.head])
    if (layer, head) == (it.layer, it.head):
        name = place(it, layer, head)
        text = f"{name} differs most of all heads: {_share(here)} of its attention lies elsewhere"
    else:
        most = _share(float(it.moved[layer, head]))
        text = (
            f"{place(it, layer, head)} differs most: {most} of its attention lies elsewhere in "
            f"{it.names[1]}. In layer {it.layer}, head {it.head} it is {_share(here)}"
        )
        return f"{text}.{_most(it, None)}"
    return f"{text} in {it.names[1]}.{_most(it, None)}"


def place(it: Compared, layer: int, head: int) -> str:
    kind = f"{it.kind.capitalize()}, layer" if it.several else "Layer"
    return f"{kind} {layer}, head {head}"


def _share(value: float) -> str:
    return "nothing" if value < NO_MOVE else short(value)


def _pair(it: Compared, query: int, key: int) -> str:
    to_nothing = it.nothing and key == len(it.keys) - 1
    names = f"{quoted(it.queries[query])} → {it.keys[key] if to_nothing else quoted(it.keys[key])}"
    a, b = float(it.first[query, key]), float(it.second[query, key])
    if it.causal and key > query and not to_nothing:
        return (
            f"{quoted(it.queries[query])} cannot look at {quoted(it.keys[key])}, which comes later."
        )
    if math.isnan(a) and math.isnan(b):
        return f"{names}: no text has both tokens."
    if math.isnan(a) or math.isnan(b):
        side, value = (1, b) if math.isnan(a) else (0, a)
        return f"{names} is in {it.names[side]} only: {short(value)}."
    return f"{names} is {short(a)} in {it.names[0]} and {short(b)} in {it.names[1]}."


def _most(it: Compared, query: int | None) -> str:
    """The pair that differs most, in one row or in all."""
    difference = (it.second.double() - it.first.double()).abs().nan_to_num(-1)
    if query is not None:
        key = int(difference[query].argmax())
    else:
        query, key = divmod(int(difference.argmax()), difference.shape[1])
    if float(difference[query, key]) < NO_MOVE:
        return ""
    return f" The largest change: {_pair(it, query, key)}"
