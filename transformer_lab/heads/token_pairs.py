"""Pairs of tokens that a measure counts: each function returns bool [query, key] for a trace."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ..tracing.trace import Trace

_SPACES = tuple("·↵⇥")


def previous(trace: Trace, kind: str | None, batch: int) -> Tensor:
    return _offset(trace, kind, -1)


def following(trace: Trace, kind: str | None, batch: int) -> Tensor:
    return _offset(trace, kind, 1)


def itself(trace: Trace, kind: str | None, batch: int) -> Tensor:
    return _offset(trace, kind, 0)


def first(trace: Trace, kind: str | None, batch: int) -> Tensor:
    wanted = torch.zeros(trace.shape(kind), dtype=torch.bool)
    wanted[1:, 0] = True
    return wanted


def earlier_same(trace: Trace, kind: str | None, batch: int) -> Tensor:
    return _same(trace, kind, batch).tril(-1)


def after_earlier_same(trace: Trace, kind: str | None, batch: int) -> Tensor:
    earlier = earlier_same(trace, kind, batch)
    wanted = torch.zeros_like(earlier)
    wanted[:, 1:] = earlier[:, :-1]
    return wanted


def special(trace: Trace, kind: str | None, batch: int) -> Tensor:
    return torch.tensor(trace.special(kind, batch)).expand(trace.shape(kind))


def punctuation(trace: Trace, kind: str | None, batch: int) -> Tensor:
    shown = zip(trace.key_tokens(kind, batch), trace.special(kind, batch), strict=True)
    marks = [
        not special and bool(token.strip("·↵⇥")) and not any(c.isalnum() for c in token)
        for token, special in shown
    ]
    return torch.tensor(marks).expand(trace.shape(kind))


def same_word(trace: Trace, kind: str | None, batch: int) -> Tensor:
    _same(trace, kind, batch)  # raises for cross-attention
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


def words(tokens: Sequence[str]) -> list[int]:
    """Return the word that each token belongs to, counted from 0, by how tokens are shown.

    `##` continues the word before (WordPiece); where spaces are shown (`·`, `↵`, `⇥`), a token
    without one does; otherwise every token is a word. A token with no letter or digit is a word of
    its own.
    """
    wordpiece = any(t.startswith("##") for t in tokens)
    spaced = any(t[:1] in _SPACES for t in tokens)
    found, before = [], False  # whether the token before can be continued
    for token in tokens:
        solid = any(c.isalnum() for c in token)
        if wordpiece:
            goes_on = before and token.startswith("##")
        else:
            goes_on = before and spaced and solid and token[:1] not in _SPACES
        found.append((found[-1] if found else -1) + (not goes_on))
        before = solid and token[-1:] not in _SPACES
    return found


def _offset(trace: Trace, kind: str | None, by: int) -> Tensor:
    n_query, n_key = trace.shape(kind)
    return torch.arange(n_key)[None] - torch.arange(n_query)[:, None] == by


def _same(trace: Trace, kind: str | None, batch: int) -> Tensor:
    """Bool [query, key]: True where both are the same token."""
    kind = kind or ("decoder" if "decoder" in trace.kinds else trace.kinds[0])
    if kind == "cross":
        raise ValueError(
            "this measure compares tokens within one text, and kind='cross' has two; give "
            "kind='encoder' or 'decoder'"
        )
    ids = trace.target if kind == "decoder" and trace.target is not None else trace.tokens
    if ids is None:
        raise ValueError(f"this measure compares tokens, and {trace.model_name} read none")
    ids = ids[batch].cpu()
    return ids[:, None] == ids[None]
