"""What heads look at, as numbers: one score a head, from traces, with nothing hidden.

Every measure takes a `Trace` and returns fp32 [layer, head]. One layer's maps are computed at a
time. A score says where attention went on this text; whether that matters, ablation says.

`labels` gives each head a name, or none, with the evidence for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .trace import Trace

if TYPE_CHECKING:
    from .labels import HeadLabel


def mass_on(trace: Trace, wanted: Tensor, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Attention that falls on marked pairs: the mean, over the queries that have a marked key,
    of the weight on their marked keys together. [layer, head], between 0 and 1.

    Args:
        wanted: bool [query, key].

    Raises:
        ValueError: when the mask has another shape, or marks nothing.
    """
    if tuple(wanted.shape) != trace.shape(kind):
        raise ValueError(
            f"wanted has shape {list(wanted.shape)}; the maps have {list(trace.shape(kind))}"
        )
    rows = wanted.any(-1)
    if not rows.any():
        raise ValueError("wanted marks no pair; no head can be scored")
    marked = wanted[rows]
    return _each_layer(trace, kind, batch, lambda p: (p[:, rows] * marked).sum(-1).mean(-1))


def previous_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on the token just before. [layer, head]"""
    return _mass("previous_token", trace, kind, batch)


def next_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on the token just after (0 in a decoder). [layer, head]"""
    return _mass("next_token", trace, kind, batch)


def self_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention of a token on itself. [layer, head]"""
    return _mass("self_token", trace, kind, batch)


def first_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on token 0, of all queries but the first: the attention sink of Xiao et
    al. 2023. [layer, head]"""
    return _mass("first_token", trace, kind, batch)


def duplicate_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on earlier occurrences of the same token, of the queries that have one.
    Source: Wang et al. 2022. [layer, head]"""
    return _mass("duplicate_token", trace, kind, batch)


def induction(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on the tokens that came *after* earlier occurrences of the query's token
    ([A][B] … [A] looks at [B]), of the queries that have one. Source: Olsson et al. 2022.
    [layer, head]"""
    return _mass("induction", trace, kind, batch)


