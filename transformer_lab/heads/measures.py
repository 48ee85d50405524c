"""Score what heads attend to: one number per head, from traces, with no keys hidden.

Every measure takes a `Trace` and returns fp32 [layer, head]; NaN for heads that a layer does not
have. One layer's patterns are computed at a time. A score says where attention went on this text;
only ablation shows whether that matters.

`MEASURES` lists all measures. One that is added there also gets its pairs in `pairs`, its place in
the views and, if it `says` something, a label in `naming.labels`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..tracing.trace import Trace
from . import token_pairs

Pairs = Callable[[Trace, "str | None", int], Tensor]  # bool [query, key]
_MARKS_NOTHING = "there is no pair (query, key) to count here, so no head can be scored"


@dataclass(frozen=True)
class Measure:
    """A score for heads, and what labels and views need to describe it.

    name: in words, such as "previous token".
    pairs: (trace, kind, batch) -> the pairs on which the fraction of attention is the score; None
        for a measure `of_maps`.
    on: "ids": token ids alone decide which pairs count, so that probes and runs can be measured;
        "texts": words decide. A label with both is measured on the user's own texts if there are
        any.
    says: what a head with a high score does, for a label's sentence; "" if it gets no label.
    tag: the label in a few letters, for a thumbnail.
    about: what such a head goes by. Among several labels, "content" comes before "place" and
        "place" before "rest".
    unit: of the score: "share" (0 to 1), "bits" or "tokens".
    hops: 2 if a head reaches the pairs *through* a head of an earlier layer.
    beside_first: measure only texts that mark more than token 0, which has its own label.
    one_text: whether queries and keys must be of one text; False also works for cross-attention.
    of_maps: the scores [head] from one layer's patterns [head, query, key], for a measure without
        pairs.
    """

    name: str
    pairs: Pairs | None
    on: tuple[Literal["ids", "texts"], ...]
    says: str = ""
    tag: str = ""
    about: Literal["content", "place", "rest"] = "content"
    unit: Literal["share", "bits", "tokens"] = "share"
    hops: Literal[1, 2] = 1
    beside_first: bool = False
    one_text: bool = True
    of_maps: Callable[[Tensor], Tensor] | None = None

    def score(self, trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
        """Score every head, [layer, head].

        Raises:
            ValueError: if this text has no pair that the measure counts.
        """
        if self.of_maps is not None:
            return _each_layer(trace, kind, batch, self.of_maps)
        assert self.pairs is not None
        wanted = self.pairs(trace, kind, batch)
        if self.hops == 1:
            return mass_on(trace, wanted, kind=kind, batch=batch)
        rows = wanted.any(-1)
        if not rows.any():
            raise ValueError(_MARKS_NOTHING)
        return two_hops(trace, rows, wanted[rows].float(), kind=kind, batch=batch)

    def reachable(self, trace: Trace, kind: str | None = None, batch: int = 0) -> Tensor | None:
        """The pairs, bool [query, key]; None if no head could attend to any of them."""
        wanted = None if self.pairs is None else self.pairs(trace, kind, batch)
        if wanted is None or not (wanted.tril() if trace.causal(kind) else wanted).any():
            return None
        return wanted

    def applies(self, trace: Trace, kind: str, batch: int = 0) -> bool:
        """Whether heads of this kind can be scored on this text."""
        if kind == "cross" and self.one_text:
            return False
        if self.pairs is None:
            return True
        return trace.n_layers(kind) >= self.hops and self.reachable(trace, kind, batch) is not None


def mass_on(trace: Trace, wanted: Tensor, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Attention on marked pairs: the mean, over the queries that have a marked key, of the total
    weight on their marked keys. [layer, head], between 0 and 1.

    Args:
        wanted: bool [query, key].

    Raises:
        ValueError: if the mask has another shape, or marks nothing.
    """
    if tuple(wanted.shape) != trace.shape(kind):
        raise ValueError(
            f"wanted must have the shape of the maps, {list(trace.shape(kind))}, got "
            f"{list(wanted.shape)}"
        )
    rows = wanted.any(-1)
    if not rows.any():
        raise ValueError(_MARKS_NOTHING)
    marked = wanted[rows]
    return _each_layer(trace, kind, batch, lambda p: (p[:, rows] * marked).sum(-1).mean(-1))


