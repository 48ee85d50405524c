"""Checks of lesson 13, Two facts, and a pointer."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, random
from transformer_lab.lessons.solutions import lesson_13 as solutions


def _scores(seed: int, texts: int, positions: int, padding: int = 0) -> torch.Tensor:
    scores = 2 * random(seed, texts, 2, positions)
    if padding:
        scores[0, :, -padding:] = float("-inf")
    return scores


def _spans(*pairs: tuple[int, int]) -> torch.Tensor:
    return torch.tensor(pairs)


LOSS = Grader(
    reference=solutions.span_loss,
    cases=lambda: [
        Case("three texts at once", (_scores(1, 3, 6), _spans((2, 4), (0, 3), (5, 5)))),
        Case("two texts, one with padding", (_scores(3, 2, 7, padding=2), _spans((1, 2), (0, 5)))),
        Case("a single text", (_scores(2, 1, 5), _spans((0, 3)))),
    ],
    shape_hint="a tensor with one number and no axis",
    mistakes="""
= F.cross_entropy(logits[:, 0], spans[:, 0])
  You count only the first word of the answer. Add the loss of its last word.

= F.cross_entropy(logits[:, 1], spans[:, 1])
  You count only the last word of the answer. Add the loss of its first word.

- / 2
  You added the losses of the first and the last word. Take the mean of the two, which is half of
  that.

= right(logits, spans) * len(spans)
  You added up the texts. Take their mean, so that the loss does not grow with the batch.

= right(logits, spans) * len(spans) * 2
  You added up all losses. Take the mean over the texts and over the two ends.

= right(logits, spans.flip(-1))
  First and last are swapped: row 0 of the scores is for the first word, `spans[:, 0]`.

= right(logits, (spans + torch.tensor([0, 1])).clamp(max=logits.shape[-1] - 1))
  You took the last position to be the one *after* the answer. Both ends belong to the span.

= -logits.gather(-1, spans[..., None]).mean()
  These are scores with a minus sign. First turn them into log-probabilities over the positions
  (`log_softmax`), or use `F.cross_entropy`, which does both.

= -logits.softmax(-1).gather(-1, spans[..., None]).mean()
  You took the probabilities themselves. The loss is their negative **logarithm**.

= -right(logits, spans)
  The sign is wrong: the loss should grow when the right positions become less likely.

= -logits.log_softmax(1).gather(-1, spans[..., None]).mean()
  Your softmax goes over the two rows, first and last. The positions of the text should compete
  with each other, so use the last axis.
""",
)


def _traps() -> torch.Tensor:
    first, last = torch.zeros(4, 9), torch.zeros(4, 9)
    first[0, 3] = last[0, 3] = 4.0  # an answer of one word
    last[0, 5], last[0, 6] = 3.0, 3.5
    first[1, 6], last[1, 2] = 5.0, 5.5  # the best last word comes before the best first word
    first[1, 1], last[1, 7] = 3.0, 2.0
    first[2, 0] = last[2, 8] = 6.0  # the best pair is too long
    first[2, 4], last[2, 5] = 4.0, 4.5
    first[3, 1], last[3, 2] = 5.0, 1.0  # a worse first word has a better last word
    first[3, 5], last[3, 7], last[3, 8] = 4.5, 3.0, 3.5
    return torch.stack((first, last), 1)


SPAN = Grader(
    reference=solutions.best_span,
    cases=lambda: [
        Case("four texts, each with a trap", (_traps(), 3)),
        Case("three texts, one with padding", (_scores(4, 3, 8, padding=3), 4)),
        Case("a single text", (_scores(5, 1, 6), 2)),
    ],
    shape_hint="[text, 2]: the first and the last position of each text's answer",
    mistakes="""
= logits.argmax(-1)
  You chose each end by itself, so the last word may come before the first, or too far after it.
  Choose the pair: among the allowed spans, the one with the largest sum of its two scores.

= logits.argmax(-1).sort(-1).values
  You chose each end by itself and then sorted them, but the model gave no high score to that
  span. Choose among the pairs whose last position is not before the first.

- .tril(longest - 1)
  The order is right, but the length is not: a span may have at most `longest` words.

- longest - 1
+ longest
  Your spans may have `longest` + 1 words. A span that starts at position i may end at i +
  `longest` − 1 at the latest.

- .triu()
+ .triu(1)
  Your spans have at least two words. First and last may be the same position.

