"""Checks of lesson 16, Translating sentences."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.solutions import lesson_16 as solutions


def _texts(*lines: str) -> list[list[str]]:
    return [line.split() for line in lines]


def _bleu_cases() -> list[Case]:
    dogs = "zwei Hunde laufen durch den tiefen Schnee"
    return [
        Case(
            "three translations: one repeats a word, one has a wrong word, one is too short",
            (
                _texts(
                    "der der Hund bellt heute den den Mond an",
                    "ein Mann spielt draußen laut Gitarre",
                    "zwei Kinder lachen im Garten",
                ),
                _texts(
                    "der große Hund bellt heute den vollen Mond an",
                    "ein Mann spielt draußen gern Gitarre",
                    "zwei kleine Kinder lachen im Garten und winken den Nachbarn zu",
                ),
            ),
        ),
        Case(
            "two translations, each with one wrong word",
            (
                _texts("ein Mann spielt draußen laut Gitarre", dogs),
                _texts("ein Mann spielt draußen gern Gitarre", dogs.replace("tiefen", "hohen")),
            ),
        ),
        Case(
            "a translation that repeats one word four times",
            (_texts("der der der der Hund", dogs), _texts("der Hund bellt den Mond an", dogs)),
        ),
        Case(
            "translations that are too short",
            (
                _texts("ein Kind lacht im Garten", "zwei Hunde laufen durch den Schnee"),
                _texts("ein kleines Kind lacht im Garten und winkt", dogs),
            ),
        ),
        Case(
            "translations that are too long",
            (
                _texts("ein kleines Kind lacht im Garten und winkt", dogs),
                _texts("ein Kind lacht im Garten", "zwei Hunde laufen durch den Schnee"),
            ),
        ),
        Case(
            "a text of two words beside a longer one",
            (
                _texts("guten Morgen", "die Frau liest am Abend ein Buch"),
                _texts("guten Morgen", "die Frau liest heute am Abend ein Buch"),
            ),
        ),
        Case(
            "the words of one translation in the reference of another",
            (
                _texts("ein Mann fährt mit dem Rad", "eine Frau liest am Abend ein Buch"),
                _texts("eine Frau liest am Abend", "ein Mann fährt mit dem Rad ein Buch holen"),
            ),
        ),
        Case(
            "no run of four words matches",
            (_texts("ein Hund rennt schnell weg"), _texts("ein Hund rennt nun schnell weg")),
        ),
        Case("a translation equal to its reference", (_texts(dogs), _texts(dogs))),
    ]


BLEU = Grader(
    reference=solutions.bleu,
    cases=_bleu_cases,
    shape_hint="one number, a tensor without axes",
    mistakes="""
- sum((found & runs(wanted, n)).values())
+ sum(k for run, k in found.items() if run in runs(wanted, n))
  You count a run as often as the translation has it, even if the reference has it less often:
  “der der der der” would be wholly right. Count it at most as often as the reference has it.

- sum((found & runs(wanted, n)).values())
+ len(found & runs(wanted, n))
- sum(found.values())
+ len(found)
  You counted each different run once. A run that occurs twice in the translation and twice in the
  reference counts twice.

- sum(found.values())
+ sum(runs(wanted, n).values())
  You divided by the number of runs in the references. Precision asks which fraction of the runs
  in the *translations* is right.

- 100 * brevity
+ 100
  You do not penalise translations that are too short. Multiply by the brevity penalty.

- min(1.0, math.exp(1 - wanted / written))
+ math.exp(1 - wanted / written)
  Your penalty rewards translations that are too long. The brevity penalty is never above 1.

- math.exp(1 - wanted / written)
+ written / wanted
  You multiplied by the ratio of the lengths. The penalty is $e^{1 - r/c}$, or 1 if the
  translations are not shorter.

= torch.stack([right([t], [r]) for t, r in zip(texts, references, strict=True)]).mean()
  You took the mean of the BLEU of each sentence. First add up the hits and the runs of **all**
  sentences, then divide: most single sentences have no right run of four words.

- zip(texts, references, strict=True)
+ [(texts, references)]
- found = runs(words, n)
+ found = sum((runs(text, n) for text in words), Counter())
- runs(wanted, n)
+ sum((runs(text, n) for text in wanted), Counter())
  You accept a run from the reference of *another* sentence. Compare each translation with its own
  reference, and add up the hits.

- hits == 0
+ False
- math.log(hits / total)
+ hits / max(total, 1)
- math.exp(mean_log)
+ mean_log
  You took the average of the four precisions. BLEU takes their geometric mean, which is 0 as soon
  as one of them is.

- math.log(hits / total) / 4
+ math.log(hits / total)
  You multiplied the four precisions. Their geometric mean is the fourth root of that product:
  divide the sum of the logarithms by 4.

- range(1, 5)
+ range(1, 2)
- / 4
+ / 1
  You compare only single words, so their order does not matter. Use runs of one, two, three and
  four words.

- range(1, 5)
+ range(4, 5)
- / 4
+ / 1
  You compare only runs of four words. Use runs of one, two and three words as well.

