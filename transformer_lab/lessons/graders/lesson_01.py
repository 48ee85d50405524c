"""Checks of lesson 01, Attention by hand."""

from __future__ import annotations

import math

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_01 as solutions


def _random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Numbers of words, d_head and batch all differ, so that a swapped axis cannot pass unseen.
def _attention_cases() -> list[Case]:
    small = tuple(1.5 * _random(i, 5, 4) for i in (1, 2)) + (_random(3, 5, 2),)
    wide = tuple(1.5 * _random(i, 3, 16) for i in (4, 5, 6))
    longer_keys = (1.5 * _random(7, 3, 8), 1.5 * _random(8, 6, 8), _random(9, 6, 8))
    batch = tuple(1.5 * _random(i, 2, 3, 5, 8) for i in (10, 11, 12))
    return [
        Case("five words with d_head = 4", small),
        Case("three words with d_head = 16", wide),
        Case("three queries and six keys", longer_keys),
        Case("a batch of 2 sentences with 3 heads each", batch),
    ]


def _with(
    scale=lambda query, key: query.shape[-1] ** -0.5, axis=-1, normalise=torch.softmax
):  # fmt: skip
    """Attention with one of its steps replaced."""

    def wrong(query, key, value):
        scores = query @ key.transpose(-2, -1) * scale(query, key)
        return normalise(scores, dim=axis) @ value

    return wrong


def _after_softmax(query, key, value):
    weights = torch.softmax(query @ key.transpose(-2, -1), dim=-1)
    return weights / math.sqrt(query.shape[-1]) @ value


def _queries_as_keys(query, key, value):
    return solutions.attention(key, query, value)


def _keys_as_values(query, key, value):
    return solutions.attention(query, key, key)


def _only_weights(query, key, value):
    return solutions.attention(query, key, torch.eye(key.shape[-2]).to(key))


def _only_scores(query, key, value):
    return query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])


def _masked(query, key, value):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return torch.softmax(solutions.causal(scores), dim=-1) @ value


def _no_normaliser(scores, dim):
    return scores.exp()


def _by_the_sum(scores, dim):
    return scores / scores.sum(dim=dim, keepdim=True)


def _identity(scores, dim):
    return scores


_ATTENTION = Grader(
    name="01/attention",
    cases=_attention_cases,
    reference=solutions.attention,
    shape_hint="one row for each query, as wide as the rows of `value`",
    suspects=(
        Suspect(
            "softmax over queries",
            _with(axis=-2),
            "Your weights sum to 1 along the wrong axis: you normalised over the queries. "
            "Each query divides one unit of attention among the keys. "
            "Which axis of `scores` counts the keys?",
        ),
        Suspect(
            "softmax over the first axis",
            _with(axis=0),
            "You normalised over the first axis. With a batch that axis counts sentences, not keys: "
            "count the axes from the end.",
        ),
        Suspect(
            "no scale",
            _with(scale=lambda query, key: 1.0),
            "The scores are not scaled: nothing is divided by `√d_head` before the softmax.",
        ),
        Suspect(
            "scaled by d, not √d",
            _with(scale=lambda query, key: 1 / query.shape[-1]),
            "You divided the scores by `d_head`. The formula divides by its square root.",
        ),
        Suspect(
            "multiplied by √d",
            _with(scale=lambda query, key: query.shape[-1] ** 0.5),
            "You multiplied the scores by `√d_head`. The formula divides by it.",
        ),
        Suspect(
            "√ of the number of words",
            _with(scale=lambda query, key: key.shape[-2] ** -0.5),
            "You divided by the square root of the number of words. "
            "`d_head` is how many numbers one word's query has: the last axis.",
        ),
        Suspect(
            "√ of the number of queries",
            _with(scale=lambda query, key: query.shape[-2] ** -0.5),
            "You divided by the square root of the number of queries. "
            "`d_head` is how many numbers one word's query has: the last axis.",
        ),
        Suspect(
            "√ of the first axis",
            _with(scale=lambda query, key: query.shape[0] ** -0.5),
            "You took `d_head` from the first axis, which counts words or sentences. "
            "It is the size of the last axis.",
        ),
        Suspect(
            "the scale is always 2",
            _with(scale=lambda query, key: 0.5),
            "You always divide by 2. That is `√d_head` only when `d_head` is 4, as in our sentence: "
            "read `d_head` off the query.",
        ),
        Suspect(
            "scaled after the softmax",
            _after_softmax,
            "You scaled the weights after the softmax, so they no longer sum to 1. "
            "The scores are scaled before it.",
        ),
        Suspect(
            "query and key swapped",
            _queries_as_keys,
            "Query and key are swapped: `key @ queryᵀ` has a row for each key. "
            "A row belongs to the word that attends, so the query comes first.",
        ),
        Suspect(
            "keys in place of values",
            _keys_as_values,
            "You mixed the keys. The weights come from the keys, but they multiply the values.",
        ),
        Suspect(
            "no values",
            _only_weights,
            "These are the weights. The last step is missing: use them to mix the values.",
        ),
        Suspect(
            "scores only",
            _only_scores,
            "These are the scaled scores. Two steps are missing: the softmax, and mixing the values.",
        ),
        Suspect(
            "no softmax",
            _with(normalise=_identity),
            "The scores mix the values without a softmax, so some weights are negative "
            "and the rows do not sum to 1.",
        ),
        Suspect(
            "not normalised",
            _with(normalise=_no_normaliser),
            "You took `exp` but did not divide by each row's sum, so the weights do not sum to 1.",
        ),
        Suspect(
            "divided by the sum, no exp",
            _with(normalise=_by_the_sum),
            "You divided the scores by their sum. Softmax takes `exp` first; without it "
            "negative scores give negative weights.",
        ),
        Suspect(
            "masked",
            _masked,
            "You also hid the later words. This function lets every query attend to every key; "
            "the mask is the next exercise.",
        ),
    ),
)


