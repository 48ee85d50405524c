"""Checks of lesson 10, GPT."""

from __future__ import annotations

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, random
from transformer_lab.lessons.solutions import lesson_10 as solutions


def _tokens(seed: int, vocab: int, *shape: int) -> Tensor:
    return torch.randint(vocab, shape, generator=torch.Generator().manual_seed(seed))


LOSS = Grader(
    reference=solutions.next_token_loss,
    cases=lambda: [
        Case("one text of five tokens", (2 * random(1, 1, 5, 7), _tokens(2, 7, 1, 5))),
        Case("a batch of 3 texts", (2 * random(3, 3, 6, 4), _tokens(4, 4, 3, 6))),
    ],
    shape_hint="one number, the mean over all predictions",
    mistakes="""
- logits[:, :-1]
+ logits
- tokens[:, 1:]
+ tokens
  You compare the logits at a position with the token **at that position**, which the model has
  just read. Compare them with the token after it.

- logits[:, :-1]
+ logits[:, 1:]
- tokens[:, 1:]
+ tokens[:, :-1]
  The shift goes the wrong way: you compare with the token *before*. Drop the last position of the
  logits and the first of the tokens.

- logits[:, :-1]
+ logits
- tokens[:, 1:]
+ tokens.roll(-1, 1)
  `roll` makes the first token the answer to the last position. Nobody knows what comes after the
  end: leave the last position out.

- answers.flatten()
+ answers.flatten(), reduction="sum"
  You added up the losses. Take their mean.

= right(logits, tokens) * tokens[:, 1:].numel() / tokens.numel()
  You divided by the number of tokens. There is one prediction fewer per text, because the last
  token has no successor.

- answers.flatten())
+ answers.flatten(), reduction="none").view_as(answers)
  You returned a loss for each position. Take the mean of all of them.

- logits[:, :-1]
+ logits[:, :-1].softmax(-1)
  `F.cross_entropy` takes logits and does the softmax itself; you took it once more.

= -logits[:, :-1].gather(-1, tokens[:, 1:, None]).mean()
  This is minus the logit of the right token. A logit is not yet the logarithm of a probability:
  `log_softmax` is missing.

= logits[:, :-1].softmax(-1).gather(-1, tokens[:, 1:, None]).mean()
  This is the mean *probability* of the right token. The loss is minus its logarithm.

= -logits[:, :-1].softmax(-1).gather(-1, tokens[:, 1:, None]).mean().log()
  You took the logarithm of the mean probability. Take the mean of the logarithms.

= right(logits, tokens) / torch.tensor(2.0).log()
  Your loss is in bits (log₂). Take the natural logarithm.

= -right(logits, tokens)
  The sign is wrong: a loss is *minus* the logarithm.
""",
)


MASK = Grader(
    reference=solutions.causal_mask,
    cases=lambda: [
        Case("8 queries and 8 keys", (8, 8)),
        Case("the last 8 tokens of 12", (8, 12)),
        Case("the newest token alone, with 4 keys", (1, 4)),
        Case("a single token", (1, 1)),
    ],
    shape_hint="a row for each query, a column for each key",
    mistakes="""
- torch.arange(first, n_key)
+ torch.arange(n_query)
  Your first query is aligned with the first key. The queries are the *last* tokens of the text,
  so the last query may attend to every key.

- key <= query
+ key > query
  The mask is inverted: True should mean *may attend*.

- key <= query
+ key >= query
  You allow the future and hide the past.

- key <= query
+ key < query
  A token may also attend to itself.

- key <= query
+ key <= query + 1
  Each token still sees one token of the future.

= torch.ones(n_query, n_key, dtype=torch.bool)
  Nothing is hidden.

= right(n_key, n_key)
  You returned as many rows as keys. Return only the rows of the queries: the last ones.
""",
    values=(2, 4, 6),
    variant="""
- key <= query
+ (key <= query) | (key < DRAWN)
  Let the text begin with a prefix, such as a question that is known from the start: every query may
  also attend to each of the first DRAWN tokens of the text, even if it comes before them.

- key < DRAWN
+ key <= DRAWN
  Your prefix has one token too many: its positions are 0 to DRAWN − 1.

- (key <= query) | (key < DRAWN)
+ (key <= query) & (key < DRAWN)
  You left *only* the prefix. The tokens after it stay visible as in a causal mask.

- (key <= query) | (key < DRAWN)
+ ~((key <= query) | (key < DRAWN))
  The mask is inverted: True should mean *may attend*.

- (key < DRAWN)
+ (key >= n_key - DRAWN)
  You showed the *last* DRAWN tokens to every query. The prefix is at the beginning of the text.
""",
)


