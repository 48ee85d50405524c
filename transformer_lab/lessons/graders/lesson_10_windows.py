"""Checks for lesson 10, GPT: the loss of a text that is longer than the model's window."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_10 as solutions


class Reader:
    """A small fixed language model whose logits depend on everything in its window, and most on
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


def _tokens(seed: int, vocab: int, n: int) -> Tensor:
    return torch.randint(vocab, (n,), generator=torch.Generator().manual_seed(seed))


def _cases() -> list[Case]:
    return [
        Case("21 tokens in windows of 8, by 5", (Reader(1, 6, 8), _tokens(12, 6, 21), 8, 5)),
        Case("16 tokens in windows of 6, by 1", (Reader(3, 5, 6), _tokens(4, 5, 16), 6, 1)),
        Case("17 tokens in windows of 9, by 8", (Reader(5, 7, 9), _tokens(6, 7, 17), 9, 8)),
        Case("a text that fits into one window", (Reader(7, 5, 12), _tokens(8, 5, 10), 12, 4)),
    ]


SLIPS = (
    Slip(
        "judged",
        "judged again",
        "You score whole windows, so tokens where two windows overlap count twice, the second time with "
        "more context. Score only those that no window has scored yet.",
    ),
    Slip(
        "judged",
        "the seam left out",
        "At each seam one token is never scored. In a window that begins at `begin`, the loss of token "
        "t is entry t − begin − 1.",
    ),
    Slip(
        "judged",
        "the seam twice",
        "At each seam one token is scored twice. In a window that begins at `begin`, the loss of token "
        "t is entry t − begin − 1.",
    ),
    Slip(
        "judged",
        "the first window's beginning",
        "In the first window, too, you score only the last `stride` tokens. Nothing there has been "
        "scored yet: take all of it.",
    ),
    Slip(
        "judged",
        "the last stride",
        "In the last window you score `stride` tokens. It is shorter and overlaps more: score only "
        "what is new in it.",
    ),
    Slip(
        "windows",
        "the end left out",
        "You stop before the last window, which is shorter: the end of the text is never scored.",
    ),
    Slip(
        "windows",
        "by their size",
        "Your windows move by `size`, so the first tokens of each have little before them, and the very "
        "first is never scored. Windows should move by `stride`.",
    ),
    Slip(
        "shift",
        "not shifted",
        "You compare each position with the token that it has just read. The logits at a position "
        "predict the *next* token.",
    ),
    Slip(
        "mean",
        "the mean of means",
        "You take the mean of the windows' means, as if each scored the same number of tokens. Add up "
        "the losses, and divide once.",
    ),
    Slip(
        "mean",
        "the first counted",
        "You divide by the number of tokens. The first has nothing before it, so it is not scored.",
    ),
    Slip("mean", "a sum", "You return the sum. Divide by the number of tokens that were scored."),
    Slip("mean", "bits", "These are bits. The loss should be in nats: do not divide by ln 2."),
)


def _begins(n: int, size: int, stride: int, slips) -> list[int]:
    step = size if "by their size" in slips else stride
    begins = []
    for begin in range(0, n, step):
        if "the end left out" in slips and begin and begin + size > n:
            break
        begins.append(begin)
        if begin + size >= n:
            break
    return begins


def _with(slips: frozenset[str]) -> Callable[..., Tensor]:
    def made(predict, tokens, size, stride):
        judged, means, parts = 1, [], []
        begins = _begins(len(tokens), size, stride, slips)
        for begin in begins:
            end = min(begin + size, len(tokens))
            window = tokens[begin:end]
            logits = predict(window)
            if "not shifted" in slips:
                losses = F.cross_entropy(logits, window, reduction="none")[1:]
            else:
                losses = F.cross_entropy(logits[:-1], window[1:], reduction="none")
            first = max(judged - begin - 1, 0)
            if "judged again" in slips:
                first = 0
            if begin and "the seam left out" in slips:
                first += 1
            if begin and "the seam twice" in slips:
                first = max(first - 1, 0)
            if "the first window's beginning" in slips and not begin and len(begins) > 1:
                first = len(losses) - stride
            if "the last stride" in slips and begin == begins[-1] and begin:
                first = max(len(losses) - stride, 0)
            parts.append(losses[first:])
            if len(parts[-1]):
                means.append(parts[-1].mean())
            judged = end
        return _mean(parts, means, len(tokens), slips)

    return made


def _mean(parts: list[Tensor], means: list[Tensor], n: int, slips) -> Tensor:
    total = torch.cat(parts).sum()
    if "the mean of means" in slips:
        return torch.stack(means).mean()
    if "a sum" in slips:
        return total
    count = n if "the first counted" in slips else n - 1
    return total / count / (math.log(2) if "bits" in slips else 1)


def _own_count(slips: frozenset[str]) -> Callable[..., Tensor]:
    """The same, divided by the number of tokens that it scored."""

    def made(predict, tokens, size, stride):
        parts = []

        def keep(window):
            logits = predict(window)
            parts.append(logits)
            return logits

        total = _with(slips | {"a sum"})(keep, tokens, size, stride)
        return total / sum(max(len(part) - 1, 0) for part in parts)

    return made


def _each_alone(predict, tokens, size, stride):
    """Each token from its own window, which ends just before it: the most context it can have."""
    losses = [
        F.cross_entropy(predict(tokens[max(0, t - size + 1) : t])[-1:], tokens[t : t + 1])
        for t in range(1, len(tokens))
    ]
    return torch.stack(losses).mean()


def _blocks(length: Callable[[int, int], int]) -> Callable[..., Tensor]:
    """Pieces that share one token: every token is scored once, with the context in its piece."""

    def made(predict, tokens, size, stride):
        new = length(size, stride)
        losses = [
            F.cross_entropy(
                predict(tokens[t : t + new + 1])[:-1], tokens[t + 1 : t + new + 1], reduction="none"
            )
            for t in range(0, len(tokens) - 1, new)
        ]
        return torch.cat(losses).mean()

    return made


_WINDOWS = Grader(
    name="10/windowed_loss",
    cases=_cases,
    reference=solutions.windowed_loss,
    shape_hint="one number",
    suspects=(
        Suspect(
            "judged again, and counted so",
            _own_count(frozenset({"judged again"})),
            SLIPS[0].sentence,
        ),
        Suspect(
            "a window for each token",
            _each_alone,
            "You give every token a window of its own. That is a stride of 1: move by `stride`, and "
            "score everything that is new in a window.",
        ),
        Suspect(
            "no overlap",
            _blocks(lambda size, stride: stride),
            "Your windows hold `stride` new tokens and nothing before them. A window is `size` long: it "
            "also holds tokens that are already scored, as context.",
        ),
        Suspect(
            "the stride unused",
            _blocks(lambda size, stride: size - 1),
            "You cut the text into pieces of `size`, so the first tokens of each have little before "
            "them. Move by `stride`, and score what is new.",
        ),
        *suspects_of(_with, SLIPS),
    ),
)

GRADERS = (_WINDOWS,)
