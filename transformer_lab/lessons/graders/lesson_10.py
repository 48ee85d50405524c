"""Checks of lesson 10, GPT."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_10 as solutions


def _random(seed: int, *shape: int) -> torch.Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _tokens(seed: int, vocab: int, *shape: int) -> torch.Tensor:
    return torch.randint(vocab, shape, generator=torch.Generator().manual_seed(seed))


def _loss_cases() -> list[Case]:
    return [
        Case("one text of five tokens", (_random(1, 1, 5, 7), _tokens(2, 7, 1, 5))),
        Case("a batch of 3 texts", (_random(3, 3, 6, 4), _tokens(4, 4, 3, 6))),
    ]


def _cross_entropy(logits, answers, **options):
    return F.cross_entropy(logits.flatten(0, 1), answers.flatten(), **options)


def _same_place(logits, tokens):
    return _cross_entropy(logits, tokens)


def _looking_back(logits, tokens):
    return _cross_entropy(logits[:, 1:], tokens[:, :-1])


def _rolled(logits, tokens):
    return _cross_entropy(logits, tokens.roll(-1, 1))


def _sum(logits, tokens):
    return _cross_entropy(logits[:, :-1], tokens[:, 1:], reduction="sum")


def _each(logits, tokens):
    return _cross_entropy(logits[:, :-1], tokens[:, 1:], reduction="none").view(len(tokens), -1)


def _softmaxed_twice(logits, tokens):
    return _cross_entropy(logits[:, :-1].softmax(-1), tokens[:, 1:])


def _chance(logits, tokens):
    p = logits[:, :-1].softmax(-1).gather(-1, tokens[:, 1:, None])
    return p.mean()


def _no_log_softmax(logits, tokens):
    return -logits[:, :-1].gather(-1, tokens[:, 1:, None]).mean()


def _in_bits(logits, tokens):
    return solutions.next_token_loss(logits, tokens) / math.log(2)


def _negative(logits, tokens):
    return -solutions.next_token_loss(logits, tokens)


def _log_of_mean(logits, tokens):
    return -_chance(logits, tokens).log()


def _over_all_places(logits, tokens):
    return _sum(logits, tokens) / tokens.numel()


_LOSS = Grader(
    name="10/next_token_loss",
    cases=_loss_cases,
    reference=solutions.next_token_loss,
    shape_hint="one number, the mean over all predictions",
    suspects=(
        Suspect(
            "not shifted",
            _same_place,
            "You compare the logits at a place with the token **at that place**, which the model "
            "has just read. It should be the token that comes after.",
        ),
        Suspect(
            "shifted the wrong way",
            _looking_back,
            "The shift goes the wrong way: you compare with the token *before*. "
            "Logits lose their last place, tokens their first.",
        ),
        Suspect(
            "wrapped round",
            _rolled,
            "`roll` makes the first token the answer to the last place. Nothing is known about what "
            "comes after the end: leave the last place out.",
        ),
        Suspect("sum", _sum, "You added the losses up. Take their mean."),
        Suspect(
            "divided by all places",
            _over_all_places,
            "You divided by the number of tokens. One prediction fewer is made: the last token of "
            "a text has no successor.",
        ),
        Suspect(
            "not averaged",
            _each,
            "You returned a loss for each place. Take the mean of all of them.",
        ),
        Suspect(
            "softmax taken twice",
            _softmaxed_twice,
            "`F.cross_entropy` takes logits and does the softmax itself; you did it once more.",
        ),
        Suspect(
            "no softmax",
            _no_log_softmax,
            "This is minus the logit of the right token. A logit is no logarithm of a probability "
            "yet: `log_softmax` is missing.",
        ),
        Suspect(
            "no logarithm",
            _chance,
            "This is the mean *probability* of the right token. The loss is minus its logarithm.",
        ),
        Suspect(
            "logarithm of the mean",
            _log_of_mean,
            "You took the logarithm of the mean probability. Take the mean of the logarithms.",
        ),
        Suspect("in bits", _in_bits, "Your loss is in bits (log₂). Take the natural logarithm."),
        Suspect("sign", _negative, "The sign is wrong: a loss is *minus* the logarithm."),
    ),
)


def _mask_cases() -> list[Case]:
    return [
        Case("5 queries and 5 keys", (5, 5)),
        Case("the last 2 tokens of 6", (2, 6)),
        Case("the newest token alone, with 4 keys", (1, 4)),
        Case("a single token", (1, 1)),
    ]


def _table(n_query, n_key, keep):
    query, key = torch.arange(n_query)[:, None], torch.arange(n_key)[None, :]
    return keep(query, key, n_key - n_query).expand(n_query, n_key).clone()


_MASK = Grader(
    name="10/causal_mask",
    cases=_mask_cases,
    reference=solutions.causal_mask,
    shape_hint="a row for each query, a column for each key",
    suspects=(
        Suspect(
            "aligned at the first key",
            lambda n, m: _table(n, m, lambda q, k, _: k <= q),
            "Your first query is aligned with the first key. The queries are the *last* tokens of "
            "the text: the last query may look at every key.",
        ),
        Suspect(
            "inverted",
            lambda n, m: ~solutions.causal_mask(n, m),
            "The mask is inverted: True should mean *may look*.",
        ),
        Suspect(
            "the future",
            lambda n, m: _table(n, m, lambda q, k, first: k >= q + first),
            "You allow the future and hide the past.",
        ),
        Suspect(
            "itself hidden",
            lambda n, m: _table(n, m, lambda q, k, first: k < q + first),
            "A token may look at itself, too.",
        ),
        Suspect(
            "one step of the future",
            lambda n, m: _table(n, m, lambda q, k, first: k <= q + first + 1),
            "Each token still sees one token of the future.",
        ),
        Suspect(
            "everything allowed",
            lambda n, m: torch.ones(n, m, dtype=torch.bool),
            "Nothing is hidden.",
        ),
        Suspect(
            "square",
            lambda n, m: torch.ones(m, m, dtype=torch.bool).tril(),
            "There are as many rows as keys. Return only those of the queries: the last ones.",
        ),
    ),
)


def _top_p_cases() -> list[Case]:
    sure = torch.tensor([2.0, 0.1, -1.0, 0.7, -2.0, 3.0])
    return [
        Case("six tokens and p = 0.8", (sure, 0.8)),
        Case("one token above p", (torch.tensor([0.0, 6.0, 1.0, -1.0]), 0.5)),
        Case("a batch, [2, 3, 8], and p = 0.9", (_random(7, 2, 3, 8), 0.9)),
        Case("p = 1, which keeps every token", (_random(8, 5), 1.0)),
    ]


def _kept(logits, p, keep):
    probabilities = torch.softmax(logits, dim=-1)
    ordered, places = probabilities.sort(dim=-1, descending=True)
    kept = torch.where(keep(ordered, p), ordered, 0)
    return torch.zeros_like(probabilities).scatter(-1, places, kept)


def _normalised(kept):
    return kept / kept.sum(dim=-1, keepdim=True)


def _right(ordered, p):
    return ordered.cumsum(-1) - ordered < p


def _in_order_of_size(logits, p):
    ordered = torch.softmax(logits, dim=-1).sort(dim=-1, descending=True).values
    return _normalised(torch.where(_right(ordered, p), ordered, 0))


def _least_likely(logits, p):
    probabilities = torch.softmax(logits, dim=-1)
    ordered, places = probabilities.sort(dim=-1)
    kept = torch.where(_right(ordered, p), ordered, 0)
    return _normalised(torch.zeros_like(probabilities).scatter(-1, places, kept))


def _above(logits, p):
    probabilities = torch.softmax(logits, dim=-1)
    return _normalised(torch.where(probabilities >= p, probabilities, 0))


def _unsorted(logits, p):
    probabilities = torch.softmax(logits, dim=-1)
    return _normalised(torch.where(_right(probabilities, p), probabilities, 0))


def _softmax_of_kept(logits, p):
    kept = _kept(logits, p, _right)
    return torch.softmax(kept, dim=-1)


_TOP_P = Grader(
    name="10/top_p",
    cases=_top_p_cases,
    reference=solutions.top_p,
    shape_hint="the shape of `logits`: a probability for each token",
    suspects=(
        Suspect(
            "the last one left out",
            lambda logits, p: _normalised(_kept(logits, p, lambda o, p: o.cumsum(-1) <= p)),
            "You leave out the token with which the sum *passes* `p`, so the kept ones do not "
            "reach it (and where one token alone has more than `p`, nothing is left: 0 / 0).",
        ),
        Suspect(
            "not normalised",
            lambda logits, p: _kept(logits, p, _right),
            "The kept probabilities do not sum to 1. Divide by their sum.",
        ),
        Suspect(
            "in order of size",
            _in_order_of_size,
            "The probabilities come out sorted, so they belong to other tokens. Put them back into "
            "their places: `scatter`, or a threshold.",
        ),
        Suspect(
            "nothing cut",
            lambda logits, p: torch.softmax(logits, dim=-1),
            "This is the plain softmax: no token was cut.",
        ),
        Suspect(
            "least likely first",
            _least_likely,
            "You collect the *least* likely tokens first. Sort with `descending=True`.",
        ),
        Suspect(
            "not sorted",
            _unsorted,
            "You add up in the order of the vocabulary. Sort by probability first.",
        ),
        Suspect(
            "each above p",
            _above,
            "You keep the tokens that have at least `p` *each*. It is their sum that must reach "
            "`p`.",
        ),
        Suspect(
            "one too many",
            lambda logits, p: _normalised(
                _kept(logits, p, lambda o, p: o.cumsum(-1) - o - o.roll(1, -1) < p)
            ),
            "You keep one token too many: stop as soon as the sum reaches `p`.",
        ),
        Suspect(
            "softmax of the kept",
            _softmax_of_kept,
            "You took a softmax of probabilities; tokens with 0 get e⁰ = 1 and come back. "
            "Divide by the sum.",
        ),
    ),
)

GRADERS = (_LOSS, _MASK, _TOP_P)