def _causal_cases() -> list[Case]:
    return [
        Case("scores of five words", (_random(20, 5, 5),)),
        Case("scores of three words", (2 * _random(21, 3, 3),)),
        Case("scores of a batch, [2, 3, 4, 4]", (_random(22, 2, 3, 4, 4),)),
    ]


def _weights(scores: torch.Tensor) -> torch.Tensor:
    return torch.softmax(scores, dim=-1)


def _hide(keep, fill=-math.inf):
    def wrong(scores):
        n_queries, n_keys = scores.shape[-2:]
        return scores.masked_fill(~keep(torch.ones(n_queries, n_keys, dtype=torch.bool)), fill)

    return wrong


def _already_softmax(scores):
    return torch.softmax(solutions.causal(scores), dim=-1)


def _zeroed_weights(scores):
    return torch.softmax(scores, dim=-1).tril()


_CAUSAL = Grader(
    name="01/causal",
    cases=_causal_cases,
    reference=solutions.causal,
    compare_as=_weights,
    shape_hint="the shape of `scores`, unchanged",
    suspects=(
        Suspect(
            "mask inverted",
            _hide(lambda ones: ones.triu()),
            "The mask is inverted: each word attends to itself and the words after it. "
            "Hide what is above the diagonal, and keep what is below.",
        ),
        Suspect(
            "mask inverted, diagonal too",
            _hide(lambda ones: ones.triu(1)),
            "The mask is inverted: you hid the word itself and the words before it, and the last "
            "word attends to nothing at all. Hide what is above the diagonal.",
        ),
        Suspect(
            "diagonal hidden",
            _hide(lambda ones: ones.tril(-1)),
            "You hid the diagonal as well: no word attends to itself, and the first word attends to "
            "nothing, so its softmax is NaN. Start one step to the right of the diagonal.",
        ),
        Suspect(
            "one word of the future",
            _hide(lambda ones: ones.tril(1)),
            "Each word still sees one word of the future. Hide everything to the right of the "
            "diagonal, starting right next to it.",
        ),
        Suspect(
            "0 in place of −∞",
            _hide(lambda ones: ones.tril(), fill=0.0),
            "You set the future to 0, but `exp(0)` = 1 is a weight like any other. "
            "Which score has `exp(score)` = 0?",
        ),
        Suspect(
            "+∞ in place of −∞",
            _hide(lambda ones: ones.tril(), fill=math.inf),
            "You set the future to +∞, so all attention goes there. The sign is wrong.",
        ),
        Suspect(
            "a finite −1 in place of −∞",
            _hide(lambda ones: ones.tril(), fill=-1.0),
            "You set the future to −1, which still gets a weight. Which score has `exp(score)` = 0?",
        ),
        Suspect(
            "softmax already taken",
            _already_softmax,
            "You returned weights. Return masked scores: the softmax comes after the mask.",
        ),
        Suspect(
            "weights cut after the softmax",
            _zeroed_weights,
            "You took the softmax first and cut the weights afterwards, so that the rows no longer "
            "sum to 1. Mask the scores, and leave the softmax to the next step.",
        ),
        Suspect(
            "nothing hidden",
            lambda scores: scores,
            "Nothing is hidden: the scores are unchanged. "
            "(`masked_fill` returns a new tensor; did you return the old one?)",
        ),
    ),
)

GRADERS = (_ATTENTION, _CAUSAL)
