"""What is seen, in plain words and numbers. The counterpart of shared/words.js."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .messages import NOTHING, change_text, quoted, short

# Two processors, or Python and a browser, find the same number but for its last bits. What is said
# must not hang on them where numbers are even by their nature: shares of 1/2 or 1/8, equal keys.
EQUAL = 1e-4  # changes that differ by less are equal; a browser's are made of rounded weights
EVEN = 1e-5  # weights that differ by less are even
TO_NOTHING = "to nothing"  # the column beside a map


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
    # Of each query, the share of its weight that goes to no key, where heads may look at nothing.
    nothing: Sequence[float] | None = None
    over: str = ""  # what follows a head's name where its map is made of several texts'
    spread: bool = False  # whether the numbers are standard deviations over texts

    def to_nothing(self, query: int) -> float:
        """The share of a query's weight that goes to no key; 0 where that is not told."""
        share = 0.0 if self.value_weighted or self.nothing is None else self.nothing[query]
        return share if share > 0.005 + EVEN else 0.0

    @property
    def skips_first(self) -> bool:
        """Whether the first query is left out of what is said of the whole map: it has no choice."""
        return self.causal and self.same and len(self.queries) > 1

    @property
    def name(self) -> str:
        name = head_name(self.kind, self.layer, self.head, several=self.several)
        return f"{name}{' after the edits' if self.edited else ''}{self.over}"


def head_name(kind: str, layer: int, head: int, *, several: bool, first: bool = True) -> str:
    """A head in words, at the beginning of a sentence (`first`) or inside it."""
    if not first:
        return f"{kind} layer {layer}, head {head}" if several else f"layer {layer}, head {head}"
    return (
        f"{kind.capitalize()}, layer {layer}, head {head}"
        if several
        else f"Layer {layer}, head {head}"
    )


def moved(before: str, after: str, about: str = "") -> str:
    """What a change did to a written value: "goes from .34 to .36", or "stays at .34"."""
    return (
        f"stays at {about}{before}" if before == after else f"goes from {before} to {about}{after}"
    )


def query_sentence(seen: Seen, query: int, row: Tensor) -> str:
    """What one query looks at; `row` [key] as it is shown."""
    start = f"{seen.name}: {quoted(seen.queries[query])}"
    top = _largest(row)
    nothing = seen.to_nothing(query)
    if not top:
        return f"{start} " + ("looks at nothing." if nothing else "has nothing left to look at.")
    named = [f"{quoted(seen.keys[key])} ({short(weight)})" for key, weight in top]
    if seen.value_weighted:
        return f"{start} takes most from {_listed(named)} (weight × value length)."
    rest = f" {short(nothing)} of its weight goes to nothing." if nothing else ""
    if seen.causal and seen.same and query == 0 and top[0][0] == 0 and not nothing:
        return f"{start} is the first token, so it can only look at itself."
    if top[0][1] < 0.1 - EVEN:
        return f"{start} spreads its weight widely; most goes to {_listed(named)}.{rest}"
    if top[0][1] >= 0.995 - EVEN:
        return f"{start} looks only at {named[0]}."
    how = "looks mostly at" if top[0][1] >= 0.5 - EVEN else "looks most at"
    then = f", then {named[1]}" if len(named) > 1 else ""
    return f"{start} {how} {named[0]}{then}.{rest}"


def cell_sentence(seen: Seen, query: int, key: int, row: Tensor) -> str:
    """How much one query looks at one key."""
    start = f"{seen.name}: {quoted(seen.queries[query])}"
    other, weight = quoted(seen.keys[key]), float(row[key])
    if seen.value_weighted:
        return f"{start} takes {short(weight)} from {other} (weight × value length)."
    if seen.causal and seen.same and key > query:
        return f"{start} cannot look at {other}, which comes later."
    rank = 1 + int((row > weight + EVEN).sum())
    reachable = int((row > NOTHING).sum())
    place = "its largest share" if rank == 1 else f"its {_ordinal(rank)} largest of {reachable}"
    place = f", {place}" if weight > 0.005 + EVEN else ""
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


def between_sentence(
    seen: Seen, a: tuple[int, int], b: tuple[int, int], share: float, even: float
) -> str:
    """How much the queries of span a give to the keys of span b, on average, and what they would give
    if they looked evenly at every key that they can see."""
    verb, whose = ("gives", "its") if a[1] - a[0] == 1 else ("give", "their")
    mean = "" if a[1] - a[0] == 1 else ", on average"
    return (
        f"{seen.name}: {_stretch(seen.queries, a)} {verb} {short(share)} of {whose} attention to "
        f"{_stretch(seen.keys, b)}{mean}; even attention over all keys in sight would give {short(even)}."
    )


def between_change_sentence(
    seen: Seen, a: tuple[int, int], b: tuple[int, int], before: float, after: float
) -> str:
    """How edits change how much the queries of span a give to the keys of span b, on average."""
    verb, whose = ("gives", "its") if a[1] - a[0] == 1 else ("give", "their")
    mean = "" if a[1] - a[0] == 1 else ", on average"
    what = (
        f"what {_stretch(seen.queries, a)} {verb} of {whose} attention to "
        f"{_stretch(seen.keys, b)}{mean}"
    )
    if short(before) == short(after):
        return f"{seen.name}: the edits leave {what}, at {short(before)}."
    return f"{seen.name}: the edits take {what}, from {short(before)} to {short(after)}."


def _stretch(tokens: Sequence[str], span: tuple[int, int]) -> str:
    start, end = span
    if end - start == 1:
        return quoted(tokens[start])
    return f"{quoted(tokens[start])} … {quoted(tokens[end - 1])} ({end - start} tokens)"


