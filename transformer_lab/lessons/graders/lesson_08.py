"""Checks for lesson 08, Translation."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.tables_08 import TABLE
from transformer_lab.lessons.solutions import lesson_08 as solutions


def _mask_cases() -> list[Case]:
    right = torch.tensor([[1, 7, 5, 9, 6], [1, 8, 0, 0, 0]])
    left = torch.tensor([[1, 7, 5, 9], [0, 0, 1, 8]])
    other = torch.tensor([[4, 0, 2, 9], [4, 6, 3, 9], [4, 9, 9, 9]])
    return [
        Case("a text of 5 tokens and one of 2, padded with 0 at its end", (right, 0)),
        Case("a text of 4 tokens and one of 2, padded with 0 in front", (left, 0)),
        Case("three texts padded with 9", (other, 9)),
        Case("one text without padding", (torch.tensor([[1, 7, 5, 9]]), 0)),
    ]


def _parts(target, pad_id):
    n = target.shape[1]
    return torch.ones(n, n, dtype=torch.bool).tril(), target != pad_id


def _only_causal(target, pad_id):
    causal, _ = _parts(target, pad_id)
    return causal.expand(len(target), -1, -1)


def _only_padding(target, pad_id):
    causal, real = _parts(target, pad_id)
    return real[:, None, :].expand(-1, len(causal), -1)


def _inverted(target, pad_id):
    return ~solutions.decoder_mask(target, pad_id)


def _upper(target, pad_id):
    causal, real = _parts(target, pad_id)
    return causal.mT & real[:, None, :]


def _no_diagonal(target, pad_id):
    causal, real = _parts(target, pad_id)
    return causal.tril(-1) & real[:, None, :]


def _rows(target, pad_id):
    causal, real = _parts(target, pad_id)
    return causal & real[:, :, None]


def _either(target, pad_id):
    causal, real = _parts(target, pad_id)
    return causal | real[:, None, :]


def _always_zero(target, pad_id):
    return solutions.decoder_mask(target, 0)


_MASK = Grader(
    name="08/decoder_mask",
    cases=_mask_cases,
    reference=solutions.decoder_mask,
    shape_hint="`[batch, query, key]`, with as many queries and keys as tokens",
    suspects=(
        Suspect(
            "padding forgotten",
            _only_causal,
            "The future is hidden, but padding can still be seen. A query may attend to a key only "
            "if the key is not `pad_id`.",
        ),
        Suspect(
            "causality forgotten",
            _only_padding,
            "Padding is hidden, but the future can still be seen, so the model can copy the word "
            "that it should predict. A query may attend to itself and to what comes before it.",
        ),
        Suspect(
            "inverted",
            _inverted,
            "The mask is inverted: True should mean “may attend”. (In some libraries it means the "
            "opposite, so always check.)",
        ),
        Suspect(
            "the past hidden",
            _upper,
            "The triangle is the wrong way round: your queries see the future instead of the past.",
        ),
        Suspect(
            "diagonal hidden",
            _no_diagonal,
            "A token may attend to itself: keep the diagonal. Otherwise the first token sees nothing.",
        ),
        Suspect(
            "queries masked in place of keys",
            _rows,
            "You hid the rows of padding. It is the columns that have to be hidden: no token may "
            "attend *to* padding, so mask the last axis (keys). (A row that is all False has no "
            "softmax.)",
        ),
        Suspect(
            "or in place of and",
            _either,
            "A pair is allowed if it is not in the future *and* not padding: `&`, not `|`.",
        ),
        Suspect(
            "padding is always 0",
            _always_zero,
            "You assumed that padding is 0. It is whatever `pad_id` says.",
        ),
    ),
)

_VOCABULARY = 8


def _one_hot(token: int) -> torch.Tensor:
    scores = torch.zeros(_VOCABULARY)
    scores[token] = 1.0
    return scores


def _counts_up(ids):
    """3, 4, 5, then the end (2)."""
    last = int(ids[-1])
    return _one_hot(3 if last == 1 else last + 1 if last < 5 else 2)


def _never_ends(ids):
    return _one_hot(3 + len(ids) % 3)


def _reads_everything(ids):
    """The next token depends on the sum of all that was read."""
    return _one_hot(2 if len(ids) == 5 else 3 + int(ids.sum()) % 5)


def _negative(ids):
    """All scores are negative, as logarithms of probabilities are."""
    return _counts_up(ids) - 3


def _greedy_cases() -> list[Case]:
    return [
        Case("a model that writes 3 4 5 and ends", (_counts_up, 1, 2, 10)),
        Case("a model that never ends, at most 4 tokens", (_never_ends, 1, 2, 4)),
        Case("a model that uses everything it has written", (_reads_everything, 1, 2, 9)),
        Case("scores that are all negative", (_negative, 1, 2, 9)),
    ]


def _with_start(next_scores, bos, eos, longest):
    return torch.cat([torch.tensor([bos]), solutions.greedy(next_scores, bos, eos, longest)])


def _with_end(next_scores, bos, eos, longest):
    ids = solutions.greedy(next_scores, bos, eos, longest)
    return torch.cat([ids, torch.tensor([eos])]) if len(ids) < longest else ids


def _with_both(next_scores, bos, eos, longest):
    return torch.cat([torch.tensor([bos]), _with_end(next_scores, bos, eos, longest)])


def _forgets_the_past(next_scores, bos, eos, longest):
    return solutions.greedy(lambda ids: next_scores(ids[-1:]), bos, eos, longest)


def _least_likely(next_scores, bos, eos, longest):
    return solutions.greedy(lambda ids: -next_scores(ids), bos, eos, longest)


def _too_many(next_scores, bos, eos, longest):
    return solutions.greedy(next_scores, bos, eos, longest + 1)


def _too_few(next_scores, bos, eos, longest):
    return solutions.greedy(next_scores, bos, eos, longest - 1)


def _goes_on(next_scores, bos, eos, longest):
    return solutions.greedy(next_scores, bos, -1, longest)


def _only_the_last(next_scores, bos, eos, longest):
    return solutions.greedy(next_scores, bos, eos, longest)[-1:]


_GREEDY = Grader(
    name="08/greedy",
    cases=_greedy_cases,
    reference=solutions.greedy,
    shape_hint="the tokens that were written, one axis, without `bos` and `eos`",
    suspects=(
        Suspect(
            "start kept",
            _with_start,
            "Your result begins with `bos`. The decoder reads it but did not write it: leave it "
            "out.",
        ),
        Suspect(
            "end kept",
            _with_end,
            "Your result ends with `eos`. That token only says that the text is over: leave it out.",
        ),
        Suspect(
            "start and end kept",
            _with_both,
            "Your result still has `bos` in front and `eos` at its end. Neither is part of the text.",
        ),
        Suspect(
            "the past forgotten",
            _forgets_the_past,
            "You passed `next_scores` the last token alone. The decoder reads everything that it "
            "has written so far, including `bos`.",
        ),
        Suspect(
            "the least likely",
            _least_likely,
            "You took the token with the lowest score. Greedy takes the highest: `argmax`.",
        ),
        Suspect(
            "one too many",
            _too_many,
            "You wrote one token more than `longest`.",
        ),
        Suspect(
            "one too few",
            _too_few,
            "You wrote one token fewer than `longest` allows. Does `bos` count? It does not.",
        ),
        Suspect(
            "does not end",
            _goes_on,
            "You went on after `eos`. When `eos` is the likeliest token, the text is over.",
        ),
        Suspect(
            "the last token only",
            _only_the_last,
            "You returned the last token alone. Return all tokens that were written.",
        ),
    ),
)

GRADERS = (_MASK, _GREEDY, TABLE)
