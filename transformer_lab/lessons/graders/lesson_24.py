"""Checks of lesson 24, Mixture of experts."""

from __future__ import annotations

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.solutions import lesson_24 as solutions


def _logits(tokens: int, experts: int, seed: int) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return 1.5 * torch.randn(tokens, experts, generator=chance)


GATES = Grader(
    reference=solutions.gates,
    cases=lambda: [
        Case("5 tokens and 4 experts, k=2", (_logits(5, 4, 0), 2)),
        Case("7 tokens and 6 experts, k=1", (_logits(7, 6, 1), 1)),
        Case("4 tokens and 5 experts, k=3", (_logits(4, 5, 2), 3)),
    ],
    shape_hint="one gate for each token and expert: [token, expert]",
    mistakes="""
# probabilities
- logits.softmax(dim=-1)
+ logits.softmax(dim=0)
  Your probabilities sum to 1 over the tokens. Each token chooses among the experts: take the
  softmax over the last dimension.

- logits.softmax(dim=-1)
+ logits
  Your gates are logits. Take their softmax over the experts first.

- logits.softmax(dim=-1)
+ logits.sigmoid()
  You took a sigmoid of each logit by itself, so the experts of a token do not compete. Use a
  softmax over them.

# choice
- chances.topk(k, dim=-1)
+ chances.topk(k, dim=-1, largest=False)
  You kept the k least likely experts of each token. Keep the likeliest.

- chances.topk(k, dim=-1)
+ chances.topk(k, dim=0)
- scatter(-1,
+ scatter(0,
  Here each expert chooses k tokens. Each token should choose k experts.

- torch.zeros_like(chances).scatter(-1, chosen, top)
+ chances
  No gate is 0: every expert works for every token. Keep the k likeliest, and set the others to 0.

# gates
- chosen, top)
+ chosen, top / top.sum(-1, keepdim=True))
  The gates of each token sum to 1, as in Mixtral. Here, keep the probabilities as they are: with
  k=1, a gate that is always 1 would tell the router nothing.

- chosen, top)
+ chosen, 1.0)
  Your gates are 0 or 1. An expert that is chosen keeps its probability as its gate.
""",
)


def _routed(tokens: int, experts: int, k: int, seed: int) -> Case:
    chances = _logits(tokens, experts, seed).softmax(-1)
    name = f"{tokens} tokens, {k} of {experts} experts each"
    return Case(name, (chances, chances.topk(k).indices))


BALANCE = Grader(
    reference=solutions.balance,
    cases=lambda: [_routed(6, 4, 2, 3), _routed(9, 5, 1, 4), _routed(8, 3, 2, 5)],
    shape_hint="one number",
    mistakes="""
# factor
- return n *
+ return
  The factor n is missing, or the sum is a mean. With both right, the term is 1 where all experts are
  used alike, however many there are.

# fraction
- .mean(dim=(0, 1))
+ .sum(dim=1).mean(dim=0)
  Your fractions sum to k. A token makes k choices: divide by all of them, so that the fractions
  sum to 1.

- .mean(dim=(0, 1))
+ .sum(dim=(0, 1))
  These are counts. Divide by the number of choices, so that the fractions sum to 1.

- F.one_hot(chosen, n).to(chances.dtype).mean(dim=(0, 1))
+ chances.mean(dim=0)
  You squared the mean probabilities. One of the two factors is the fraction of choices that went to
  the expert.

# probability
- chances.mean(dim=0)).sum()
+ fraction).sum()
  You squared the fractions. They come from counting, which has no gradient; the second factor is the
  mean probability of each expert.

- (fraction * chances.mean(dim=0)).sum()
+ (F.one_hot(chosen, n).to(chances.dtype).mean(dim=1) * chances).mean(dim=0).sum()
  You multiplied token by token. Take both means over the tokens first, and multiply then.
""",
)
