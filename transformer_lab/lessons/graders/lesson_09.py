"""Checks of lesson 09, BERT."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, random
from transformer_lab.lessons.solutions import lesson_09 as solutions


def _words(seed: int, texts: int, places: int, mask_id: int, *, padding: int = 0) -> tuple:
    """Arguments of `mask_words` in which every fate occurs, at every kind of position."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(10, 60, (texts, places), generator=draw)
    may_hide = torch.ones(texts, places, dtype=torch.bool)
    may_hide[:, 0] = False
    if padding:
        may_hide[-1, -padding:] = False
    chance = torch.rand(texts, places, generator=draw) * 0.35  # many are below 0.15
    fate = torch.rand(texts, places, generator=draw)
    fate[:, 2::3] = 0.8 + 0.2 * torch.rand(texts, len(range(2, places, 3)), generator=draw)
    other = torch.randint(60, 90, (texts, places), generator=draw)
    return tokens, may_hide, chance, fate, other, mask_id


MASK = Grader(
    reference=solutions.mask_words,
    cases=lambda: [
        Case("three texts of 24 words", _words(1, 3, 24, 4)),
        Case("two texts, one with padding", _words(2, 2, 18, 7, padding=6)),
        Case("a single text", _words(3, 1, 30, 4)),
    ],
    shape_hint="`torch.stack([shown, labels])`, which is `[2, text, position]`",
    mistakes="""
- chosen & (fate < 0.8)
+ chosen
- (fate >= 0.8)
+ False
  Every chosen word became `<mask>`. Only those with `fate < 0.8` should; the next tenth becomes
  the word in `other`, and the last tenth stays as it is.

- & (fate < 0.9)
  No chosen word stays as it is. Where `fate >= 0.9`, the original word should stay, and still
  have a label.

- torch.where(chosen, tokens, -100)
+ tokens
  Every word has a label. Where nothing was chosen, the label should be −100: no label.

- chosen, tokens
+ chosen, shown
  Your labels are what the model *sees*. They should be the original words: `tokens`.

- chosen, tokens
+ shown == mask_id, tokens
  Only the positions with `<mask>` have a label. All chosen positions should: also those with
  another word, and those that stay as they are.

- chosen, tokens
+ shown != tokens, tokens
  Chosen words that stay as they are have no label. They need one, too.

- tokens, -100
+ -100, tokens
  The labels are the wrong way round: −100 belongs where *no* word was chosen.

- -100
+ 0
  You used 0 for “no label”. 0 is a token; the loss ignores −100.

- may_hide & (chance
+ (chance
  You also chose positions where `may_hide` is False: `<s>`, `</s>` and padding.

- 0.15
+ 0.85
  You chose 85% of the words. A position is chosen where `chance` is *below* 0.15.

- [shown, labels]
+ [labels, shown]
  The two are in the wrong order: what the model sees comes first, then the labels.
""",
)


def _real(*lengths: int) -> torch.Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def _vector_cases() -> list[Case]:
    in_front = _real(5, 2).flip(-1)
    return [
        Case("three texts of 6, 4 and 1 words", (random(1, 3, 6, 8), _real(6, 4, 1))),
        Case("two texts with padding in front", (random(2, 2, 5, 4), in_front)),
        Case("one text without padding", (random(3, 1, 4, 8), _real(4))),
    ]


VECTOR = Grader(
    reference=solutions.sentence_vector,
    cases=_vector_cases,
    shape_hint="`[text, d]`: one vector for each text",
    mistakes="""
- real[..., None]
+ torch.ones_like(real[..., None])
  You count padding, both in the sum and in the number. Only positions where `real` is True should
  count.

- .sum(-2) / ones.sum(-2)
+ .mean(-2)
  The sum leaves padding out, but you divide by all positions. Divide by the number of real ones.

- / ones.sum(-2)
  That is the sum over the words. Divide it by how many there are, or long texts weigh more.

- real[..., None]
+ (~real[..., None])
  You took the mean over the *padding*. True means a real word.

= states[:, 0]
  That is the vector of the first token. BERT does it that way, but this exercise wants the mean.

- ones.sum(-2)
+ ones.sum()
  You divide by the number of words in all texts together. Each text has its own number.
""",
)


