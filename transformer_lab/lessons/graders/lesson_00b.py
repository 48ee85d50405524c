"""Checks of lesson 00b, PyTorch and tl in an hour."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

import transformer_lab as tl
from transformer_lab.lessons.graders.base import Case, Grader, built, random
from transformer_lab.lessons.solutions import lesson_00b as solutions

DISTANCES = Grader(
    reference=solutions.pairwise_distances,
    # No two sizes are equal, so that a swapped axis is detected.
    cases=lambda: [
        Case("4 points and 3 points of 2 numbers each", (random(1, 4, 2), random(2, 3, 2))),
        Case("2 points and 5 points of 3 numbers each", (random(3, 2, 3), random(4, 5, 3))),
        Case("one point and 6 points", (random(5, 1, 4), random(6, 6, 4))),
    ],
    shape_hint="a row for each point of `x`, a column for each point of `y`",
    mistakes="""
- .sqrt()
  These are the squares of the distances: the root is missing.

- difference.square().sum(dim=-1).sqrt()
+ difference.abs().sum(dim=-1)
  You added up the differences without squaring them. A distance is the root of the sum of squares.

- .sum(dim=-1)
+ .mean(dim=-1)
  You took the mean of the squares. A distance is the root of their *sum*.

- x[:, None, :] - y[None, :, :]
+ x[None, :, :] - y[:, None, :]
  Rows and columns are exchanged: a row belongs to a point of `x`, a column to a point of `y`.

- .sum(dim=-1)
+ .sum(dim=1)
  You added up over the points of `y`. Add up over the numbers of a point, the last axis: `dim=-1`.

- .sum(dim=-1)
+ .sum(dim=0)
  You added up over the points of `x`. Add up over the numbers of a point, the last axis: `dim=-1`.

- .sum(dim=-1)
+ .sum()
  You added up everything. Without `dim=-1` only one number is left.

- - y[None, :, :]
+ + y[None, :, :]
  You added the points. Subtract them.
""",
)


def _use_layers(made: Callable[..., Any], sizes: tuple[int, int, int], x: Tensor) -> Tensor:
    """The output of a network with the grader's weights."""
    n_in, n_hidden, n_out = sizes
    wanted = {
        "first.weight": (n_hidden, n_in),
        "first.bias": (n_hidden,),
        "second.weight": (n_out, n_hidden),
        "second.bias": (n_out,),
    }
    return built(lambda sizes: made(*sizes), sizes, wanted, x)(x)


LAYERS = Grader(
    reference=solutions.TwoLayers,
    cases=lambda: [
        Case("5 points, 2 numbers in, 7 hidden, 3 out", ((2, 7, 3), random(1, 5, 2))),
        Case("a batch of 2 × 4 points, 3 in, 5 hidden, 2 out", ((3, 5, 2), random(2, 2, 4, 3))),
    ],
    use=_use_layers,
    noun="class",
    shape_hint="the shape of `x`, with `n_out` numbers in place of the last axis",
    mistakes="""
- torch.relu(self.first(x))
+ self.first(x)
  There is nothing between the two layers. Two linear maps in a row are again a linear map: put
  `torch.relu` between them.

- self.second(torch.relu(self.first(x)))
+ torch.relu(self.second(self.first(x)))
  `torch.relu` comes after the second layer. It belongs between the two.

- self.second(torch.relu(self.first(x)))
+ torch.relu(self.second(torch.relu(self.first(x))))
  There is a `torch.relu` after the second layer too, so no output can be below 0. Use it between the
  two only.

- self.second(torch.relu(self.first(x)))
+ self.second(torch.relu(self.first(x))).softmax(dim=-1)
  You returned probabilities. Return the scores of the second layer (logits): the loss takes the
  softmax itself.

- torch.relu(
+ torch.tanh(
  Between the layers you used `tanh`. Here it should be `torch.relu`.

- torch.relu(
+ torch.sigmoid(
  Between the layers you used `sigmoid`. Here it should be `torch.relu`.
""",
)


def _use_fit(
    fit: Callable[..., Any],
    sizes: tuple[int, int, int],
    x: Tensor,
    y: Tensor,
    steps: int,
    lr: float,
) -> Any:
    """The losses of a new network, which always starts with the same weights."""
    model = solutions.TwoLayers(*sizes).to(x.dtype)
    with torch.no_grad():
        for i, weight in enumerate(model.parameters()):
            weight.copy_(random(100 + i, *weight.shape))
    return fit(model, x, y, steps, lr)


