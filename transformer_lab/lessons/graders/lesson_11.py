"""Checks for lesson 11, Writing."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_11 as solutions

_VOCABULARY = 8


def _random(seed: int, *shape: int) -> torch.Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


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
    name="11/top_p",
    cases=_top_p_cases,
    reference=solutions.top_p,
    shape_hint="the shape of `logits`: a probability for each token",
    suspects=(
        Suspect(
            "the last one left out",
            lambda logits, p: _normalised(_kept(logits, p, lambda o, p: o.cumsum(-1) <= p)),
            "You leave out the token that makes the sum *pass* `p`, so the tokens you keep do not "
            "reach it. (And where one token alone has more than `p`, nothing is left: 0 / 0.)",
        ),
        Suspect(
            "not normalised",
            lambda logits, p: _kept(logits, p, _right),
            "The kept probabilities do not sum to 1. Divide by their sum.",
        ),
        Suspect(
            "in order of size",
            _in_order_of_size,
            "Your probabilities come out sorted, so they belong to the wrong tokens. Put them back "
            "at the indices of their tokens: `scatter`, or a threshold.",
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
            "You add up the probabilities in the order of the vocabulary. Sort by probability first.",
        ),
        Suspect(
            "each above p",
            _above,
            "You keep the tokens that have at least `p` *each*. Only their sum has to reach `p`.",
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
            "You took a softmax of probabilities, so tokens with 0 get e⁰ = 1 and come back. "
            "Divide by the sum instead.",
        ),
    ),
)


def _one_hot(tokens: list[int]) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(tokens) % _VOCABULARY, _VOCABULARY).float()


def _counts(new, past):
    """The last token plus one, so the next token is plain to see."""
    read = (*(past or ()), *new)
    return _one_hot([token + 1 for token in new]), read


def _reads_everything(new, past):
    """The next token depends on everything read so far, and counts a token that is read twice."""
    read, said = tuple(past or ()), []
    for token in new:
        read = (*read, token)
        said.append(sum(read) + len(read))
    return _one_hot(said), read


def _four_at_most(new, past):
    """Always predicts 7 when it reads more at once than the prompt of four tokens."""
    logits, read = _reads_everything(new, past)
    return (logits if len(new) <= 4 else _one_hot([7] * len(new))), read


def _likeliest(row):
    return int(row.argmax())


def _unlikeliest(row):
    return int(row.flip(0).argmin())


def _write_cases() -> list[Case]:
    return [
        Case("a model that counts, and 3 tokens", (_counts, [2, 3], 3, _likeliest)),
        Case(
            "a model that depends on everything it read",
            (_reads_everything, [1, 2, 2], 6, _likeliest),
        ),
        Case("an end, 6, that comes before n tokens", (_counts, [3], 7, _likeliest, 6)),
        Case("a choice that is not the likeliest", (_counts, [3, 1], 2, _unlikeliest)),
        Case(
            "a model that can read four tokens at once",
            (_four_at_most, [3, 1, 2, 2], 5, _likeliest),
        ),
    ]


def _written(
    step, prompt, n, choose, end=None, *,
    feed="new", place=-1, forgets=False, stops=True, with_end=True, more=0, whole=True,
):  # fmt: skip
    """`write` in parts: what is read each time, which row is chosen from, when it ends."""
    text, new, past = list(prompt), list(prompt), None
    for _ in range(n + more):
        logits, given = step(new, past)
        past = None if forgets else given
        token = choose(logits[place])
        if stops and token == end and not with_end:
            break
        text.append(token)
        if stops and token == end:
            break
        new = {"new": [token], "all": list(text), "last two": text[-2:]}[feed]
    return torch.tensor(text if whole else text[len(prompt) :])


_WRITE = Grader(
    name="11/write",
    cases=_write_cases,
    reference=solutions.write,
    shape_hint="one number for each token: those of the prompt, and those that were written",
    suspects=(
        Suspect(
            "the prompt is missing",
            lambda *a: _written(*a, whole=False),
            "You return only what was written. The prompt belongs in front of it.",
        ),
        Suspect(
            "the whole text again",
            lambda *a: _written(*a, feed="all", forgets=True),
            "You read the whole text again at every step, and never pass `past` on. The text is "
            "right, but its cost grows with the square: pass `step` only what is new.",
        ),
        Suspect(
            "the whole text, and its past",
            lambda *a: _written(*a, feed="all"),
            "You pass `past` on *and* the whole text, so the model reads old tokens twice. Only "
            "the newest token is new.",
        ),
        Suspect(
            "the past is lost",
            lambda *a: _written(*a, forgets=True),
            "You pass only the newest token, but not the `past` that `step` returned: the model "
            "has forgotten everything before.",
        ),
        Suspect(
            "one token twice",
            lambda *a: _written(*a, feed="last two"),
            "You pass the last two tokens each time; the model has already read the first of them.",
        ),
        Suspect(
            "the first row",
            lambda *a: _written(*a, place=0),
            "You choose from the first row of the logits. The next token is predicted in the last row.",
        ),
        Suspect(
            "one too many",
            lambda *a: _written(*a, more=1),
            "You write one token more than `n`.",
        ),
        Suspect("one too few", lambda *a: _written(*a, more=-1), "You write one token too few."),
        Suspect(
            "it does not end",
            lambda *a: _written(*a, stops=False),
            "You go on after `end` is written. Stop there.",
        ),
        Suspect(
            "the end is left out",
            lambda *a: _written(*a, with_end=False),
            "You stop before `end` is written, but it belongs to the text.",
        ),
        Suspect(
            "always the likeliest",
            lambda step, prompt, n, choose, end=None: _written(step, prompt, n, _likeliest, end),
            "You take the likeliest token yourself. Let `choose` choose.",
        ),
    ),
)

GRADERS = (_TOP_P, _WRITE)