def same_word(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on the other pieces of the query's own word, and on the pieces of that
    word where it stands again, of the queries that have any (in a decoder: any before them).
    What a word is, `words` says. [layer, head]

    Raises:
        ValueError: when every word is one token and none comes twice.
    """
    return _mass("same_word", trace, kind, batch)


def two_hop_induction(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """The same share of attention, when a head of a later layer looks *through* one of an earlier
    layer: for each head the largest mass of A_later · A_earlier on the pairs of `induction`,
    over the heads of all earlier layers. [layer, head]; layer 0 is 0.

    A model can solve induction in two hops with a raw score near 0; see `induction`.
    """
    wanted = induction_pairs(trace, kind=kind, batch=batch)
    rows = wanted.any(-1)
    marked = wanted[rows].float()
    n_layers, n_heads = trace.n_layers(kind), trace.n_heads(kind)
    best = torch.zeros(n_layers, n_heads)
    reach: list[Tensor] = []  # A_earlier · markedᵀ: how much of a query's goal each token sees
    for layer in range(n_layers):
        patterns = trace.pattern(layer, kind=kind, batch=batch).cpu()
        for seen in reach:
            # Σ_m A[q, m] · Σ_k A_earlier[m, k] · wanted[q, k], for every pair of heads
            through = torch.einsum("hqm,gmq->hgq", patterns[:, rows], seen).mean(-1)
            best[layer] = torch.maximum(best[layer], through.amax(1))
        reach.append(torch.einsum("gmk,qk->gmq", patterns, marked))
    return best


def induction_pairs(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Bool [query, key]: True where the key stands just after an earlier occurrence of the
    query's token."""
    earlier = _same(trace, kind, batch).tril(-1)
    pairs = torch.zeros_like(earlier)
    pairs[:, 1:] = earlier[:, :-1]
    return pairs


def special_tokens(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on special tokens such as [CLS] and [SEP]. [layer, head]

    Raises:
        ValueError: when the text has none.
    """
    return _mass("special_tokens", trace, kind, batch)


def punctuation(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on tokens without a letter or digit, white space aside. [layer, head]

    Raises:
        ValueError: when the text has none.
    """
    return _mass("punctuation", trace, kind, batch)


def entropy(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """How spread out attention is: mean entropy of a row, in bits; 0 looks at one token only.
    [layer, head]"""
    return _each_layer(
        trace, kind, batch, lambda p: -(p * p.clamp(min=1e-30).log2()).sum(-1).mean(-1)
    )


def distance(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """How far heads look: mean of |query − key| weighted by attention, in tokens. [layer, head]"""
    n_query, n_key = trace.shape(kind)
    away = (torch.arange(n_query)[:, None] - torch.arange(n_key)[None]).abs().float()
    return _each_layer(trace, kind, batch, lambda p: (p * away).sum(-1).mean(-1))


def moved(
    before: Trace, after: Trace, query: int, *, kind: str | None = None, batch: int = 0
) -> Tensor:
    """How much of one token's attention went elsewhere between two texts of the same length (a
    minimal pair, say; see `probes`): half the L1 distance of the two rows. [layer, head], 0 to 1.

    Raises:
        ValueError: when the maps differ in size, or the query is not there.
    """
    if before.shape(kind) != after.shape(kind) or before.n_layers(kind) != after.n_layers(kind):
        raise ValueError(
            f"the maps have {list(before.shape(kind))} and {list(after.shape(kind))} tokens; a "
            "minimal pair has two texts of one length, read by one model"
        )
    n_query = before.shape(kind)[0]
    if not 0 <= query < n_query:
        raise ValueError(f"query={query} is outside the {n_query} tokens (0 … {n_query - 1})")
    rows = [
        torch.stack(_per_layer(trace, kind, batch, lambda p: p[:, query]))
        for trace in (before, after)
    ]
    return (rows[0] - rows[1]).abs().sum(-1) / 2


def pairs(trace: Trace, measure: str, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """The pairs that a measure counts: bool [query, key], for drawing or for `mass_on`.

    Args:
        measure: "previous_token", "next_token", "self_token", "first_token", "duplicate_token",
            "induction", "same_word", "special_tokens" or "punctuation".
    """
    if measure not in _PAIRS:
        raise ValueError(f"measure={measure!r} is not known; choose one of {', '.join(_PAIRS)}")
    return _PAIRS[measure](trace, kind, batch)


def words(tokens: Sequence[str]) -> list[int]:
    """Which word each token belongs to, counted from 0, by how tokens are shown: `##` goes on with
    the word before (WordPiece); where spaces are shown (`·`, `↵`, `⇥`) a token without one goes on;
    otherwise every token is a word. A token with no letter or digit is a word of its own."""
    wordpiece = any(t.startswith("##") for t in tokens)
    spaced = any(t[:1] in _SPACES for t in tokens)
    found, before = [], False  # whether the token before can be gone on with
    for token in tokens:
        solid = any(c.isalnum() for c in token)
        if wordpiece:
            goes_on = before and token.startswith("##")
        else:
            goes_on = before and spaced and solid and token[:1] not in _SPACES
        found.append((found[-1] if found else -1) + (not goes_on))
        before = solid and token[-1:] not in _SPACES
    return found


def labels(model: Any, **options: Any) -> list[list[HeadLabel]]:
    """A label for every head, or none, with its evidence: [layer][head]. See `labels.labels`."""
    from .labels import labels

    return labels(model, **options)


def label(model: Any, layer: int, head: int, **options: Any) -> HeadLabel:
    """One head's label with its evidence; the options are those of `labels`."""
    from .labels import label

    return label(model, layer, head, **options)


# -- inside -----------------------------------------------------------------------------------------

_SPACES = tuple("·↵⇥")


def _mass(measure: str, trace: Trace, kind: str | None, batch: int) -> Tensor:
    return mass_on(trace, _PAIRS[measure](trace, kind, batch), kind=kind, batch=batch)


def _per_layer(
    trace: Trace, kind: str | None, batch: int, measure: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    layers = range(trace.n_layers(kind))
    return [measure(trace.pattern(layer, kind=kind, batch=batch).cpu()) for layer in layers]


def _each_layer(
    trace: Trace, kind: str | None, batch: int, measure: Callable[[Tensor], Tensor]
) -> Tensor:
    return torch.stack(_per_layer(trace, kind, batch, measure))


def _offset(trace: Trace, kind: str | None, by: int) -> Tensor:
    n_query, n_key = trace.shape(kind)
    return torch.arange(n_key)[None] - torch.arange(n_query)[:, None] == by


def _same(trace: Trace, kind: str | None, batch: int) -> Tensor:
    """Bool [query, key]: True where both are the same token."""
    kind = kind or ("decoder" if "decoder" in trace.kinds else trace.kinds[0])
    if kind == "cross":
        raise ValueError("kind='cross' compares two texts; this measure needs one")
    ids = trace.target if kind == "decoder" and trace.target is not None else trace.tokens
    ids = ids[batch].cpu()
    return ids[:, None] == ids[None]


def _first(trace: Trace, kind: str | None, batch: int) -> Tensor:
    wanted = torch.zeros(trace.shape(kind), dtype=torch.bool)
    wanted[1:, 0] = True
    return wanted


def _special(trace: Trace, kind: str | None, batch: int) -> Tensor:
    return torch.tensor(trace.special(kind, batch)).expand(trace.shape(kind))


def _punctuation(trace: Trace, kind: str | None, batch: int) -> Tensor:
    shown = zip(trace.key_tokens(kind, batch), trace.special(kind, batch), strict=True)
    marks = [
        not special and bool(token.strip("·↵⇥")) and not any(c.isalnum() for c in token)
        for token, special in shown
    ]
    return torch.tensor(marks).expand(trace.shape(kind))


def _same_word(trace: Trace, kind: str | None, batch: int) -> Tensor:
    _same(trace, kind, batch)  # refuses cross-attention
    tokens = trace.key_tokens(kind, batch)
    special = torch.tensor(trace.special(kind, batch))
    number = words(tokens)
    pieces: dict[int, str] = {}
    for word, token in zip(number, tokens, strict=True):
        pieces[word] = pieces.get(word, "") + re.sub("^##|[·↵⇥]", "", token)
    known = {"": -1}  # spelling -> number
    spelled = torch.tensor([known.setdefault(pieces[w], len(known)) for w in number])
    spelled = spelled.masked_fill(special, -1)
    alike = (spelled[:, None] == spelled[None]) & (spelled >= 0)
    alike.fill_diagonal_(False)
    return alike.tril(-1) if trace.causal(kind) else alike


_PAIRS: dict[str, Callable[[Trace, str | None, int], Tensor]] = {
    "previous_token": lambda trace, kind, batch: _offset(trace, kind, -1),
    "next_token": lambda trace, kind, batch: _offset(trace, kind, 1),
    "self_token": lambda trace, kind, batch: _offset(trace, kind, 0),
    "first_token": _first,
    "duplicate_token": lambda trace, kind, batch: _same(trace, kind, batch).tril(-1),
    "induction": lambda trace, kind, batch: induction_pairs(trace, kind=kind, batch=batch),
    "same_word": _same_word,
    "special_tokens": _special,
    "punctuation": _punctuation,
}