def _probe_arguments(seed: int, *, n: int, d: int, n_test: int, steps: int, lr: float) -> tuple:
    draw = torch.Generator().manual_seed(seed)
    labels = (torch.arange(n) % 3 != 0).float()  # one class is larger
    scale = 0.5 + torch.rand(d, generator=draw)
    shift = torch.randn(d, generator=draw)
    train = torch.randn(n, d, generator=draw) + labels[:, None]
    test = 1.5 * torch.randn(n_test, d, generator=draw) + 0.7
    return train * scale + shift, labels, test * scale + shift, steps, lr


PROBE = Grader(
    reference=solutions.linear_probe,
    cases=lambda: [
        Case(
            "8 texts to learn from, 5 others",
            _probe_arguments(1, n=8, d=3, n_test=5, steps=12, lr=0.5),
        ),
        Case("a single step", _probe_arguments(2, n=6, d=4, n_test=4, steps=1, lr=0.3)),
        Case("60 steps", _probe_arguments(3, n=12, d=5, n_test=7, steps=60, lr=0.2)),
    ],
    shape_hint="one probability for each row of `test`",
    mistakes="""
- range(steps)
+ range(steps - 1)
  You took one step too few: take `steps` of them.

- range(steps)
+ range(steps + 1)
  You took one step too many: take `steps` of them.

- test - mean
+ train - mean
  These are the probabilities for the rows of `train`. Return those for `test`.

- torch.sigmoid(scores)
+ 1 - torch.sigmoid(scores)
  That is the probability of class 0. Return that of class 1.

- bias = bias
+ error = torch.sigmoid(x @ weights + bias) - labels
+ bias = bias
  You moved the weights, and computed the error again before you moved the bias. Both gradients
  belong to the same step: compute the error once.

# standardise
- (test - mean) / spread
+ (test - test.mean(dim=0)) / test.std(dim=0)
  You standardised `test` by its own mean and spread. Then the result for a text depends on the
  other test texts. Use the mean and spread of `train`.

- mean, spread = train.mean(dim=0), train.std(dim=0)
+ both = torch.cat([train, test])
+ mean, spread = both.mean(dim=0), both.std(dim=0)
  You took the mean and spread of `train` and `test` together. Nothing of `test` may reach the
  probe.

- (test - mean) / spread
+ test
  `test` is not standardised. The border was drawn through standardised numbers, so `test` has to
  be standardised too.

- (train - mean) / spread
+ train
- (test - mean) / spread
+ test
  Nothing is standardised: subtract the mean and divide by the spread.

- train.std(dim=0)
+ 1.0
  You subtracted the mean but did not divide by the standard deviation.

- train.mean(dim=0), train.std(dim=0)
+ train.mean(), train.std()
  You took one mean and one spread for everything. Each of the d numbers has its own: `dim=0`.

- train.std(dim=0)
+ train.std(dim=0, correction=0)
  Your standard deviation divides by n. Use `std(dim=0)`, which divides by n − 1.

# scale
- / len(x)
+
- error.mean()
+ error.sum()
  You summed over the texts. The gradient of the *mean* loss is divided by their number.

# sign
- weights = weights
+ error = -error
+ weights = weights
  You went uphill: with p − y as the error, *subtract* `lr` times the gradient.

# error
- error = torch.sigmoid(x @ weights + bias) - labels
+ p = torch.sigmoid(x @ weights + bias)
+ error = (p - labels) * p * (1 - p)
  That is the gradient of a squared error: it has a factor p·(1 − p). The gradient of
  cross-entropy has p − y alone.

- - labels
+ - (2 * labels - 1)
  You made the labels −1 and 1. The probability is compared with 0 and 1.

- torch.sigmoid(x
+ (x
  In the loop you compared the *score* with the label. Turn it into a probability first.

# bias
- bias = bias - lr
+ _ = lr
  The bias stays 0. It has a gradient, too: the mean of p − y.

# result
- torch.sigmoid(scores)
+ scores
  These are scores. A sigmoid turns them into probabilities.

- torch.sigmoid(scores)
+ (scores > 0).to(x.dtype)
  These are classes, 0 and 1. Return the probability of class 1.
""",
)
