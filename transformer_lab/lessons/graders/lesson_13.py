"""Checks of lesson 13, Two facts, and a pointer: spans."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_13 as solutions

HIDDEN = float("-inf")  # the score of padding


def _scores(seed: int, texts: int, positions: int, padding: int = 0) -> torch.Tensor:
    scores = 2 * torch.randn(texts, 2, positions, generator=torch.Generator().manual_seed(seed))
    if padding:
        scores[0, :, -padding:] = HIDDEN
    return scores


def _spans(*pairs: tuple[int, int]) -> torch.Tensor:
    return torch.tensor(pairs)


def _loss_cases() -> list[Case]:
    return [
        Case("three texts at once", (_scores(1, 3, 6), _spans((2, 4), (0, 3), (5, 5)))),
        Case("two texts, one with padding", (_scores(3, 2, 7, padding=2), _spans((1, 2), (0, 5)))),
        Case("a single text", (_scores(2, 1, 5), _spans((0, 3)))),
    ]


def _parts(logits, spans):
    """The two losses of each text: [text, first or last]."""
    return F.cross_entropy(logits.transpose(1, 2), spans, reduction="none")


def _swapped(logits, spans):
    return _parts(logits, spans.flip(-1)).mean()


def _one_after(logits, spans):
    """Takes the last word to be the one after the answer."""
    ends = (spans + torch.tensor([0, 1])).clamp(max=logits.shape[-1] - 1)
    return _parts(logits, ends).mean()


def _raw_scores(logits, spans):
    return -logits.gather(-1, spans[..., None]).mean()


def _probabilities(logits, spans):
    return -logits.softmax(-1).gather(-1, spans[..., None]).mean()


def _without_sign(logits, spans):
    return -_parts(logits, spans).mean()


def _across_first_and_last(logits, spans):
    return -logits.log_softmax(1).gather(-1, spans[..., None]).mean()


_LOSS = Grader(
    name="13/span_loss",
    cases=_loss_cases,
    reference=solutions.span_loss,
    shape_hint="a tensor with one number and no axis",
    suspects=(
        Suspect(
            "the first word only",
            lambda logits, spans: _parts(logits, spans)[:, 0].mean(),
            "You count only the first word of the answer. Add the loss of its last word.",
        ),
        Suspect(
            "the last word only",
            lambda logits, spans: _parts(logits, spans)[:, 1].mean(),
            "You count only the last word of the answer. Add the loss of its first word.",
        ),
        Suspect(
            "sum of the two",
            lambda logits, spans: _parts(logits, spans).sum(-1).mean(),
            "You added the losses of the first and the last word. Take the mean of the two, which is "
            "half of that.",
        ),
        Suspect(
            "sum over the texts",
            lambda logits, spans: _parts(logits, spans).mean(-1).sum(),
            "You added up the texts. Take their mean, so that the loss does not grow with the batch.",
        ),
        Suspect(
            "sum of everything",
            lambda logits, spans: _parts(logits, spans).sum(),
            "You added up all losses. Take the mean over the texts and over the two ends.",
        ),
        Suspect(
            "first and last swapped",
            _swapped,
            "First and last are swapped: row 0 of the scores is for the first word, `spans[:, 0]`.",
        ),
        Suspect(
            "one word too far",
            _one_after,
            "You took the last position to be the one *after* the answer. Both ends belong to the "
            "span.",
        ),
        Suspect(
            "scores, not probabilities",
            _raw_scores,
            "These are scores with a minus sign. First turn them into log-probabilities over the "
            "positions (`log_softmax`), or use `F.cross_entropy`, which does both.",
        ),
        Suspect(
            "no logarithm",
            _probabilities,
            "You took the probabilities themselves. The loss is their negative **logarithm**.",
        ),
        Suspect(
            "no minus sign",
            _without_sign,
            "The sign is wrong: the loss should grow when the right positions become less likely.",
        ),
        Suspect(
            "softmax between first and last",
            _across_first_and_last,
            "Your softmax goes over the two rows, first and last. The positions of the text should "
            "compete with each other, so use the last axis.",
        ),
    ),
)  # fmt: skip


def _span_cases() -> list[Case]:
    return [
        Case("four texts, each with a trap", (_traps(), 3)),
        Case("three texts, one with padding", (_scores(4, 3, 8, padding=3), 4)),
        Case("a single text", (_scores(5, 1, 6), 2)),
    ]


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


def _apart(logits, longest):
    return logits.argmax(-1)


def _sorted(logits, longest):
    return logits.argmax(-1).sort(-1).values


def _chosen(logits, fits):
    """The best pair among those that fit, a bool [position, position]."""
    first, last = logits.unbind(1)
    score = (first[:, :, None] + last[:, None, :]).masked_fill(~fits, HIDDEN)
    n = score.shape[-1]
    best = score.flatten(1).argmax(-1)
    return torch.stack((best // n, best % n), -1)


def _square(logits):
    return torch.ones(logits.shape[-1], logits.shape[-1], dtype=torch.bool)


def _first_then_last(logits, longest):
    n = logits.shape[-1]
    first = logits[:, 0].argmax(-1)
    position = torch.arange(n)
    fits = (position >= first[:, None]) & (position < first[:, None] + longest)
    return torch.stack((first, logits[:, 1].masked_fill(~fits, HIDDEN).argmax(-1)), -1)


def _last_then_first(logits, longest):
    n = logits.shape[-1]
    last = logits[:, 1].argmax(-1)
    position = torch.arange(n)
    fits = (position <= last[:, None]) & (position > last[:, None] - longest)
    return torch.stack((logits[:, 0].masked_fill(~fits, HIDDEN).argmax(-1), last), -1)


def _after_the_end(logits, longest):
    return solutions.best_span(logits, longest) + torch.tensor([0, 1])


def _length(logits, longest):
    first, last = solutions.best_span(logits, longest).unbind(-1)
    return torch.stack((first, last - first + 1), -1)


_SPAN = Grader(
    name="13/best_span",
    cases=_span_cases,
    reference=solutions.best_span,
    shape_hint="[text, 2]: the first and the last position of each text's answer",
    suspects=(
        Suspect(
            "each end by itself",
            _apart,
            "You chose each end by itself, so the last word may come before the first, or too far "
            "after it. Choose the pair: among the allowed spans, the one with the largest sum of its "
            "two scores.",
        ),
        Suspect(
            "ends put in order",
            _sorted,
            "You chose each end by itself and then sorted them, but the model gave no high score to "
            "that span. Choose among the pairs whose last position is not before the first.",
        ),
        Suspect(
            "no limit of length",
            lambda logits, longest: _chosen(logits, _square(logits).triu()),
            "The order is right, but the length is not: a span may have at most `longest` words.",
        ),
        Suspect(
            "one word too long",
            lambda logits, longest: _chosen(logits, _square(logits).triu().tril(longest)),
            "Your spans may have `longest` + 1 words. A span that starts at position i may end at "
            "i + `longest` − 1 at the latest.",
        ),
        Suspect(
            "at least two words",
            lambda logits, longest: _chosen(logits, _square(logits).triu(1).tril(longest - 1)),
            "Your spans have at least two words. First and last may be the same position.",
        ),
        Suspect(
            "the first word first",
            _first_then_last,
            "You took the best first word and then the best last word for it. A slightly worse first "
            "word can have a much better last word: compare the pairs.",
        ),
        Suspect(
            "the last word first",
            _last_then_first,
            "You took the best last word and then the best first word for it. Compare the pairs.",
        ),
        Suspect(
            "turned round",
            lambda logits, longest: _chosen(logits, _square(logits).tril().triu(1 - longest)),
            "Your spans run backwards: the last position is never after the first one. The table of "
            "pairs is [first, last], so keep what is on or *above* its diagonal.",
        ),
        Suspect(
            "first and last swapped",
            lambda logits, longest: solutions.best_span(logits, longest).flip(-1),
            "The positions are right, but in the wrong order: the first word comes first.",
        ),
        Suspect(
            "the position after the end",
            _after_the_end,
            "Your last position is the one *after* the answer. Both ends belong to the span.",
        ),
        Suspect(
            "first and length",
            _length,
            "You returned the first position and the length. Return the first and the last position.",
        ),
    ),
)

GRADERS = (_LOSS, _SPAN)
