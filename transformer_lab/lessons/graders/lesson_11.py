"""Checks of lesson 11, Writing."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, random
from transformer_lab.lessons.solutions import lesson_11 as solutions


def _top_p_cases() -> list[Case]:
    sure = torch.tensor([2.0, 0.1, -1.0, 0.7, -2.0, 3.0])
    return [
        Case("six tokens and p = 0.8", (sure, 0.8)),
        Case("one token above p", (torch.tensor([0.0, 6.0, 1.0, -1.0]), 0.5)),
        Case("a batch, [2, 3, 8], and p = 0.9", (2 * random(7, 2, 3, 8), 0.9)),
        Case("p = 1, which keeps every token", (2 * random(8, 5), 1.0)),
    ]


TOP_P = Grader(
    reference=solutions.top_p,
    cases=_top_p_cases,
    shape_hint="the shape of `logits`: a probability for each token",
    mistakes="""
- before < p
+ before + ordered <= p
  You leave out the token that makes the sum *pass* `p`, so the tokens you keep do not reach it.
  (And where one token alone has more than `p`, nothing is left: 0 / 0.)

- / nucleus.sum(dim=-1, keepdim=True)
  The kept probabilities do not sum to 1. Divide by their sum.

- torch.zeros_like(probabilities).scatter(-1, places, kept)
+ kept
  Your probabilities come out sorted, so they belong to the wrong tokens. Put them back at the
  indices of their tokens: `scatter`, or a threshold.

= torch.softmax(logits, dim=-1)
  This is the plain softmax: no token was cut.

- torch.zeros_like(probabilities).scatter(-1, places, kept)
+ torch.where(probabilities >= p, probabilities, 0)
  You keep the tokens that have at least `p` *each*. Only their sum has to reach `p`.

- before < p
+ before - ordered.roll(1, -1) < p
  You keep one token too many: stop as soon as the sum reaches `p`.

- nucleus / nucleus.sum(dim=-1, keepdim=True)
+ torch.softmax(nucleus, dim=-1)
  You took a softmax of probabilities, so tokens with 0 get e⁰ = 1 and come back. Divide by the
  sum instead.
""",
)


_VOCABULARY = 8


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


WRITE = Grader(
    reference=solutions.write,
    cases=lambda: [
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
    ],
    shape_hint="one number for each token: those of the prompt, and those that were written",
    mistakes="""
- torch.tensor(text)
+ torch.tensor(text[len(prompt) :])
  You return only what was written. The prompt belongs in front of it.

- step(new, past)
+ step(text, None)
  You read the whole text again at every step, and never pass `past` on. The text is right, but
  its cost grows with the square: pass `step` only what is new.

- step(new, past)
+ step(text, past)
  You pass `past` on *and* the whole text, so the model reads old tokens twice. Only the newest
  token is new.

- step(new, past)
+ step(new, None)
  You pass only the newest token, but not the `past` that `step` returned: the model has forgotten
  everything before.

- [token]
+ text[-2:]
  You pass the last two tokens each time; the model has already read the first of them.

- logits[-1]
+ logits[0]
  You choose from the first row of the logits. The next token is predicted in the last row.

- range(n)
+ range(n + 1)
  You write one token more than `n`.

- range(n)
+ range(n - 1)
  You write one token too few.

- token == end
+ False
  You go on after `end` is written. Stop there.

- text.append(token)
- if token == end:
-     break
+ if token == end:
+     break
+ text.append(token)
  You stop before `end` is written, but it belongs to the text.

- choose(logits[-1])
+ int(logits[-1].argmax())
  You take the likeliest token yourself. Let `choose` choose.
""",
)
