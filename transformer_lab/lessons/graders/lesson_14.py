"""Checks of lesson 14, Summarization."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, random
from transformer_lab.lessons.solutions import lesson_14 as solutions


def _weights(seed: int, *shape: int) -> torch.Tensor:
    return torch.softmax(2 * random(seed, *shape), dim=-1)


COVERAGE = Grader(
    reference=solutions.coverage,
    cases=lambda: [
        Case("three summary words and five source words", (_weights(1, 3, 5),)),
        Case("a batch of 2 reports with 2 heads each", (_weights(2, 2, 2, 4, 6),)),
        Case("a single summary word", (_weights(3, 1, 4),)),
    ],
    shape_hint="the shape of `cross`: a row for each summary word, a column for each source word",
    mistakes="""
- looked_at - cross
+ looked_at
  Row t includes the attention of word t itself. Coverage is the attention received **before**
  word t, so the first row is all 0.

= cross.cumsum(dim=-1)
  You added up along the source words. Add up along the summary words, step after step.

- dim=-2
+ dim=-1
  You added up along the source words. Add up along the summary words, step after step.

- dim=-2
+ dim=0
  You added up along the first axis, but in a batch that axis counts the reports. Count the axes
  from the end.

= cross.sum(dim=-2, keepdim=True).expand_as(cross)
  Every row holds the sum over all steps. Row t should add up only the steps before t.

= cross.sum(dim=-2, keepdim=True) - cross.cumsum(dim=-2)
  Row t holds the attention received **after** step t. Coverage looks back.

= torch.cat((torch.zeros_like(cross[..., :1, :]), cross[..., :-1, :]), dim=-2)
  Row t holds the step just before t and no other. Coverage adds up **all** steps before t.

= cross.cumsum(dim=-2).roll(1, -2)
  `roll` moves the last row round to the front, so the first row is not 0. Before the first word,
  no word has received any attention.

= right(cross) / torch.arange(cross.shape[-2]).clamp(min=1)[:, None]
  You took the mean of the earlier steps. Coverage is their sum, so it can pass 1.

= cross
  You returned the weights unchanged. For each row, add up the rows above it.
""",
)


def _words(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers)


def _rouge_cases() -> list[Case]:
    return [
        Case(
            "a summary in which three of four words are right",
            (_words(7, 5, 9, 2), _words(5, 7, 9, 4, 8, 1)),
        ),
        Case(
            "a summary that repeats one word three times",
            (_words(4, 4, 4, 6), _words(4, 3, 6, 5, 4, 7)),
        ),
        Case(
            "a word that occurs twice in the reference and once in the summary",
            (_words(3, 8, 1), _words(8, 8, 3, 2, 5)),
        ),
        Case("a summary without a right word", (_words(1, 2, 3), _words(4, 5))),
        Case("a summary equal to the reference", (_words(3, 1, 3), _words(3, 1, 3))),
    ]


ROUGE_1 = Grader(
    reference=solutions.rouge_1,
    cases=_rouge_cases,
    shape_hint="a tensor with one number and no axis",
    mistakes="""
- torch.minimum(ours, wanted).sum()
+ torch.isin(summary, reference).sum()
  You count a word as often as it occurs in the summary. Count it at most as often as it occurs in
  the reference, or a summary could win by repeating itself.

- 2 * overlap / (len(summary) + len(reference))
+ overlap / len(reference)
  This is recall: the overlap divided by the length of the reference. A summary that copies
  everything would score 1. Use the length of the summary too.

- 2 * overlap / (len(summary) + len(reference))
+ overlap / len(summary)
  This is precision: the overlap divided by the length of the summary. A summary of one right word
  would score 1. Use the length of the reference too.

= right(summary.unique(), reference.unique())
  You compared sets of words. Count each word as often as it occurs.

- torch.minimum(ours, wanted)
+ torch.minimum(ours, wanted).clamp(max=1)
  You count each shared word once, however often it occurs. If it occurs twice in both texts, the
  overlap is 2.

