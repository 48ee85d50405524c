"""Checks of lesson 19, Circuits."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_19 as solutions


def _random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _causal_pattern(seed: int, n_heads: int, n: int) -> torch.Tensor:
    scores = 1.5 * _random(seed, n_heads, n, n)
    future = torch.ones(n, n, dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill(future, -torch.inf), dim=-1)


def _score_cases() -> list[Case]:
    once = torch.tensor([7, 3, 9, 4, 7, 3, 9, 1])
    often = torch.tensor([2, 5, 2, 6, 8, 2, 5])
    return [
        Case("three heads on a text in which a part comes again", (_causal_pattern(1, 3, 8), once)),
        Case("two heads on a text with one token three times", (_causal_pattern(2, 2, 7), often)),
    ]


def _marked(pattern, wanted, queries=None):
    queries = wanted.any(dim=-1) if queries is None else queries
    return (pattern * wanted).sum(dim=-1)[:, queries].mean(dim=-1)


def _same(tokens, below=-1):
    return (tokens[:, None] == tokens[None, :]).tril(below)


def _shifted(earlier, by):
    moved = torch.zeros_like(earlier)
    if by > 0:
        moved[:, by:] = earlier[:, :-by]
    else:
        moved[:, :by] = earlier[:, -by:]
    return moved


def _duplicate(pattern, tokens):
    return _marked(pattern, _same(tokens))


def _before(pattern, tokens):
    wanted = _shifted(_same(tokens), -1)
    return _marked(pattern, wanted, _same(tokens).any(-1))


def _two_after(pattern, tokens):
    return _marked(pattern, _shifted(_same(tokens), 2), _same(tokens).any(-1))


def _every_query(pattern, tokens):
    wanted = _shifted(_same(tokens), 1)
    return (pattern * wanted).sum(dim=-1).mean(dim=-1)


def _itself_counted(pattern, tokens):
    return _marked(pattern, _shifted(_same(tokens, 0), 1))


def _future(pattern, tokens):
    wanted = _shifted((tokens[:, None] == tokens[None, :]).triu(1), 1)
    return _marked(pattern, wanted, wanted.any(-1))


def _summed(pattern, tokens):
    return (pattern * _shifted(_same(tokens), 1)).sum(dim=(-2, -1))


def _largest(pattern, tokens):
    wanted = _shifted(_same(tokens), 1)
    return (pattern * wanted).amax(dim=-1)[:, wanted.any(-1)].mean(dim=-1)


def _share_of_pairs(pattern, tokens):
    wanted = _shifted(_same(tokens), 1)
    return (pattern * wanted).sum(dim=(-2, -1)) / wanted.sum()


def _previous(pattern, tokens):
    return pattern.diagonal(-1, -2, -1).mean(-1)


_SCORE = Grader(
    name="19/induction_score",
    cases=_score_cases,
    reference=solutions.induction_score,
    shape_hint="one number for each head",
    suspects=(
        Suspect(
            "the earlier occurrence itself",
            _duplicate,
            "This is attention on the earlier occurrence **itself**. That is a duplicate-token "
            "head. An induction head attends one position later, to what came next.",
        ),
        Suspect(
            "one position before",
            _before,
            "You used the token *before* the earlier occurrence: the shift goes the wrong way.",
        ),
        Suspect(
            "two positions after",
            _two_after,
            "You used the second token after the earlier occurrence. Use the first.",
        ),
        Suspect(
            "all queries in the mean",
            _every_query,
            "Your mean is over all queries. A query whose token has not occurred before has nothing "
            "to attend to and only lowers the score: leave those out.",
        ),
        Suspect(
            "the token itself counted as earlier",
            _itself_counted,
            "In your table a token counts as its own earlier occurrence. Keep only what comes "
            "strictly before it.",
        ),
        Suspect(
            "later occurrences",
            _future,
            "All scores are 0: you used attention to the future, which a decoder never has. Either query "
            "and key are swapped (the last axis of `pattern` counts keys), or you took *later* "
            "occurrences.",
        ),
        Suspect(
            "sum instead of mean",
            _summed,
            "You added up the queries. Take their mean, so that a perfect head scores 1.",
        ),
        Suspect(
            "only the most attended position",
            _largest,
            "When a token has occurred several times there are several right positions. Add up the "
            "weight on all of them.",
        ),
        Suspect(
            "mean over pairs",
            _share_of_pairs,
            "You divided by the number of marked pairs. Divide by the number of queries that have "
            "one: a head that attends to any right position has done its work.",
        ),
        Suspect(
            "previous token",
            _previous,
            "This is attention on the token just before the query, whatever it is.",
        ),
    ),
)


def _without_cases() -> list[Case]:
    square = (_random(10, 2, 3, 4, 5), _random(11, 15, 15), 1)
    wide = (_random(12, 1, 4, 5, 2), _random(13, 6, 8), 3)
    first = (_random(14, 3, 2, 2, 3), _random(15, 6, 6), 0)
    return [
        Case("2 texts, 3 heads of width 5, without head 1", square),
        Case("4 heads of width 2 that write into 6 numbers, without head 3", wide),
        Case("2 heads, without head 0", first),
    ]


def _merged(z):
    return z.transpose(1, 2).flatten(2)


def _after_the_projection(z, w_out, head):
    out = _merged(z) @ w_out.T
    width = z.shape[-1]
    out[..., head * width : (head + 1) * width] = 0
    return out


def _zeroed(z, place):
    z = z.clone()
    z[place] = 0
    return z


def _only_this(z, w_out, head):
    kept = torch.zeros_like(z)
    kept[:, head] = z[:, head]
    return _merged(kept) @ w_out.T


def _next_head(z, w_out, head):
    return solutions.without_head(z, w_out, (head + 1) % z.shape[1])


def _one_before(z, w_out, head):
    return solutions.without_head(z, w_out, (head - 1) % z.shape[1])


def _position(z, w_out, head):
    return _merged(_zeroed(z, (slice(None), slice(None), min(head, z.shape[2] - 1)))) @ w_out.T


def _text(z, w_out, head):
    return _merged(_zeroed(z, min(head, len(z) - 1))) @ w_out.T


def _interleaved(z, w_out, head):
    merged = _zeroed(z, (slice(None), head)).permute(0, 2, 3, 1).flatten(2)
    return merged @ w_out.T


def _not_turned(z, w_out, head):
    if w_out.shape[0] != w_out.shape[1]:
        return z.new_zeros(0)
    return _merged(_zeroed(z, (slice(None), head))) @ w_out


def _rows_of_weight(z, w_out, head):
    width = z.shape[-1]
    w_out = w_out.clone()
    w_out[head * width : (head + 1) * width] = 0
    return _merged(z) @ w_out.T


def _mean(z, w_out, head):
    z = z.clone()
    z[:, head] = z[:, head].mean(1, keepdim=True)
    return _merged(z) @ w_out.T


def _not_merged(z, w_out, head):
    z = _zeroed(z, (slice(None), head))
    return z.flatten(1).reshape(len(z), z.shape[2], -1) @ w_out.T


_WITHOUT = Grader(
    name="19/without_head",
    cases=_without_cases,
    reference=solutions.without_head,
    shape_hint="`[batch, position, d_model]`, like attention's output",
    suspects=(
        Suspect(
            "cut after W_O",
            _after_the_projection,
            "You set part of the *output* to 0. By then `W_O` has mixed the heads: each number of the "
            "output comes from all of them. Set the head's `z` to 0, before `W_O`.",
        ),
        Suspect(
            "rows of W_O",
            _rows_of_weight,
            "You set rows of `w_out` to 0, which removes part of the output. A head's numbers are "
            "multiplied by *columns* of `w_out`.",
        ),
        Suspect(
            "only this head",
            _only_this,
            "You kept this head and switched off all the others. Do it the other way round.",
        ),
        Suspect(
            "nothing switched off",
            lambda z, w_out, head: _merged(z) @ w_out.T,
            "No head is switched off. (To change `z`, put `z[:, head]` on the left of `=`.)",
        ),
        Suspect(
            "the next head",
            _next_head,
            "You switched off the head after it. Heads are counted from 0.",
        ),
        Suspect(
            "the head before",
            _one_before,
            "You switched off the head before it. Heads are counted from 0.",
        ),
        Suspect(
            "a position instead of a head",
            _position,
            "You set a *position* to 0. The axes of `z` are [batch, head, position, d_head].",
        ),
        Suspect(
            "a text instead of a head",
            _text,
            "You set a whole *text* of the batch to 0. The axes of `z` are "
            "[batch, head, position, d_head].",
        ),
        Suspect(
            "heads interleaved",
            _interleaved,
            "The heads are interleaved: `W_O` expects the numbers of head 0, then those of head 1, "
            "and so on, for each position.",
        ),
        Suspect(
            "not merged by position",
            _not_merged,
            "You reshaped [head, position, d_head] without swapping head and position first, so "
            "one row holds numbers of different positions. First use `transpose(1, 2)`.",
        ),
        Suspect(
            "W_O not turned",
            _not_turned,
            "`w_out` is the weight of an `nn.Linear`, [d_model, n_heads · d_head]: multiply by its "
            "transpose.",
        ),
        Suspect(
            "mean instead of zero",
            _mean,
            "You replaced the head with its mean. That is a good ablation too, but here the head "
            "should add nothing: set it to 0.",
        ),
        Suspect(
            "no W_O",
            lambda z, w_out, head: _merged(_zeroed(z, (slice(None), head))),
            "These are the heads side by side. The last step is missing: `W_O` mixes them.",
        ),
    ),
)

GRADERS = (_SCORE, _WITHOUT)