- score = first
+ first = first.masked_fill(first < first.amax(-1, keepdim=True), float("-inf"))
+ score = first
  You took the best first word and then the best last word for it. A slightly worse first word can
  have a much better last word: compare the pairs.

- score = first
+ last = last.masked_fill(last < last.amax(-1, keepdim=True), float("-inf"))
+ score = first
  You took the best last word and then the best first word for it. Compare the pairs.

- .triu().tril(longest - 1)
+ .tril().triu(1 - longest)
  Your spans run backwards: the last position is never after the first one. The table of pairs is
  [first, last], so keep what is on or *above* its diagonal.

= right(logits, longest).flip(-1)
  The positions are right, but in the wrong order: the first word comes first.

= right(logits, longest) + torch.tensor([0, 1])
  Your last position is the one *after* the answer. Both ends belong to the span.

- best % n)
+ best % n - best // n + 1)
  You returned the first position and the length. Return the first and the last position.
""",
)


def _marks_cases() -> list[Case]:
    said = [
        "The new Stadium .",
        "4300 people",
        "Friday evening",
        "Duran (no. 9)",
        "the way of the old town hall",
        "a draw, after an hour",
    ]
    known = [
        ["new stadium"],
        ["people", "some 4300 people there tonight"],
        ["on Friday", "Friday"],
        ["Duran, no 9", "Duran of Ashford"],
        ["the old old way", "town way"],
        ["draw after hour"],
    ]
    return [
        Case("six answers", (said, known)),
        Case("words that come twice", (["one to one to two one"], [["one one six"]])),
        Case("the right words in another order", (["Street Canal"], [["Canal Street"]])),
        Case(
            "empty answers, with an empty reference and with one that has words",
            (["", "", "a minute"], [[""], ["Moreau"], ["The"]]),
        ),
    ]


MARKS = Grader(
    reference=solutions.exact_and_f1,
    cases=_marks_cases,
    shape_hint="two numbers: exact match and F1",
    mistakes="""
# case
- text.lower()
+ text
  Your version distinguishes capitals. Compare in lower case: `.lower()`.

# marks
- if c not in string.punctuation
  Your version counts punctuation. Leave out the characters in `string.punctuation`.

# articles
- if w not in ("a", "an", "the")
  Your version counts articles. Leave out “a”, “an” and “the”.

# common
- sum((Counter(mine) & Counter(right)).values())
+ len(set(mine) & set(right))
  You count each word once. Count a word as often as it occurs in both: use two `Counter`s and
  `&`.

- sum((Counter(mine) & Counter(right)).values())
+ sum(w in right for w in mine)
  You count every repetition of a word that is in the other text. Count a word as often as it
  occurs in **both**: use two `Counter`s and `&`.

# f1
- 2 * common / (len(mine) + len(right))
+ common / max(len(mine), 1)
  You divide by the number of words in the answer: that is precision alone.

- 2 * common / (len(mine) + len(right))
+ common / max(len(right), 1)
  You divide by the number of words in the reference: that is recall alone.

- 2 * common / (len(mine) + len(right))
+ (common / max(len(mine), 1) + common / max(len(right), 1)) / 2
  You took the plain mean of precision and recall. F1 is 2PR / (P + R), which is closer to the
  smaller of the two.

- 2 * common / (len(mine) + len(right))
+ common / len(set(mine) | set(right))
  You divide by the number of different words in both texts. F1 is twice the number of common
  words, divided by the sum of the two lengths.

# empty
- return 1.0
+ return 0.0
  If the answer and the reference are both empty, F1 is 1.

# exact
- mine == right for
+ sorted(mine) == sorted(right) for
  Your exact match ignores the order of the words. Compare the two lists.

- mine == right for
+ " ".join(mine) in " ".join(right) or " ".join(right) in " ".join(mine) for
  Your exact match accepts an answer that is only part of the reference, or the other way round.
  The two must be the same.

# best
- in known]
+ in known[:1]]
  You use the first reference alone. Use the one with the best score.

- exact = overlap
+ mean = lambda scores: sum(scores := [*scores]) / len(scores)
+ exact = overlap
- exact += max
+ exact += mean
- overlap += max
+ overlap += mean
  You took the mean over the references. Take the best score.

# mean
- / len(said)
  You added up the scores of the questions. Return their mean.

- return torch
+ return 100 * torch
  These are per cent. Return numbers between 0 and 1.

# order
- exact, overlap]
+ overlap, exact]
  The two are in the wrong order: exact match comes first.
""",
)