= n = min(len(summary), len(reference))
= 2 * (summary[:n] == reference[:n]).sum() / (len(summary) + len(reference))
  You compared the words position by position. ROUGE-1 ignores the order.

- 2 * overlap / (len(summary) + len(reference))
+ (overlap / len(summary) + overlap / len(reference)) / 2
  You took the plain mean of precision and recall. F1 is their harmonic mean, 2·P·R / (P + R).

# score
- 2 * overlap
+ overlap
  Your result is half of what it should be: two equal texts must score 1.

#
- 2 * overlap / (len(summary) + len(reference))
+ overlap.float()
  This is the number of shared words. Divide by the lengths, so that the best score is 1.

- return 2 * overlap / (len(summary) + len(reference))
+ precision, recall = overlap / len(summary), overlap / len(reference)
+ return 2 * precision * recall / (precision + recall)
  If no word is in common, precision and recall are both 0, and 2·P·R / (P + R) is 0 / 0. Return 0
  in that case.
""",
    values=(2, 3, 0.25),
    variant="""
- 2 * overlap / (len(summary) + len(reference))
+ (1 + DRAWN**2) * overlap / (len(summary) + DRAWN**2 * len(reference))
  Weigh recall against precision: instead of F₁, return F_β = (1 + β²) · P · R / (β² · P + R) with
  β = DRAWN. Simplify it, as the text above does for F₁, so that it also works without any overlap.

- (len(summary) + DRAWN**2 * len(reference))
+ (DRAWN**2 * len(summary) + len(reference))
  The weight β² is at the wrong length. Insert P and R into the formula: which length gets β²?

- (1 + DRAWN**2) * overlap / (len(summary) + DRAWN**2 * len(reference))
+ (1 + DRAWN) * overlap / (len(summary) + DRAWN * len(reference))
  You used β where the formula has β².

- (1 + DRAWN**2)
+ 2
  Your result for two equal texts is not 1: the factor 2 of F₁ is 1 + β² here.

- return (1 + DRAWN**2) * overlap / (len(summary) + DRAWN**2 * len(reference))
+ precision, recall = overlap / len(summary), overlap / len(reference)
+ return (1 + DRAWN**2) * precision * recall / (DRAWN**2 * precision + recall)
  If no word is in common, precision and recall are both 0, and the formula is 0 / 0. Return 0 in
  that case.
""",
)


def _rouge_l_cases() -> list[Case]:
    return [
        Case(
            "a summary of 11 words and a reference of 20",
            (
                _words(6, 9, 8, 7, 4, 7, 4, 2, 2, 1, 6),
                _words(9, 5, 6, 1, 8, 3, 2, 4, 7, 3, 9, 7, 1, 8, 6, 4, 3, 2, 1, 4),
            ),
        ),
        Case(
            "a summary that begins with two wrong words",
            (_words(2, 2, 5, 4, 1), _words(3, 5, 4, 1, 3)),
        ),
        Case(
            "a summary with three right words in order and others between them",
            (_words(5, 1, 2, 9, 3), _words(1, 2, 7, 4, 3, 8, 6)),
        ),
        Case(
            "a summary whose first word comes last in the reference",
            (_words(4, 1, 2, 3), _words(1, 2, 3, 4)),
        ),
        Case("the right words in another order", (_words(3, 2, 1, 5, 4), _words(1, 2, 3, 4, 5, 6))),
        Case(
            "a summary that repeats one word three times",
            (_words(4, 4, 4, 6, 1), _words(4, 3, 6, 4, 1, 5, 7)),
        ),
        Case(
            "a summary that is longer than its reference",
            (_words(8, 6, 1, 7, 2, 9, 3, 3), _words(6, 7, 9, 3)),
        ),
        Case("a single right word, at the end", (_words(1, 2, 9), _words(5, 4, 8, 9))),
        Case("a summary without a right word", (_words(1, 2, 3), _words(4, 5))),
        Case("a summary equal to the reference", (_words(3, 1, 3), _words(3, 1, 3))),
    ]


ROUGE_L = Grader(
    reference=solutions.rouge_l,
    cases=_rouge_l_cases,
    shape_hint="a tensor with one number and no axis",
    mistakes="""
