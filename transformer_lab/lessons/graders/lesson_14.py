"""Checks of lesson 14, Summarization."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.subsequences_14 import ROUGE_L, as_sets, by_position, words
from transformer_lab.lessons.solutions import lesson_14 as solutions


def _weights(seed: int, *shape: int) -> torch.Tensor:
    scores = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return torch.softmax(scores, dim=-1)


def _coverage_cases() -> list[Case]:
    return [
        Case("three summary words and five source words", (_weights(1, 3, 5),)),
        Case("a batch of 2 reports with 2 heads each", (_weights(2, 2, 2, 4, 6),)),
        Case("a single summary word", (_weights(3, 1, 4),)),
    ]


def _total_everywhere(cross):
    return cross.sum(dim=-2, keepdim=True).expand_as(cross).clone()


def _from_the_future(cross):
    return cross.sum(dim=-2, keepdim=True) - cross.cumsum(dim=-2)


def _only_the_last(cross):
    first = torch.zeros_like(cross[..., :1, :])
    return torch.cat((first, cross[..., :-1, :]), dim=-2)


def _wrapped_round(cross):
    return cross.cumsum(dim=-2).roll(1, -2)


def _mean_so_far(cross):
    n = torch.arange(1, cross.shape[-2] + 1)[:, None]
    before = cross.cumsum(dim=-2) - cross
    return before / (n - 1).clamp(min=1)


_COVERAGE = Grader(
    name="14/coverage",
    cases=_coverage_cases,
    reference=solutions.coverage,
    shape_hint="the shape of `cross`: a row for each summary word, a column for each source word",
    suspects=(
        Suspect(
            "this step counted too",
            lambda cross: cross.cumsum(dim=-2),
            "Row t includes the attention of word t itself. Coverage is the attention received "
            "**before** word t, so the first row is all 0.",
        ),
        Suspect(
            "summed along the source",
            lambda cross: cross.cumsum(dim=-1),
            "You added up along the source words. Add up along the summary words, step after step.",
        ),
        Suspect(
            "summed along the source, without itself",
            lambda cross: cross.cumsum(dim=-1) - cross,
            "You added up along the source words. Add up along the summary words, step after step.",
        ),
        Suspect(
            "summed along the first axis",
            lambda cross: cross.cumsum(dim=0) - cross,
            "You added up along the first axis, but in a batch that axis counts the reports. "
            "Count the axes from the end.",
        ),
        Suspect(
            "the total in every row",
            _total_everywhere,
            "Every row holds the sum over all steps. Row t should add up only the steps before t.",
        ),
        Suspect(
            "the later steps",
            _from_the_future,
            "Row t holds the attention received **after** step t. Coverage looks back.",
        ),
        Suspect(
            "one step only",
            _only_the_last,
            "Row t holds the step just before t and no other. Coverage adds up **all** steps before t.",
        ),
        Suspect(
            "wrapped round",
            _wrapped_round,
            "`roll` moves the last row round to the front, so the first row is not 0. "
            "Before the first word, no word has received any attention.",
        ),
        Suspect(
            "mean, not sum",
            _mean_so_far,
            "You took the mean of the earlier steps. Coverage is their sum, so it can pass 1.",
        ),
        Suspect(
            "nothing added",
            lambda cross: cross,
            "You returned the weights unchanged. For each row, add up the rows above it.",
        ),
    ),
)


def _rouge_cases() -> list[Case]:
    return [
        Case("a summary in which three of four words are right", (words(7, 5, 9, 2), words(5, 7, 9, 4, 8, 1))),
        Case("a summary that repeats one word three times", (words(4, 4, 4, 6), words(4, 3, 6, 5, 4, 7))),
        Case("a word that occurs twice in the reference and once in the summary", (words(3, 8, 1), words(8, 8, 3, 2, 5))),
        Case("a summary without a right word", (words(1, 2, 3), words(4, 5))),
        Case("a summary equal to the reference", (words(3, 1, 3), words(3, 1, 3))),
    ]  # fmt: skip


def _overlap(summary, reference):
    n = int(torch.cat((summary, reference)).max()) + 1
    return torch.minimum(
        torch.bincount(summary, minlength=n), torch.bincount(reference, minlength=n)
    ).sum()


def _unclipped(summary, reference):
    hits = torch.isin(summary, reference).sum()
    return 2 * hits / (len(summary) + len(reference))


def _different_words_of_whole_length(summary, reference):
    shared = set(summary.tolist()) & set(reference.tolist())
    return torch.tensor(2 * len(shared) / (len(summary) + len(reference)))


def _arithmetic(summary, reference):
    hits = _overlap(summary, reference)
    return (hits / len(summary) + hits / len(reference)) / 2


_ROUGE = Grader(
    name="14/rouge_1",
    cases=_rouge_cases,
    reference=solutions.rouge_1,
    shape_hint="a tensor with one number and no axis",
    suspects=(
        Suspect(
            "not clipped",
            _unclipped,
            "You count a word as often as it occurs in the summary. Count it at most as often as it "
            "occurs in the reference, or a summary could win by repeating itself.",
        ),
        Suspect(
            "recall only",
            lambda s, r: _overlap(s, r) / len(r),
            "This is recall: the overlap divided by the length of the reference. "
            "A summary that copies everything would score 1. Use the length of the summary too.",
        ),
        Suspect(
            "precision only",
            lambda s, r: _overlap(s, r) / len(s),
            "This is precision: the overlap divided by the length of the summary. "
            "A summary of one right word would score 1. Use the length of the reference too.",
        ),
        Suspect(
            "words as sets",
            as_sets,
            "You compared sets of words. Count each word as often as it occurs.",
        ),
        Suspect(
            "shared words counted once",
            _different_words_of_whole_length,
            "You count each shared word once, however often it occurs. "
            "If it occurs twice in both texts, the overlap is 2.",
        ),
        Suspect(
            "positions compared",
            by_position,
            "You compared the words position by position. ROUGE-1 ignores the order.",
        ),
        Suspect(
            "arithmetic mean",
            _arithmetic,
            "You took the plain mean of precision and recall. F1 is their harmonic mean, "
            "2·P·R / (P + R).",
        ),
        Suspect(
            "the 2 forgotten",
            lambda s, r: _overlap(s, r) / (len(s) + len(r)),
            "Your result is half of what it should be: two equal texts must score 1.",
        ),
        Suspect(
            "the overlap itself",
            lambda s, r: _overlap(s, r).float(),
            "This is the number of shared words. Divide by the lengths, so that the best score is 1.",
        ),
        Suspect(
            "0 divided by 0",
            lambda s, r: _harmonic(s, r),
            "If no word is in common, precision and recall are both 0, and 2·P·R / (P + R) is 0 / 0. "
            "Return 0 in that case.",
        ),
    ),
)


def _harmonic(summary, reference):
    hits = _overlap(summary, reference)
    precision, recall = hits / len(summary), hits / len(reference)
    return 2 * precision * recall / (precision + recall)


GRADERS = (_COVERAGE, _ROUGE, ROUGE_L)