- range(1, 5)
+ range(1, 4)
- / 4
+ / 3
  You stopped at runs of three words. `range(1, 4)` ends before 4.

- range(1, 5)
+ range(1, 6)
- / 4
+ / 5
  You went on to runs of five words. BLEU stops at four.

- 100 * brevity
+ brevity
  This is a fraction between 0 and 1. BLEU goes from 0 to 100.

- sum((found & runs(wanted, n)).values())
+ sum(k for run, k in found.items() if run in runs(wanted, n))
- 100 * brevity
+ brevity
  This is a fraction between 0 and 1. BLEU goes from 0 to 100. You count a run as often as the
  translation has it, even if the reference has it less often: “der der der der” would be wholly
  right. Count it at most as often as the reference has it.

- 100 * brevity
+ 1
  This is a fraction between 0 and 1. BLEU goes from 0 to 100. You do not penalise translations
  that are too short. Multiply by the brevity penalty.

- sum((found & runs(wanted, n)).values())
+ sum(k for run, k in found.items() if run in runs(wanted, n))
- 100 * brevity
+ 100
  You count a run as often as the translation has it, even if the reference has it less often:
  “der der der der” would be wholly right. Count it at most as often as the reference has it. And:
  You do not penalise translations that are too short. Multiply by the brevity penalty.

- hits == 0
+ False
- math.log(hits / total)
+ hits / max(total, 1)
- math.exp(mean_log)
+ mean_log
- 100 * brevity
+ 100
  You took the average of the four precisions; BLEU takes their geometric mean. And: You do not
  penalise translations that are too short. Multiply by the brevity penalty.
""",
    values=(0.5, 1, 2),
    variant="""
- if hits == 0:
+ if n > 1:
+     hits, total = hits + DRAWN, total + DRAWN
+ if hits == 0:
  Smooth the counts, as is done for short texts: for n = 2, 3 and 4, add DRAWN to the hits and DRAWN to the
  runs of all sentences together before you divide. Leave single words as they are. So BLEU is 0
  only if no word is right.

- if n > 1:
+ if n > 0:
  You smoothed single words too. Leave n = 1 as it is.

- hits + DRAWN, total + DRAWN
+ hits + DRAWN, total
  You added DRAWN to the hits only, so that a right translation is above 100. Add it to the runs as well.

- hits += sum((found & runs(wanted, n)).values())
- total += sum(found.values())
+ hits += sum((found & runs(wanted, n)).values()) + DRAWN * (n > 1)
+ total += sum(found.values()) + DRAWN * (n > 1)
- hits, total = hits + DRAWN, total + DRAWN
+ pass
  You added DRAWN for each sentence. Add it once, after the sentences are counted.
""",
)


_BOS, _EOS = 1, 2


def _random_model(seed: int, ends: float = 0.0) -> Callable:
    """A model of 9 words with random scores that depend on the whole text so far. `ends` is added
    to the score of the end token."""

    def next_log_p(ids):
        read = torch.as_tensor(ids).tolist()
        text = sum((token + 1) * 11**i for i, token in enumerate(read)) % 2**31
        scores = torch.randn(9, generator=torch.Generator().manual_seed(1000 * text + seed))
        scores[_BOS] = -9.0
        scores[_EOS] += ends
        return torch.log_softmax(scores, 0)

    return next_log_p


def _log_p(*probabilities: float) -> Tensor:
    """Log-probabilities of words 2 (the end), 3, 4 and 5; all others are very unlikely."""
    p = torch.tensor([1e-6, 1e-6, *probabilities, 1e-6])
    return (p / p.sum()).log()


def _garden_path(ids):
    """A model whose likeliest first word, 3, leads nowhere; word 4 leads to a text that is nearly
    certain."""
    read = torch.as_tensor(ids).tolist()[1:]
    if not read:
        return _log_p(0.01, 0.55, 0.43, 0.01)
    if read[0] == 4:
        return _log_p(0.01, 0.01, 0.01, 0.97) if len(read) == 1 else _log_p(0.97, 0.01, 0.01, 0.01)
    return _log_p(0.28, 0.22, 0.25, 0.25)


def _short_or_long(ids):
    """A model for which word 3 alone is slightly likelier than a longer text."""
    read = torch.as_tensor(ids).tolist()[1:]
    if not read:
        return _log_p(0.01, 0.97, 0.01, 0.01)
    if read == [3]:
        return _log_p(0.52, 0.01, 0.46, 0.01)
    return _log_p(0.01, 0.01, 0.97, 0.01) if len(read) < 5 else _log_p(0.97, 0.01, 0.01, 0.01)


def _never_ends(ids):
    return _random_model(5, ends=-60.0)(ids)


def _beam_cases() -> list[Case]:
    def case(name, model, longest, beams, alpha):
        return Case(name, (model, _BOS, _EOS, longest, beams, alpha))

    return [
        *(
            case(f"a random model, {beams} beams, α = {alpha}", model, 7, beams, alpha)
            for seed, beams, alpha, ends in _RANDOM
            for model in (_random_model(seed, ends),)
        ),
        case("a word that is likeliest and leads nowhere, with 2 beams", _garden_path, 6, 2, 0.6),
        case("the same with 1 beam", _garden_path, 6, 1, 0.6),
        case("a short text that is likelier, with α = 0", _short_or_long, 8, 3, 0.0),
        case("the same with α = 1, which lets the longer one win", _short_or_long, 8, 3, 1.0),
        case("a model that never ends, at most 4 words", _never_ends, 4, 2, 0.6),
    ]


# Seed, beams, α and the number added to the score of the end token. They are chosen so that every
# mistake below differs from the right text, and from the other mistakes, in the first case that
# reveals it.
_RANDOM = ((179, 2, 1.0, 0.8), (166, 3, 0.6, 0.0), (157, 3, 1.0, -1.0), (243, 3, 0.6, 0.0))


BEAM = Grader(
    reference=solutions.beam_search,
    cases=_beam_cases,
    shape_hint="the words of the best text, one axis, without `bos` and `eos`",
    mistakes=r"""