def difference_sentence(
    seen: Seen, change: Tensor, selected: tuple[int | None, int | None] | None
) -> str:
    """What edits changed in a map; `change` [query, key] is after less before."""
    query, key = selected or (None, None)
    if query is not None and key is not None:
        told = change_text(float(change[query, key]))
        how = "does not change" if told == "0" else f"changes by {told}"
        return f"{seen.name}: what {quoted(seen.queries[query])} gives to {quoted(seen.keys[key])} {how}."
    part = change if query is None else change[query][None]
    part = part if key is None else part[:, key][:, None]
    row, column = divmod(_first_largest(part.abs().flatten().tolist()), part.shape[1])
    told = change_text(float(part[row, column]))
    if told == "0":
        whole = "" if selected is None else "here "
        return f"{seen.name}: the edits change nothing {whole}to speak of."
    query = row if query is None else query
    key = column if key is None else key
    edge = f"{quoted(seen.queries[query])} → {quoted(seen.keys[key])}"
    return f"{seen.name}: the edits change {edge} most ({told})."


def spread_sentence(
    seen: Seen, spread: Tensor, selected: tuple[int | None, int | None] | None
) -> str:
    """Where texts differ most in a map, or in the part of it that is selected; `spread` [query, key]."""
    query, key = selected or (None, None)
    rows, columns = range(len(seen.queries)), range(len(seen.keys))
    part = [
        (float(spread[q, k]), q, k)
        for q in (rows if query is None else [query])
        for k in (columns if key is None else [key])
    ]
    size, q, k = part[_first_largest([each[0] for each in part])]
    most = ", " if query is not None and key is not None else " most, "
    if size < 0.005 - EVEN:
        return f"{seen.name}: the texts do not differ {'here ' if selected else ''}to speak of."
    what = f"what {quoted(seen.queries[q])} gives to {quoted(seen.keys[k])}"
    return f"{seen.name}: {what} differs{most}by {short(size)} (standard deviation)."


def head_sentence(seen: Seen, row_of: Callable[[int], Tensor], queries: int) -> str:
    """What stands out in a whole map; its habit is a mean over the queries that have a choice.

    Args:
        row_of: query -> [key], as shown.
        queries: how many rows to look at, spread over the text.
    """
    total = len(seen.queries)
    count = min(queries, total)
    first = itself = before = nothing = 0.0
    rows, best = 0, (-1.0, 0, 0)
    for i in range(count):
        query = i if count == total else _round(i * (total - 1) / (count - 1))
        if seen.skips_first and query == 0:
            continue
        row = row_of(query)
        rows += 1
        first += float(row[0])
        nothing += seen.to_nothing(query)
        if seen.same:
            itself += float(row[query]) if query > 0 else 0.0
            before += float(row[query - 1]) if query > 1 else 0.0
        key = _foremost(row)
        if float(row[key]) > best[0] + EVEN:
            best = (float(row[key]), query, key)
    weight, query, key = best
    shares = [part / max(1, rows) for part in (first, itself, before, nothing)]
    return standing_out(seen, query, key, weight, shares)


def standing_out(seen: Seen, query: int, key: int, weight: float, shares: Sequence[float]) -> str:
    """A map's largest weight, and its habit where it has one.

    Args:
        shares: what queries give on average to the first key, to themselves, to the one before, and
            to nothing.
    """
    if weight <= 0:
        return f"{seen.name}: nothing to show."
    edge = f"{quoted(seen.queries[query])} → {quoted(seen.keys[key])} ({short(weight)})"
    where = "after the first token, " if seen.skips_first else ""
    if seen.value_weighted:
        return f"{seen.name}: {where}the strongest edge is {edge}, as weight × value length."
    places = (
        f"to the first token, {quoted(seen.keys[0])}", "to the token itself",
        "to the token just before", "to nothing",
    )  # fmt: skip
    at = _foremost(shares)
    share = shares[at]
    habit = (
        f" On average {_round(100 * share)} % of a token’s weight goes {places[at]}."
        if share >= 0.2 - EVEN
        else ""
    )
    return f"{seen.name}: {where}the largest weight is {edge}.{habit}"


def _first_largest(sizes: list[float]) -> int:
    """Of equals the first; what one token loses another gains, and browsers hold rounded weights."""
    best, most = 0, 0.0
    for at, size in enumerate(sizes):
        if size > most + EQUAL:
            best, most = at, size
    return best


def _foremost(row: Sequence[float] | Tensor) -> int:
    """Where the largest entry stands: the first of those that are even."""
    row = torch.as_tensor(row)
    return int((row >= row.max() - EVEN).nonzero()[0])


def _largest(row: Tensor) -> list[tuple[int, float]]:
    """Up to three entries above .005, largest first; of even ones the first."""
    left, found = row.float().clone(), []
    while len(found) < min(3, len(row)):
        index = _foremost(left)
        weight = float(left[index])
        if weight <= 0.005 + EVEN:
            break
        found.append((index, weight))
        left[index] = -1
    return found


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def long_time(seconds: float) -> str:
    """A time that one may have to wait, in words: "4 minutes", "3 hours"."""
    minutes = seconds / 60
    if minutes < 90:
        return plural(max(1, round(minutes)), "minute")
    return plural(round(minutes / 60), "hour")


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _ordinal(n: int) -> str:
    if n % 100 in (11, 12, 13):
        return f"{n}th"
    return f"{n}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th') }"


def _round(x: float) -> int:
    """Halves up, as in JavaScript, those too that fall short by rounding."""
    return int(x + 0.501)