FIT = Grader(
    reference=solutions.fit,
    cases=lambda: [
        Case(
            "6 points, 5 steps, lr 0.5", ((2, 4, 3), random(1, 6, 2), torch.arange(6) % 3, 5, 0.5)
        ),
        Case(
            "9 points, 3 steps, lr 0.1", ((3, 5, 2), random(2, 9, 3), torch.arange(9) % 2, 3, 0.1)
        ),
    ],
    use=_use_fit,
    shape_hint="one loss for each step",
    mistakes="""
- optimizer.zero_grad()
+ pass
  The gradients of all steps add up: `backward()` adds to what is there. Call
  `optimizer.zero_grad()` in every step.

- optimizer.step()
+ pass
  The loss never changes, because the weights do not. Either `optimizer.step()` is missing, or the
  gradients are set to zero between `backward()` and `step()`.

- losses.append(loss.detach())
+ losses.append(F.cross_entropy(model(x), y).detach())
  These are the losses *after* each step. Keep the loss that you computed before it.

- lr=lr)
+ lr=lr, maximize=True)
  The loss goes up: the steps follow the gradient. They should go against it.

- torch.optim.SGD
+ torch.optim.Adam
  You used Adam, which scales its steps. Here it should be `torch.optim.SGD`.

- torch.optim.SGD
+ torch.optim.AdamW
  You used AdamW, which scales its steps. Here it should be `torch.optim.SGD`.

- , lr=lr)
+ )
  `lr` is not used: the optimizer takes its own default.

- F.cross_entropy(model(x), y)
+ F.cross_entropy(model(x), y, reduction="sum")
  Your loss is the sum over all points. Use their mean, which does not depend on how many there are.

- model(x)
+ model(x).softmax(dim=-1)
  You gave `F.cross_entropy` probabilities. It takes the scores (logits) and does the softmax itself.
""",
)


@cache
def _reader() -> tl.TextModel:
    return tl.shipped()


def _effect_cases() -> list[Case]:
    reader = _reader()
    quoted = 'The method "format()" takes a list; the method "'
    loop = "for key in self.keys:\n    if key not in self."
    return [
        Case("a quoted name, head 0.3", (reader, quoted, _likeliest(quoted), 0, 3)),
        Case("a loop, head 1.2", (reader, loop, _likeliest(loop), 1, 2)),
        Case("a loop, head 3.0 and another token", (reader, loop, 300, 3, 0)),
    ]


@cache
def _likeliest(text: str) -> int:
    return int(_reader().trace(text).logits[0, -1].argmax())


EFFECT = Grader(
    reference=solutions.head_effect,
    cases=_effect_cases,
    shape_hint="one number, a tensor with no axes",
    mistakes="""
- after - before
+ before - after
  The sign is the other way round: subtract the probability with all heads from the one without this
  head. A head that helps the token has an effect below 0.

- after - before
+ after / before
  You divided the two probabilities. Subtract them.

- return after - before
+ return after
  This is the probability without the head. Subtract the one with all heads.

= right(reader, text, token, layer, head) * 0
  The two probabilities are equal, so the head was on in both. Trace the text again *inside* the
  `with` block.

= right(reader, text, token, head, layer)
  Layer and head are exchanged: `tl.ablate(layer, head)`.

= first = reader.trace(text).logits[0, -1][token]
= with tl.edit(reader, tl.ablate(layer, head)):
=     second = reader.trace(text).logits[0, -1][token]
= second - first
  You compared scores (logits). Turn all of them into probabilities first: `softmax(dim=-1)`.

= first = reader.trace(text).logits[0, 0].softmax(dim=-1)[token]
= with tl.edit(reader, tl.ablate(layer, head)):
=     second = reader.trace(text).logits[0, 0].softmax(dim=-1)[token]
= second - first
  You read the prediction after the first token of the text. What comes next is predicted at the last
  one: `logits[0, -1]`.

= first = reader.trace(text).logits[0, -1].log_softmax(dim=-1)[token]
= with tl.edit(reader, tl.ablate(layer, head)):
=     second = reader.trace(text).logits[0, -1].log_softmax(dim=-1)[token]
= second - first
  You compared logarithms of probabilities. Compare the probabilities.
""",
)