- max(finished, key=lambda one: one[0])[1]
+ [bos, *max(finished, key=lambda one: one[0])[1]]
  Your result begins with `bos`. The decoder starts from it, but it is not part of the text: leave
  it out.

- ids[:-1])
+ ids)
  Your result ends with `eos`, which marks the end of the text and is not part of it.

- ids[:-1])
+ ids)
- max(finished, key=lambda one: one[0])[1]
+ [bos, *max(finished, key=lambda one: one[0])[1]]
  Your result still has `bos` in front and `eos` at its end. Neither is part of the text.

- / ((5 + length) / 6) ** alpha
  You compare finished texts by Σ log p alone, so that short ones win. Divide by $((5 +
  \text{length}) / 6)^α$ before you compare them.

= ids = []
= while len(ids) < longest and eos not in ids:
=     ids.append(int(next_log_p(torch.tensor([bos, *ids])).argmax()))
= torch.tensor([i for i in ids if i != eos], dtype=torch.long)
  This is greedy decoding, one text at a time. Keep the `beams` best texts that have not ended,
  and extend **each** of them.

= right(next_log_p, bos, eos, longest, 1, alpha)
  This is what a beam of one finds. Keep the `beams` best texts that have not ended, and extend
  **each** of them.

- total /
+ total *
  Your length penalty makes long texts worse. Σ log p is negative: *divide* by the penalty, and a
  long text gets closer to 0.

- ((5 + length) / 6) ** alpha
+ length**alpha
  You divided by length^α. Here the penalty is ((5 + length) / 6)^α, which differs less between
  short texts.

= right(next_log_p, bos, -1, longest, beams, alpha)
  Your texts go on after `eos`. Take a text that ends in `eos` out of the beam, and keep it with
  its score.

= ids = right(next_log_p, bos, -1, longest, beams, alpha).tolist()
= torch.tensor(ids[: ids.index(eos)] if eos in ids else ids, dtype=torch.long)
  Your texts went on after `eos` and were cut there later, so their score includes words that are
  not in the text. Take a text out of the beam when it ends.

- longer = []
+ if finished:
+     break
+ longer = []
- finished += [(score(total, longest)
+ if not finished:
+     finished = [(score(total, longest)
  You returned as soon as a text had ended. A longer one may have a better score: go on, and
  compare all of them at the end.

- finished += [(score(total, length)
+ _ = [(score(total, length)
  You returned the best text that had *not* ended. Keep the texts that ended in a second list.

- finished += [(score(total, longest), ids) for total, ids in live]
- return
+ return
- max(finished,
+ max(finished or [(0.0, [])],
  After `longest` words some texts have not ended. They count too, with their score: a model that
  never ends still writes something.

- topk(min(
+ topk(1 if ids else min(
  You continued each text by its own best word. Put the continuations of **all** of them into one
  list, and keep the best of that list: a good text may keep several continuations, a bad one
  none.

- total + more
+ total + math.exp(more)
  You added up probabilities. The probabilities of a text's words are multiplied, so add their
  *logarithms*.

- total + more
+ more
  You rank texts by their last word alone. Add its log p to that of the words before.

- [bos, *ids]
+ [bos, *ids][-1:]
  You passed `next_log_p` the last word alone. The decoder reads the whole text so far, `bos`
  included.

- [: 2 * beams]
+ [:beams]
  Each text that ends makes your beam one smaller. Take the 2 · `beams` best continuations: those
  that ended go into one list, and the `beams` best others go on.

- topk(min(2 * beams, len(log_p)))
+ topk(min(2 * beams, len(log_p)), largest=False)
- -one[0]
+ one[0]
  You kept the texts with the *lowest* score. Sort so that the highest come first.

= right(next_log_p, bos, eos, longest + 1, beams, alpha)
  Your texts can be one word longer than `longest`.

= ids = []
= while len(ids) < longest and eos not in ids:
=     ids.append(int(next_log_p(torch.tensor([bos, *ids])).argmax()))
= torch.tensor(ids, dtype=torch.long)
  This is greedy decoding: keep the `beams` best texts, and extend each. And: Your result ends
  with `eos`, which marks the end of the text and is not part of it.
""",
)