def previous_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Fraction of attention on the token just before. [layer, head]"""
    return _score("previous token", trace, kind, batch)


def next_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Fraction of attention on the token just after (0 in a decoder). [layer, head]"""
    return _score("next token", trace, kind, batch)


def self_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Fraction of a token's attention on itself. [layer, head]"""
    return _score("self token", trace, kind, batch)


def first_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Fraction of attention on token 0, over all queries but the first: the attention sink of Xiao
    et al. 2023. [layer, head]
    """
    return _score("first token", trace, kind, batch)


def duplicate_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Fraction of attention on earlier occurrences of the same token, over the queries that have
    one. Source: Wang et al. 2022. [layer, head]
    """
    return _score("duplicate token", trace, kind, batch)


def induction(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Fraction of attention on the tokens that came *after* earlier occurrences of the query's
    token ([A][B] … [A] attends to [B]), over the queries that have one. Source: Olsson et al. 2022.
    [layer, head]
    """
    return _score("induction", trace, kind, batch)


def same_word(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Fraction of attention on the other pieces of the query's own word, and on the pieces of its
    other occurrences, over the queries that have any (in a decoder: any before them). `words`
    defines what a word is. [layer, head]

    Raises:
        ValueError: if every word is one token and none comes twice.
    """
    return _score("same word", trace, kind, batch)


def two_hop_induction(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Fraction of attention that reaches the pairs of `induction` *through* a head of an earlier
    layer: for each head the largest mass of A_later · A_earlier on them, over the heads of all
    earlier layers. [layer, head]; layer 0 is 0.

    A model can solve induction in two hops with a raw score near 0; see `induction`.

    Raises:
        ValueError: if no token comes twice, as for `induction`.
    """
    return _score("two-hop induction", trace, kind, batch)


def two_hops(
    trace: Trace,
    rows: Tensor,
    marked: Tensor,
    *,
    through: Tensor | None = None,
    kind: str | None = None,
    batch: int = 0,
) -> Tensor:
    """For each head, the largest mass of A_later · A_earlier on marked pairs (the mean over their
    queries), over the heads of all earlier layers: [layer, head]; layer 0 is 0.

    Args:
        rows: bool [query], the queries that have a marked key.
        marked: fp32 [those queries, key].
        through: bool [layer, head], the earlier heads that count; all of them by default.
    """
    hops = TwoHops(rows, marked)
    found = [
        hops.add(patterns, None if through is None else through[layer])
        for layer, patterns in maps(trace, kind, batch)
    ]
    return of_heads_there(trace, kind, torch.stack(found))


class TwoHops:
    """Mass of A_later · A_earlier on marked pairs, layer by layer: see `two_hops`."""

    def __init__(self, rows: Tensor, marked: Tensor):
        self.rows, self.marked = rows, marked
        # [query, key, earlier head]: A_earlier · markedᵀ, a token's weight on a query's marked keys
        self._reach = marked.new_zeros(len(marked), marked.shape[1], 0)

    def add(self, patterns: Tensor, through: Tensor | None = None) -> Tensor:
        """Add the next layer's patterns and return its scores [head].

        `through`: bool [head], those of its heads that later heads may attend through.
        """
        best = torch.zeros(len(patterns))
        if self._reach.shape[-1]:
            # Σ_m A[q, m] · Σ_k A_earlier[m, k] · wanted[q, k], for every pair of heads
            seen = patterns[:, self.rows].transpose(0, 1) @ self._reach  # [query, head, earlier]
            best = seen.mean(0).amax(-1).clamp(min=0)
        counted = patterns if through is None else patterns[through]
        reach = torch.einsum("gmk,qk->qmg", counted, self.marked)
        self._reach = torch.cat((self._reach, reach), -1)
        return best


def induction_pairs(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Bool [query, key]: True where the key comes just after an earlier occurrence of the query's
    token.
    """
    return token_pairs.after_earlier_same(trace, kind, batch)


def special_tokens(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Fraction of attention on special tokens such as [CLS] and [SEP]. [layer, head]

    Raises:
        ValueError: if the text has none.
    """
    return _score("special tokens", trace, kind, batch)


def punctuation(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Fraction of attention on tokens without a letter or digit, white space aside. [layer, head]

    Raises:
        ValueError: if the text has none.
    """
    return _score("punctuation", trace, kind, batch)


def entropy(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Mean entropy of an attention row, in bits; 0 if one token gets everything. [layer, head]"""
    return _score("entropy", trace, kind, batch)


def distance(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """How far heads attend: mean |query − key| weighted by attention, in tokens. [layer, head]"""
    return _score("distance", trace, kind, batch)


def moved(
    before: Trace, after: Trace, query: int, *, kind: str | None = None, batch: int = 0
) -> Tensor:
    """How much of one token's attention differs between two texts of the same length (such as a
    minimal pair, see `inputs`): half the L1 distance of the two rows. [layer, head], 0 to 1.

    Raises:
        ValueError: if the patterns differ in size, or the query does not exist.
    """
    if before.shape(kind) != after.shape(kind) or before.n_layers(kind) != after.n_layers(kind):
        raise ValueError(
            "a minimal pair has two texts of the same length, read by one model, got maps of "
            f"{list(before.shape(kind))} and {list(after.shape(kind))} tokens"
        )
    n_query = before.shape(kind)[0]
    if not 0 <= query < n_query:
        raise ValueError(f"query={query} is outside the {n_query} tokens (0 … {n_query - 1})")
    rows = [
        torch.stack([patterns[:, query] for _, patterns in maps(trace, kind, batch)])
        for trace in (before, after)
    ]
    return of_heads_there(before, kind, (rows[0] - rows[1]).abs().sum(-1) / 2)


def pairs(trace: Trace, measure: str, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Pairs that a measure counts: bool [query, key], for drawing or for `mass_on`.

    Args:
        measure: the name of a function here that returns a fraction of attention: "previous_token",
            "induction", …

    Raises:
        ValueError: for an unknown measure.
    """
    known = {_spelled(one.name): one.pairs for one in MEASURES.values() if one.pairs is not None}
    if measure not in known:
        raise ValueError(f"measure must be one of {', '.join(known)}, got {measure!r}")
    return known[measure](trace, kind, batch)


def all_scores(
    trace: Trace, *, kind: str | None = None, batch: int = 0, of: Collection[str] | None = None
) -> dict[str, Tensor]:
    """Score heads by every measure (or those in `of`) that applies to a text: name -> [layer,
    head]. Each pattern is computed once for all of them.
    """
    kind = trace.kind(kind)
    wanted_of = MEASURES if of is None else {name: MEASURES[name] for name in of}
    here = [one for one in wanted_of.values() if one.applies(trace, kind, batch)]
    wanted = {one.name: one.pairs(trace, kind, batch) for one in here if one.pairs is not None}
    rows = {name: pairs.any(-1) for name, pairs in wanted.items()}
    marked = {name: pairs[rows[name]].float() for name, pairs in wanted.items()}
    found: dict[str, list[Tensor]] = {one.name: [] for one in here}
    hops = {one.name: TwoHops(rows[one.name], marked[one.name]) for one in here if one.hops == 2}
    for _, patterns in maps(trace, kind, batch):
        for one in here:
            if one.of_maps is not None:
                score = one.of_maps(patterns)
            elif one.hops == 2:
                score = hops[one.name].add(patterns)
            else:
                score = (patterns[:, rows[one.name]] * marked[one.name]).sum(-1).mean(-1)
            found[one.name].append(score)
    return {name: of_heads_there(trace, kind, torch.stack(each)) for name, each in found.items()}


def maps(trace: Trace, kind: str | None, batch: int) -> Iterator[tuple[int, Tensor]]:
    """Yield (layer, patterns fp32 [head, query, key] on the CPU), one layer at a time; heads that a
    layer does not have are all 0.
    """
    for layer in range(trace.n_layers(kind)):
        yield layer, trace.all_heads(layer, kind=kind, batch=batch).cpu()


def of_heads_there(trace: Trace, kind: str | None, scores: Tensor) -> Tensor:
    """Scores [layer, head], with NaN for heads that a layer does not have."""
    n_heads = [trace.heads_of(layer, kind) for layer in range(trace.n_layers(kind))]
    there = torch.arange(trace.n_heads(kind)) < torch.tensor(n_heads)[:, None]
    return scores.masked_fill(~there, float("nan"))


# -- inside -----------------------------------------------------------------------------------------


def _score(measure: str, trace: Trace, kind: str | None, batch: int) -> Tensor:
    return MEASURES[measure].score(trace, kind=kind, batch=batch)


def _each_layer(
    trace: Trace, kind: str | None, batch: int, measure: Callable[[Tensor], Tensor]
) -> Tensor:
    found = torch.stack([measure(patterns) for _, patterns in maps(trace, kind, batch)])
    return of_heads_there(trace, kind, found)


def _spelled(name: str) -> str:
    """A measure's name as a Python identifier."""
    return name.replace(" ", "_").replace("-", "_")


def _entropy(patterns: Tensor) -> Tensor:
    return -(patterns * patterns.clamp(min=1e-30).log2()).sum(-1).mean(-1)


def _distance(patterns: Tensor) -> Tensor:
    n_query, n_key = patterns.shape[1:]
    away = (torch.arange(n_query)[:, None] - torch.arange(n_key)[None]).abs().float()
    return (patterns * away).sum(-1).mean(-1)


_AFTER = "to the token after earlier occurrences"

# name -> measure, in the order in which views offer them
MEASURES: dict[str, Measure] = {
    one.name: one
    for one in (
        Measure(
            "induction", token_pairs.after_earlier_same, ("ids",), f"attends {_AFTER}", "induct"
        ),
        Measure(
            "two-hop induction",
            token_pairs.after_earlier_same,
            ("ids",),
            f"attends, through an earlier head, {_AFTER}",
            "2-hop",
            hops=2,
        ),
        Measure(
            "previous token",
            token_pairs.previous,
            ("ids",),
            "attends to the token before",
            "prev",
            about="place",
        ),
        Measure(
            "duplicate token",
            token_pairs.earlier_same,
            ("ids",),
            "attends to earlier occurrences of the same token",
            "again",
        ),
        Measure(
            "same word",
            token_pairs.same_word,
            ("texts",),
            "attends to the other pieces of the same word",
            "word",
        ),
        Measure(
            "punctuation",
            token_pairs.punctuation,
            ("texts",),
            "attends to punctuation",
            "punct",
            about="rest",
        ),
        Measure(
            "first token",
            token_pairs.first,
            ("ids", "texts"),
            "attends to the first token",
            "first",
            about="rest",
        ),
        Measure(
            "next token",
            token_pairs.following,
            ("ids",),
            "attends to the token after",
            "next",
            about="place",
        ),
        Measure(
            "self token",
            token_pairs.itself,
            ("ids",),
            "attends to its own token",
            "self",
            about="place",
        ),
        Measure(
            "special tokens",
            token_pairs.special,
            ("ids", "texts"),
            "attends to special tokens",
            "[spec]",
            about="rest",
            beside_first=True,
        ),
        Measure("entropy", None, ("ids",), unit="bits", one_text=False, of_maps=_entropy),
        Measure("distance", None, ("ids",), unit="tokens", of_maps=_distance),
    )
}