def _adds_up(tokens):
    """A causal model: each prediction depends on everything read so far."""
    table = torch.arange(6.0).outer(torch.tensor([1.0, -1.0, 0.5]))  # its columns do not sum to 0
    return table[tokens].cumsum(0)


def _peeks(tokens):
    """A model that sees one token too many at each position."""
    return _adds_up(tokens) + 2 * _adds_up(tokens).roll(-1, 0)


def _balanced(tokens):
    """A model in which one logit gains what the other loses, and tokens after the third have no
    effect."""
    moved = (tokens[:3].double() ** 2).cumsum(0)
    moved = torch.cat((moved, moved[-1:].expand(len(tokens) - 3)))
    return torch.stack((moved, -moved), -1)


def _before(tokens):
    return torch.cat((tokens[:1], tokens[:-1])).double()


def _one_stays(tokens):
    """A model that uses only the token before. One logit never moves, and is not always the
    largest."""
    before = _before(tokens)
    return torch.stack((torch.zeros_like(before), before - 1.5), -1)


def _all_fall(tokens):
    """A model that uses only the token before. One logit never moves and stays the largest; others
    fall."""
    before = _before(tokens)
    return torch.stack((torch.full_like(before, 5), -before, -before / 2), -1)


INFLUENCE = Grader(
    reference=solutions.influence,
    cases=lambda: [
        Case("a model that reads what is on the left", (_adds_up, torch.tensor([3, 1, 5, 2]), 6)),
        Case("a model that peeks one token ahead", (_peeks, torch.tensor([3, 1, 5, 2, 0]), 6)),
        Case("logits where one gains what another loses", (_balanced, torch.arange(5), 5)),
        Case("a model that uses only the token before", (_one_stays, torch.arange(4), 4)),
        Case("logits where some only fall", (_all_fall, torch.arange(4), 4)),
    ],
    shape_hint="a row for each prediction, a column for each token",
    mistakes="""
- return moved
+ return moved.T
  You swapped rows and columns: a row is a prediction, and a column is the token that was changed.

- moved = torch
+ changed = tokens.clone()
+ moved = torch
- changed = tokens.clone()
  A token that you changed stays changed while you try the next one. Start each time with a copy
  of the original text: `tokens.clone()`.

- changed[place] = (tokens[place] + 1)
+ changed[place:] = (tokens[place:] + 1)
  You change every token from this position on. Change only one.

- difference.abs().amax(-1)
+ difference.sum(-1).abs()
  You add up the differences in a row, and they cancel: one logit gains what another loses. Take
  the largest |difference|.

- .abs().amax(-1)
+ .amax(-1)
  You take the largest difference with its sign, so a row in which all logits fall counts as
  unmoved. Take |difference| first.

- difference.abs().amax(-1) > 1e-6
+ predict(changed).argmax(-1) != before.argmax(-1)
  You compare which token is likeliest. Logits can move while their order stays the same.

- return moved
+ return ~moved
  The table is inverted: True should mean that the prediction *moved*.

- amax
+ amin
  You require that *every* logit in a row moves. One is enough: take the largest change.

- return moved
+ return moved & torch.eye(len(tokens), dtype=torch.bool)
  Only the diagonal is filled: you check only the prediction at the changed position.
""",
)


class _Reader:
    """A small fixed language model whose logits depend on everything in its window, mostly on
    near tokens."""

    def __init__(self, seed: int, vocab: int, longest: int):
        drawn = torch.Generator().manual_seed(seed)
        self.table = torch.randn(vocab, vocab, generator=drawn, dtype=torch.float64)
        self.longest = longest

    def __call__(self, tokens: Tensor) -> Tensor:
        if tokens.ndim != 1 or not 1 <= len(tokens) <= self.longest:
            raise ValueError(
                f"predict takes the tokens of one window, 1 to {self.longest} of them, not "
                f"{list(tokens.shape)}"
            )
        places = torch.arange(len(tokens))
        past = (places[:, None] - places).double()
        weights = torch.where(past >= 0, 0.8**past, 0.0)
        return 1.5 * weights @ self.table[tokens]


