"""Checks for lesson 10, GPT."""

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
            "You compare the logits at a position with the token **at that position**, which the "
            "model has just read. Compare them with the token after it.",
        ),
        Suspect(
            "shifted the wrong way",
            _looking_back,
            "The shift goes the wrong way: you compare with the token *before*. "
            "Drop the last position of the logits and the first of the tokens.",
        ),
        Suspect(
            "wrapped round",
            _rolled,
            "`roll` makes the first token the answer to the last position. Nobody knows what comes "
            "after the end: leave the last position out.",
        ),
        Suspect("sum", _sum, "You added up the losses. Take their mean."),
        Suspect(
            "divided by all places",
            _over_all_places,
            "You divided by the number of tokens. There is one prediction fewer per text, because "
            "the last token has no successor.",
        ),
        Suspect(
            "not averaged",
            _each,
            "You returned a loss for each position. Take the mean of all of them.",
        ),
        Suspect(
            "softmax taken twice",
            _softmaxed_twice,
            "`F.cross_entropy` takes logits and does the softmax itself; you took it once more.",
        ),
        Suspect(
            "no softmax",
            _no_log_softmax,
            "This is minus the logit of the right token. A logit is not yet the logarithm of a "
            "probability: `log_softmax` is missing.",
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
            "the text, so the last query may attend to every key.",
        ),
        Suspect(
            "inverted",
            lambda n, m: ~solutions.causal_mask(n, m),
            "The mask is inverted: True should mean *may attend*.",
        ),
        Suspect(
            "the future",
            lambda n, m: _table(n, m, lambda q, k, first: k >= q + first),
            "You allow the future and hide the past.",
        ),
        Suspect(
            "itself hidden",
            lambda n, m: _table(n, m, lambda q, k, first: k < q + first),
            "A token may also attend to itself.",
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
            "You returned as many rows as keys. Return only the rows of the queries: the last ones.",
        ),
    ),
)


def _adds_up(tokens):
    """A causal model: each prediction depends on everything read so far."""
    table = torch.arange(6.0).outer(torch.tensor([1.0, -1.0, 0.5]))  # its columns do not sum to 0
    return table[tokens].cumsum(0)


def _peeks(tokens):
    """Each position sees one token too many."""
    return _adds_up(tokens) + 2 * _adds_up(tokens).roll(-1, 0)


def _balanced(tokens):
    """What one logit gains another loses, and the last tokens have no effect."""
    moved = (tokens[:3].double() ** 2).cumsum(0)
    moved = torch.cat((moved, moved[-1:].expand(len(tokens) - 3)))
    return torch.stack((moved, -moved), -1)


def _before(tokens):
    return torch.cat((tokens[:1], tokens[:-1])).double()


def _one_stays(tokens):
    """Uses only the token before. One logit never moves, and is not always the largest."""
    before = _before(tokens)
    return torch.stack((torch.zeros_like(before), before - 1.5), -1)


def _all_fall(tokens):
    """Uses only the token before. One logit never moves and stays the largest; the others fall."""
    before = _before(tokens)
    return torch.stack((torch.full_like(before, 5), -before, -before / 2), -1)


def _influence_cases() -> list[Case]:
    return [
        Case("a model that reads what is on the left", (_adds_up, torch.tensor([3, 1, 5, 2]), 6)),
        Case("a model that peeks one token ahead", (_peeks, torch.tensor([3, 1, 5, 2, 0]), 6)),
        Case("logits where one gains what another loses", (_balanced, torch.arange(5), 5)),
        Case("a model that uses only the token before", (_one_stays, torch.arange(4), 4)),
        Case("logits where some only fall", (_all_fall, torch.arange(4), 4)),
    ]


def _moves(predict, tokens, vocab_size, *, differs=None, kept=False, from_here=False):
    """`influence` in parts: how a change is detected, whether it stays, and what is changed."""
    differs = differs or (lambda before, after: (after - before).abs().amax(-1) > 1e-6)
    before, changed = predict(tokens), tokens.clone()
    moved = torch.zeros(len(tokens), len(tokens), dtype=torch.bool)
    for place in range(len(tokens)):
        changed = changed if kept else tokens.clone()
        where = slice(place, None if from_here else place + 1)
        changed[where] = (tokens[where] + 1) % vocab_size
        moved[:, place] = differs(before, predict(changed))
    return moved


_INFLUENCE = Grader(
    name="10/influence",
    cases=_influence_cases,
    reference=solutions.influence,
    shape_hint="a row for each prediction, a column for each token",
    suspects=(
        Suspect(
            "transposed",
            lambda *a: _moves(*a).T,
            "You swapped rows and columns: a row is a prediction, and a column is the token that "
            "was changed.",
        ),
        Suspect(
            "what was changed stays changed",
            lambda *a: _moves(*a, kept=True),
            "A token that you changed stays changed while you try the next one. Start each time "
            "with a copy of the original text: `tokens.clone()`.",
        ),
        Suspect(
            "everything after it, too",
            lambda *a: _moves(*a, from_here=True),
            "You change every token from this position on. Change only one.",
        ),
        Suspect(
            "differences that cancel",
            lambda *a: _moves(*a, differs=lambda b, x: (x - b).sum(-1).abs() > 1e-6),
            "You add up the differences in a row, and they cancel: one logit gains what another "
            "loses. Take the largest |difference|.",
        ),
        Suspect(
            "without the sign",
            lambda *a: _moves(*a, differs=lambda b, x: (x - b).amax(-1) > 1e-6),
            "You take the largest difference with its sign, so a row in which all logits fall "
            "counts as unmoved. Take |difference| first.",
        ),
        Suspect(
            "the likeliest token alone",
            lambda *a: _moves(*a, differs=lambda b, x: b.argmax(-1) != x.argmax(-1)),
            "You compare which token is likeliest. Logits can move while their order stays the same.",
        ),
        Suspect(
            "inverted",
            lambda *a: ~_moves(*a),
            "The table is inverted: True should mean that the prediction *moved*.",
        ),
        Suspect(
            "the last prediction alone",
            lambda *a: _moves(*a)[-1:].expand(len(a[1]), -1),
            "Every row says what the last prediction depends on. Each prediction needs its own row.",
        ),
        Suspect(
            "every logit must move",
            lambda *a: _moves(*a, differs=lambda b, x: (x - b).abs().amin(-1) > 1e-6),
            "You require that *every* logit in a row moves. One is enough: take the largest change.",
        ),
        Suspect(
            "its own place alone",
            lambda *a: _moves(*a) & torch.eye(len(a[1]), dtype=torch.bool),
            "Only the diagonal is filled: you check only the prediction at the changed position.",
        ),
    ),
)

GRADERS = (_LOSS, _MASK, _INFLUENCE)
