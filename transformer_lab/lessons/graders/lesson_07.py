"""Checks of lesson 07, RNN against transformer."""

from __future__ import annotations

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.solutions import lesson_07 as solutions


def _steps_cases() -> list[Case]:
    lengths = torch.tensor([2, 5, 20, 1000])
    return [
        Case("one recurrent layer", (lengths, 1, True)),
        Case("three recurrent layers", (lengths, 3, True)),
        Case("two layers of attention", (lengths, 2, False)),
        Case("seven layers of attention", (lengths, 7, False)),
        Case("a recurrent network that reads a single word", (torch.tensor([1]), 4, True)),
    ]


STEPS = Grader(
    reference=solutions.dependent_steps,
    cases=_steps_cases,
    shape_hint="the shape of `length`: one number for each text",
    mistakes="""
- length + n_layers - 1
+ length * n_layers
  You let every recurrent layer wait until the one below has read the whole text. It does not have
  to: a cell waits only for its left neighbour and for the cell below. Number the cells of a small
  grid by the step in which each is ready.

- length + n_layers - 1
+ length
  For the recurrent network you counted one layer. The last cell of the top layer is ready some
  steps after the last cell of the bottom layer.

- length + n_layers - 1
+ length + n_layers
  One too many for the recurrent network: you counted the corner cell twice, once along the text
  and once up through the layers.

- length + n_layers - 1
+ length + n_layers - 2
  One too few for the recurrent network: with one layer it takes a step for each word, including
  the first.

- n_layers + 0 * length
+ n_layers * length
  You let the words of an attention layer wait for each other. Each needs the layer below, and
  nothing from its own layer, so all of them can be computed at once.

- n_layers + 0 * length
+ n_layers * length * length
  You counted how much there is to compute. The question is how much has to *wait*: all n² scores
  of a layer can be computed at the same time.

- n_layers + 0 * length
+ length + n_layers - 1
  Both kinds of layers got the recurrent count. In an attention layer, which other word of the
  same layer has to be ready first?

- n_layers + 0 * length
+ 1 + 0 * length
  One attention layer is one step, but the layers wait for each other.

- if recurrent
+ if not recurrent
  The two kinds are swapped: `recurrent` is True for the network that reads one word after
  another.
""",
)


def _path_cases() -> list[Case]:
    last = torch.full((7,), 12)
    first = torch.tensor([0, 3, 4, 5, 8, 11, 12])
    return [
        Case("a window of 4 positions", (first, last, 4)),
        Case("a recurrent network, which reaches one position", (first, last, 1)),
        Case("a window of 4 positions, read backwards", (last, first, 4)),
        Case("a window of 5 positions", (first, last, 5)),
        Case("attention that sees the whole text", (first, last, 13)),
    ]


PATH = Grader(  # now given in the lesson
    reference=solutions.path_length,
    retired=True,
    cases=_path_cases,
    shape_hint="the shape of `source` and `place`: one number for each pair",
    mistakes="""
- (distance + reach - 1) // reach
+ distance
  You counted positions, not steps: with a window, one step crosses `reach` positions.

- (distance + reach - 1) // reach
+ distance // reach
  You rounded down. With a reach of 4, a distance of 5 is not covered by one step: the remainder
  takes another one.

- (distance + reach - 1) // reach
+ distance // reach + 1
  You rounded down and added one: that is one too many wherever the distance is a multiple of the
  reach. A distance of 4 with a reach of 4 takes one step.

= right(source, place, reach) + 1
  One too many everywhere: count the steps *between* the positions. From a position to itself it
  takes none.

- (distance + reach - 1) // reach
+ (distance / reach).round().long()
  You rounded to the nearest whole number. Any remainder takes a step of its own, however small it
  is.

- (source - place).abs()
+ place - source
  This is right when `place` comes after `source`, and wrong the other way round: a distance has
  no sign.

- (source - place).abs()
+ source - place
  This is right when `place` comes before `source`, and wrong the other way round: a distance has
  no sign.

= (source != place).long()
  You always take one step. That is only right for attention to the whole text: with a smaller
  `reach`, it takes several.

= right(source, place, max(reach - 1, 1))
  Your steps are one position too short: a reach of 4 crosses four positions, not three.
""",
)


def _gru_arguments(seed: int, *, texts: int, words: int, d_in: int, d: int) -> tuple[Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    return (
        some(texts, words, d_in),
        some(texts, d),
        0.6 * some(3 * d, d_in),
        0.6 * some(3 * d, d),
        some(3 * d),
        some(3 * d),
    )


GRU = Grader(
    reference=solutions.gru,
    cases=lambda: [
        Case("two texts of 4 words", _gru_arguments(1, texts=2, words=4, d_in=3, d=5)),
        Case("three texts of one word", _gru_arguments(2, texts=3, words=1, d_in=4, d=4)),
        Case("one text of 6 words", _gru_arguments(3, texts=1, words=6, d_in=5, d=2)),
    ],
    shape_hint="`[text, word, d]`: the state after each word",
    mistakes="""
- torch.stack(states, dim=1)
+ h
  You returned the last state alone. Return the states after all words, `[text, word, d]`.

- states, dim=1
+ states, dim=0
  You stacked the states along the first axis. Here texts come first: use `dim=1`.

# gates
- read_r, read_z, read_n =
+ read_z, read_r, read_n =
- kept_r, kept_z, kept_n =
+ kept_z, kept_r, kept_n =
  The first third of the rows is r, the second is z. You have them the other way round.

# reset
- r * kept_n
+ (r * h) @ w_hh.chunk(3)[2].T + b_hh.chunk(3)[2]
  You multiplied the state by r *before* its matrix, as Cho et al. 2014 did. PyTorch, and the
  formula here, multiply what comes *out* of it, including the bias.

- read_n + r * kept_n
+ r * (read_n + kept_n)
  In n you multiplied everything by r. Multiply only the part that comes from the state; the word
  is read whatever r says.

- r * kept_n
+ kept_n
  In your function r does nothing. In n, multiply the part that comes from the state by r.

# squash
- torch.tanh
+ torch.sigmoid
  n is the new content, from −1 to 1, so it needs tanh. Only gates are sigmoids.

- torch.tanh(
+ (
  In your function n has no tanh.

# blend
- (1 - z) * n + z * h
+ z * n + (1 - z) * h
  You swapped z and 1 − z: where z is 1, the *old* state stays.

- (1 - z) * n
+ n
  You add all of n to what is kept. The new state is a mixture: (1 − z) times n, plus z times the
  old state.

# state bias
- states = []
+ states, b_hh = [], 0 * b_hh
  `b_hh` is left out. You need both biases, and in n this one is multiplied by r.

# word bias
- + b_ih
  `b_ih` is left out. You need both biases.

# walk
- for t in range(x.shape[1]):
+ first = h
+ for t in range(x.shape[1]):
+     h = first
  In your function every word starts from the first state. It has to start from the state that the
  word before it has left.

- range(x.shape[1])
+ reversed(range(x.shape[1]))
  You read the texts from the back. Start with word 0.

# kept
- r = torch
+ states.append(h)
+ r = torch
- states.append(h)
  For each word you kept the state from *before* it was read. Keep the new one.
""",
)
