"""What is seen, in plain words and numbers. The counterpart of static/words.js."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

EQUAL = 1e-4  # changes that differ by less are equal


@dataclass(frozen=True)
class Seen:
    """What a sentence is made from: where one is, and the tokens."""

    kind: str
    layer: int
    head: int
    several: bool  # whether the trace has more than one kind of attention
    queries: Sequence[str]
    keys: Sequence[str]
    causal: bool
    same: bool  # whether queries and keys are the same tokens
    value_weighted: bool = False
    edited: bool = False  # whether the weights are those after edits

    @property
    def name(self) -> str:
        return head_name(self.kind, self.layer, self.head, several=self.several) + (
            " after the edits" if self.edited else ""
        )


def head_name(kind: str, layer: int, head: int, *, several: bool, first: bool = True) -> str:
    """A head in words, at the beginning of a sentence (`first`) or inside it."""
    if not first:
        return f"{kind} layer {layer}, head {head}" if several else f"layer {layer}, head {head}"
    return (
        f"{kind.capitalize()}, layer {layer}, head {head}"
        if several
        else f"Layer {layer}, head {head}"
    )


def signed(change: float) -> str:
    """A change to two decimals, as "+.21" or "−.21"; 0 where there is none to speak of."""
    if abs(change) < 0.0005:
        return "0"
    return ("+" if change > 0 else "−") + short(abs(change))


def short(weight: float) -> str:
    """A weight to two decimals, as ".61"; one that rounds to nothing as "<.01"."""
    if 0 < weight < 0.005:
        return "<.01"
    text = f"{weight:.2f}"
    return text[1:] if text.startswith("0.") else text


def quoted(token: str) -> str:
    return f"“{token}”"


def query_sentence(seen: Seen, query: int, row: Tensor) -> str:
    """What one query looks at; `row` [key] as it is shown."""
    start = f"{seen.name}: {quoted(seen.queries[query])}"
    top = _largest(row)
    if not top:
        return f"{start} has nothing left to look at."
    named = [f"{quoted(seen.keys[key])} ({short(weight)})" for key, weight in top]
    if seen.value_weighted:
        return f"{start} takes most from {_listed(named)} (weight × value length)."
    if seen.causal and seen.same and query == 0 and top[0][0] == 0:
        return f"{start} is the first token, so it can only look at itself."
    if top[0][1] < 0.1:
        return f"{start} spreads its weight widely; most goes to {_listed(named)}."
    if top[0][1] >= 0.995:
        return f"{start} looks only at {named[0]}."
    how = "looks mostly at" if top[0][1] >= 0.5 else "looks most at"
    then = f", then {named[1]}" if len(named) > 1 else ""
    return f"{start} {how} {named[0]}{then}."


def cell_sentence(seen: Seen, query: int, key: int, row: Tensor) -> str:
    """How much one query looks at one key."""
    start = f"{seen.name}: {quoted(seen.queries[query])}"
    other, weight = quoted(seen.keys[key]), float(row[key])
    if seen.value_weighted:
        return f"{start} takes {short(weight)} from {other} (weight × value length)."
    if seen.causal and seen.same and key > query:
        return f"{start} cannot look at {other}, which comes later."
    rank = 1 + int((row > weight).sum())
    reachable = int((row > 0).sum())
    place = "its largest share" if rank == 1 else f"its {_ordinal(rank)} largest of {reachable}"
    place = f", {place}" if weight > 0.005 else ""
    return f"{start} gives {short(weight)} of its weight to {other}{place}."


def key_sentence(seen: Seen, key: int, column: Tensor) -> str:
    """Which queries look at one key; `column` [query] as it is shown."""
    start = f"{seen.name}: {quoted(seen.keys[key])}"
    top = _largest(column)
    if not top:
        return f"{start} is looked at by no token."
    named = [f"{quoted(seen.queries[query])} ({short(weight)})" for query, weight in top]
    verb = "gives most to" if seen.value_weighted else "is looked at most by"
    return f"{start} {verb} {_listed(named)}."


def difference_sentence(
    seen: Seen, change: Tensor, selected: tuple[int | None, int | None] | None
) -> str:
    """What edits changed in a map; `change` [query, key] is after less before."""
    query, key = selected or (None, None)
    if query is not None and key is not None:
        told = signed(float(change[query, key]))
        how = "does not change" if told == "0" else f"changes by {told}"
        return f"{seen.name}: what {quoted(seen.queries[query])} gives to {quoted(seen.keys[key])} {how}."
    part = change if query is None else change[query][None]
    part = part if key is None else part[:, key][:, None]
    row, column = divmod(_first_largest(part.abs().flatten().tolist()), part.shape[1])
    told = signed(float(part[row, column]))
    if told == "0":
        whole = "" if selected is None else "here "
        return f"{seen.name}: the edits change nothing {whole}to speak of."
    query = row if query is None else query
    key = column if key is None else key
    edge = f"{quoted(seen.queries[query])} → {quoted(seen.keys[key])}"
    return f"{seen.name}: the edits change {edge} most ({told})."


def head_sentence(seen: Seen, row_of: Callable[[int], Tensor], queries: int) -> str:
    """What stands out in a whole map; its habit is a mean over the queries that have a choice.

    Args:
        row_of: query -> [key], as shown.
        queries: how many rows to look at, spread over the text.
    """
    total = len(seen.queries)
    count = min(queries, total)
    first = itself = before = 0.0
    rows, best = 0, (-1.0, 0, 0)
    for i in range(count):
        query = i if count == total else _round(i * (total - 1) / (count - 1))
        if seen.causal and seen.same and query == 0 and total > 1:
            continue  # it has no choice
        row = row_of(query)
        rows += 1
        first += float(row[0])
        if seen.same:
            itself += float(row[query]) if query > 0 else 0.0
            before += float(row[query - 1]) if query > 1 else 0.0
        key = int(row.argmax())
        if float(row[key]) > best[0]:
            best = (float(row[key]), query, key)
    weight, query, key = best
    if weight <= 0:
        return f"{seen.name}: nothing to show."
    edge = f"{quoted(seen.queries[query])} → {quoted(seen.keys[key])} ({short(weight)})"
    if seen.value_weighted:
        return f"{seen.name}: the strongest edge is {edge}, as weight × value length."
    habits = [
        (first / rows, f"to the first token, {quoted(seen.keys[0])}"),
        (itself / rows, "to the token itself"),
        (before / rows, "to the token just before"),
    ]
    share, where = max(habits, key=lambda habit: habit[0])
    habit = (
        f" On average {_round(100 * share)} % of a token’s weight goes {where}."
        if share >= 0.2
        else ""
    )
    return f"{seen.name}: the largest weight is {edge}.{habit}"


def _first_largest(sizes: list[float]) -> int:
    """Of equals the first; what one token loses another gains, and browsers hold rounded weights."""
    best, most = 0, 0.0
    for at, size in enumerate(sizes):
        if size > most + EQUAL:
            best, most = at, size
    return best


def _largest(row: Tensor) -> list[tuple[int, float]]:
    """Up to three entries above .005, largest first; equals keep their order."""
    values, order = row.float().sort(descending=True, stable=True)
    pairs = zip(order[:3].tolist(), values[:3].tolist(), strict=True)
    return [(index, weight) for index, weight in pairs if weight > 0.005]


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _ordinal(n: int) -> str:
    if n % 100 in (11, 12, 13):
        return f"{n}th"
    return f"{n}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th') }"


def _round(x: float) -> int:
    """Halves up, as in JavaScript."""
    return int(x + 0.5)