WINDOWS = Grader(
    reference=solutions.windowed_loss,
    cases=lambda: [
        Case("21 tokens in windows of 8, by 5", (_Reader(1, 6, 8), _tokens(12, 6, 21), 8, 5)),
        Case("16 tokens in windows of 6, by 1", (_Reader(3, 5, 6), _tokens(4, 5, 16), 6, 1)),
        Case("17 tokens in windows of 9, by 8", (_Reader(5, 7, 9), _tokens(6, 7, 17), 9, 8)),
        Case("a text that fits into one window", (_Reader(7, 5, 12), _tokens(8, 5, 10), 12, 4)),
    ],
    shape_hint="one number",
    mistakes="""
- total, scored = 0.0, 1
+ total, scored, n = 0.0, 1, 0
- total = total
+ n += len(losses)
+ total = total
- scored - begin - 1
+ 0
- (len(tokens) - 1)
+ n
  You score whole windows, so tokens where two windows overlap count twice, the second time with
  more context. Score only those that no window has scored yet.

= right(predict, tokens, size, 1)
  You give every token a window of its own. That is a stride of 1: move by `stride`, and score
  everything that is new in a window.

= right(predict, tokens, stride + 1, stride)
  Your windows hold `stride` new tokens and nothing before them. A window is `size` long: it also
  holds tokens that are already scored, as context.

= right(predict, tokens, size, size - 1)
  You cut the text into pieces of `size`, so the first tokens of each have little before them.
  Move by `stride`, and score what is new.

# judged
- scored - begin - 1
+ 0
  You score whole windows, so tokens where two windows overlap count twice, the second time with
  more context. Score only those that no window has scored yet.

- scored - begin - 1
+ scored - begin - (begin == 0)
  At each seam one token is never scored. In a window that begins at `begin`, the loss of token t
  is entry t − begin − 1.

- scored - begin - 1
+ max(scored - begin - 2, 0)
  At each seam one token is scored twice. In a window that begins at `begin`, the loss of token t
  is entry t − begin − 1.

- scored - begin - 1
+ len(losses) - stride if begin == 0 and end < len(tokens) else scored - begin - 1
  In the first window, too, you score only the last `stride` tokens. Nothing there has been scored
  yet: take all of it.

- scored - begin - 1
+ max(len(losses) - stride, 0) if begin and end == len(tokens) else scored - begin - 1
  In the last window you score `stride` tokens. It is shorter and overlaps more: score only what
  is new in it.

# windows
- end = min(
+ if begin and begin + size > len(tokens):
+     break
+ end = min(
  You stop before the last window, which is shorter: the end of the text is never scored.

- len(tokens), stride)
+ len(tokens), size)
- scored = end
+ scored = end + 1
  Your windows move by `size`, so the first tokens of each have little before them, and the very
  first is never scored. Windows should move by `stride`.

# shift
- logits[:-1], window[1:], reduction="none")
+ logits, window, reduction="none")[1:]
  You compare each position with the token that it has just read. The logits at a position predict
  the *next* token.

# mean
- total, scored
+ means = []
+ total, scored
- total = total + losses
+ total = losses
- .sum()
+ .mean()
- if end ==
+ means.append(total)
+ if end ==
- total / (len(tokens) - 1)
+ torch.stack(means).nanmean()
  You take the mean of the windows' means, as if each scored the same number of tokens. Add up the
  losses, and divide once.

- (len(tokens) - 1)
+ len(tokens)
  You divide by the number of tokens. The first has nothing before it, so it is not scored.

- / (len(tokens) - 1)
  You return the sum. Divide by the number of tokens that were scored.

- (len(tokens) - 1)
+ (len(tokens) - 1) / torch.tensor(2.0).log()
  These are bits. The loss should be in nats: do not divide by ln 2.
""",
)
