"""The check of `beam_search`, lesson 16."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_16 as solutions

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


def _log_p(*probabilities: float) -> torch.Tensor:
    """Log-probabilities of words 2 (the end), 3, 4 and 5; the others are hardly possible."""
    p = torch.tensor([1e-6, 1e-6, *probabilities, 1e-6])
    return (p / p.sum()).log()


def _garden_path(ids):
    """Word 3 is likeliest and leads nowhere; word 4 leads to a text that is nearly certain."""
    read = torch.as_tensor(ids).tolist()[1:]
    if not read:
        return _log_p(0.01, 0.55, 0.43, 0.01)
    if read[0] == 4:
        return _log_p(0.01, 0.01, 0.01, 0.97) if len(read) == 1 else _log_p(0.97, 0.01, 0.01, 0.01)
    return _log_p(0.28, 0.22, 0.25, 0.25)


def _short_or_long(ids):
    """To end at once is nearly as likely as a longer text."""
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
# mistake below differs from the right text, and from the other mistakes, in the first case where it
# shows.
_RANDOM = ((179, 2, 1.0, 0.8), (166, 3, 0.6, 0.0), (157, 3, 1.0, -1.0), (243, 3, 0.6, 0.0))


def _penalty(total: float, length: int, alpha: float) -> float:
    return total / ((5 + length) / 6) ** alpha


def _search(
    *,
    score: Callable = _penalty,
    step: Callable = lambda total, log_p: total + log_p,
    reads: Callable = lambda bos, ids: [bos, *ids],
    width: Callable = lambda beams: 2 * beams,
    shown: Callable = lambda bos, ids, ended, eos: ids,
    alone: bool = False,
    first: bool = False,
    live_last: bool = True,
    ended_too: bool = True,
    lowest: bool = False,
) -> Callable[..., torch.Tensor]:
    """Beam search with one or more of its parts replaced."""

    def wrong(next_log_p, bos, eos, longest, beams, alpha):
        live, finished, sign = [(0.0, [])], [], -1 if not lowest else 1
        for length in range(1, longest + 1):
            longer = []
            for total, ids in live:
                log_p = next_log_p(torch.tensor(reads(bos, ids)))
                every = [(step(total, p), [*ids, i]) for i, p in enumerate(log_p.tolist())]
                every.sort(key=lambda one: sign * one[0])
                longer += every[:1] if alone and length > 1 else every
            longer.sort(key=lambda one: sign * one[0])
            longer = longer[: width(beams)]
            ended = [(score(t, length, alpha), i[:-1], True) for t, i in longer if i[-1] == eos]
            finished += ended
            live = [(total, ids) for total, ids in longer if ids[-1] != eos][:beams]
            if (first and ended) or not live:
                break
        if not ended_too:
            finished = []
        if live_last or (first and not finished):
            finished += [(score(t, longest, alpha), ids, False) for t, ids in live]
        if not finished:
            return torch.tensor([], dtype=torch.long)
        _, ids, ended = max(finished, key=lambda one: one[0])
        return torch.tensor(shown(bos, ids, ended, eos), dtype=torch.long)

    return wrong


def _goes_on(next_log_p, bos, eos, longest, beams, alpha):
    return _search()(next_log_p, bos, -1, longest, beams, alpha)


def _cut_after_going_on(next_log_p, bos, eos, longest, beams, alpha):
    ids = _goes_on(next_log_p, bos, eos, longest, beams, alpha).tolist()
    return torch.tensor(ids[: ids.index(eos)] if eos in ids else ids, dtype=torch.long)


def _one_beam(next_log_p, bos, eos, longest, beams, alpha):
    return solutions.beam_search(next_log_p, bos, eos, longest, 1, alpha)


def _greedy(next_log_p, bos, eos, longest, beams, alpha, end=False):
    ids: list[int] = []
    while len(ids) < longest and eos not in ids:
        ids.append(int(next_log_p(torch.tensor([bos, *ids])).argmax()))
    return torch.tensor([i for i in ids if end or i != eos], dtype=torch.long)


def _one_more(next_log_p, bos, eos, longest, beams, alpha):
    return solutions.beam_search(next_log_p, bos, eos, longest + 1, beams, alpha)


def _with_end(bos, ids, ended, eos):
    return [*ids, eos] if ended else ids


_KEPT = "The decoder starts from it, but it is not part of the text"
_END = "Your result ends with `eos`, which marks the end of the text and is not part of it."

BEAM = Grader(
    name="16/beam_search",
    cases=_beam_cases,
    reference=solutions.beam_search,
    shape_hint="the words of the best text, one axis, without `bos` and `eos`",
    suspects=(
        Suspect(
            "start kept",
            _search(shown=lambda bos, ids, ended, eos: [bos, *ids]),
            f"Your result begins with `bos`. {_KEPT}: leave it out.",
        ),
        Suspect("end kept", _search(shown=_with_end), _END),
        Suspect(
            "start and end kept",
            _search(shown=lambda bos, ids, ended, eos: [bos, *_with_end(bos, ids, ended, eos)]),
            "Your result still has `bos` in front and `eos` at its end. Neither is part of the text.",
        ),
        Suspect(
            "no length penalty",
            _search(score=lambda total, length, alpha: total),
            "You compare finished texts by Σ log p alone, so that short ones win. Divide by "
            "$((5 + \\text{length}) / 6)^α$ before you compare them.",
        ),
        Suspect(
            "greedy",
            _greedy,
            "This is greedy decoding, one text at a time. Keep the `beams` best texts that have not "
            "ended, and extend **each** of them.",
        ),
        Suspect(
            "one beam",
            _one_beam,
            "This is what a beam of one finds. Keep the `beams` best texts that have not ended, "
            "and extend **each** of them.",
        ),
        Suspect(
            "the penalty multiplied",
            _search(score=lambda total, length, alpha: total * ((5 + length) / 6) ** alpha),
            "Your length penalty makes long texts worse. Σ log p is negative: *divide* by the penalty, "
            "and a long text gets closer to 0.",
        ),
        Suspect(
            "the plain length",
            _search(score=lambda total, length, alpha: total / length**alpha),
            "You divided by length^α. Here the penalty is ((5 + length) / 6)^α, which differs less "
            "between short texts.",
        ),
        Suspect(
            "does not end",
            _goes_on,
            "Your texts go on after `eos`. Take a text that ends in `eos` out of the beam, and keep it "
            "with its score.",
        ),
        Suspect(
            "ends at the end only",
            _cut_after_going_on,
            "Your texts went on after `eos` and were cut there later, so their score includes words "
            "that are not in the text. Take a text out of the beam when it ends.",
        ),
        Suspect(
            "the first that ends",
            _search(first=True, live_last=False),
            "You returned as soon as a text had ended. A longer one may have a better score: go on, "
            "and compare all of them at the end.",
        ),
        Suspect(
            "finished texts lost",
            _search(ended_too=False),
            "You returned the best text that had *not* ended. Keep the texts that ended in a second "
            "list.",
        ),
        Suspect(
            "unfinished texts lost",
            _search(live_last=False),
            "After `longest` words some texts have not ended. They count too, with their score: a "
            "model that never ends still writes something.",
        ),
        Suspect(
            "each beam by itself",
            _search(alone=True),
            "You continued each text by its own best word. Put the continuations of **all** of them "
            "into one list, and keep the best of that list: a good text may keep several "
            "continuations, a bad one none.",
        ),
        Suspect(
            "probabilities added",
            _search(step=lambda total, log_p: total + math.exp(log_p)),
            "You added up probabilities. The probabilities of a text's words are multiplied, so add "
            "their *logarithms*.",
        ),
        Suspect(
            "the last score only",
            _search(step=lambda total, log_p: log_p),
            "You rank texts by their last word alone. Add its log p to that of the words before.",
        ),
        Suspect(
            "only the last word read",
            _search(reads=lambda bos, ids: [bos, *ids][-1:]),
            "You passed `next_log_p` the last word alone. The decoder reads the whole text so far, "
            "`bos` included.",
        ),
        Suspect(
            "the beam shrinks",
            _search(width=lambda beams: beams),
            "Each text that ends makes your beam one smaller. Take the 2 · `beams` best "
            "continuations: those that ended go into one list, and the `beams` best others go on.",
        ),
        Suspect(
            "the least likely",
            _search(lowest=True),
            "You kept the texts with the *lowest* score. Sort so that the highest come first.",
        ),
        Suspect("one too many", _one_more, "Your texts can be one word longer than `longest`."),
        Suspect(
            "greedy, with the end",
            lambda *arguments: _greedy(*arguments, end=True),
            f"This is greedy decoding: keep the `beams` best texts, and extend each. And: {_END}",
        ),
    ),
)