= rouge_1(summary, reference)
  That is ROUGE-1, which counts shared words in any order. Here they must come in the same order
  in both texts.

= n = min(len(summary), len(reference))
= 2 * (summary[:n] == reference[:n]).sum() / (len(summary) + len(reference))
  You compared the words position by position. One extra word at the beginning would make all
  others wrong; a subsequence may leave words out.

= left, hits = reference.tolist(), 0
= for word in summary.tolist():
=     if word in left:
=         left = left[left.index(word) + 1 :]
=         hits += 1
= torch.tensor(2 * hits / (len(summary) + len(reference)))
  For each word you took the next position at which it occurs, and never went back. A word that
  comes late in the reference then costs you all the words before it. Keep a table: the longest
  subsequence of the first i and the first j words, for all i and j.

- return 2 * longest[n, m] / (n + m)
+ precision, recall = longest[n, m] / n, longest[n, m] / m
+ return 2 * precision * recall / (precision + recall)
  If no word is in common, precision and recall are both 0, and 2·P·R / (P + R) is 0 / 0. Return 0
  in that case.

= rouge_1(summary.unique(), reference.unique())
  You compared sets of words, which ignore the order and how often a word occurs. Here the words
  must come in the same order in both texts.

- n + 1, m + 1)
+ n, m)
- longest[i + 1, j + 1] = longest[i, j] + 1
+ longest[i, j] = longest[i - 1, j - 1] + 1
- longest[i, j + 1], longest[i + 1, j])
+ longest[i - 1, j], longest[i, j - 1])
- longest[i + 1, j + 1] = without_one
+ longest[i, j] = without_one
- longest[n, m]
+ longest[n - 1, m - 1]
  Your table has no row and no column for “no words yet”, so at the first word `i - 1` is −1,
  which is the other end of the table. Give it n + 1 rows and m + 1 columns.

# table
- longest[i, j] + 1
+ 1 + max(longest[i, j], longest[i, j + 1], longest[i + 1, j])
  If two words are equal, you add 1 to the best neighbour, so one word can be counted again and
  again. A match adds 1 to the length **without both** words, which is the cell above to the left.

- = without_one
+ = 0
- longest[n, m]
+ longest.max()
  You searched for the longest unbroken run. A subsequence may have other words in between: if two
  words differ, keep the length so far.

- torch.maximum(longest[i, j + 1], longest[i + 1, j])
+ longest[i, j + 1]
  If two words differ, you leave out a word of the summary and never one of the reference. Try
  both, and keep the larger length.

- torch.maximum(longest[i, j + 1], longest[i + 1, j])
+ longest[i + 1, j]
  If two words differ, you leave out a word of the reference and never one of the summary. Try
  both, and keep the larger length.

- torch.maximum(longest[i, j + 1], longest[i + 1, j])
+ longest[i, j]
  If two words differ, you leave out both. One of them may still match something: leave out one at
  a time, and keep the larger length.

- range(n)
+ range(1, n)
- range(m)
+ range(1, m)
  The first words of both texts are never compared. Word i belongs to row i + 1 of the table,
  because row 0 means no words yet.

- longest[n, m]
+ longest[n - 1, m - 1]
  The last words of both texts do not count. The length for all words is in the last row and the
  last column of a table with n + 1 rows and m + 1 columns.

# score
- return 2 *
+ return
- / (n + m)
+ / m
  This is recall: the length of the subsequence divided by that of the reference. Use the length
  of the summary too.

- return 2 *
+ return
- / (n + m)
+ / n
  This is precision: the length of the subsequence divided by that of the summary. Use the length
  of the reference too.

- return 2 *
+ return
  Your result is half of what it should be: two equal texts must score 1.

- return 2 *
+ return
- / (n + m)
  This is the length of the subsequence. Divide by the lengths of the texts, so that the best
  score is 1.

- return 2 *
+ return 0.5 *
- / (n + m)
+ * (1 / n + 1 / m)
  You took the plain mean of precision and recall. F1 is their harmonic mean, 2·P·R / (P + R).
""",
)
