"""Checks for lesson 07, RNN against transformer: a recurrent layer by hand."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_07 as solutions


def _arguments(seed: int, *, texts: int, words: int, d_in: int, d: int) -> tuple[Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    return (
        some(texts, words, d_in), some(texts, d), 0.6 * some(3 * d, d_in), 0.6 * some(3 * d, d),
        some(3 * d), some(3 * d),
    )  # fmt: skip


def _gru_cases() -> list[Case]:
    return [
        Case("two texts of 4 words", _arguments(1, texts=2, words=4, d_in=3, d=5)),
        Case("three texts of one word", _arguments(2, texts=3, words=1, d_in=4, d=4)),
        Case("one text of 6 words", _arguments(3, texts=1, words=6, d_in=5, d=2)),
    ]


def _made(slips: frozenset[str]) -> Callable[..., Tensor]:
    """The layer with the given slips."""

    def gru(x, h, w_ih, w_hh, b_ih, b_hh):
        if "no bias for the state" in slips:
            b_hh = torch.zeros_like(b_hh)
        if "no bias for the word" in slips:
            b_ih = torch.zeros_like(b_ih)
        first, states = h, []
        places = range(x.shape[1])
        for t in reversed(places) if "from the back" in slips else places:
            before = first if "the state not handed on" in slips else h
            h = _step(slips, x[:, t], before, w_ih, w_hh, b_ih, b_hh)
            states.append(before if "the state before" in slips else h)
        return torch.stack(states, dim=1)

    return gru


def _step(slips, word, h, w_ih, w_hh, b_ih, b_hh):
    read_r, read_z, read_n = (word @ w_ih.T + b_ih).chunk(3, dim=-1)
    kept_r, kept_z, kept_n = (h @ w_hh.T + b_hh).chunk(3, dim=-1)
    if "gates in another order" in slips:
        read_r, read_z, kept_r, kept_z = read_z, read_r, kept_z, kept_r
    r, z = torch.sigmoid(read_r + kept_r), torch.sigmoid(read_z + kept_z)
    reset = r * kept_n
    if "r before the matrix" in slips:
        reset = (r * h) @ w_hh.chunk(3)[2].T + b_hh.chunk(3)[2]
    elif "r for all" in slips:
        reset = r * (read_n + kept_n) - read_n
    elif "r forgotten" in slips:
        reset = kept_n
    n = read_n + reset
    if "sigmoid for n" in slips:
        n = torch.sigmoid(n)
    elif "n not squashed" not in slips:
        n = torch.tanh(n)
    if "z turned" in slips:
        return z * n + (1 - z) * h
    return n + z * h if "all of n" in slips else (1 - z) * n + z * h


_SLIPS = (
    Slip(
        "gates",
        "gates in another order",
        "The first third of the rows is r, the second is z. You have them the other way round.",
    ),
    Slip(
        "reset",
        "r before the matrix",
        "You multiplied the state by r *before* its matrix, as Cho et al. 2014 did. PyTorch, and the "
        "formula here, multiply what comes *out* of it, including the bias.",
    ),
    Slip(
        "reset",
        "r for all",
        "In n you multiplied everything by r. Multiply only the part that comes from the state; the "
        "word is read whatever r says.",
    ),
    Slip(
        "reset",
        "r forgotten",
        "In your function r does nothing. In n, multiply the part that comes from the state by r.",
    ),
    Slip(
        "squash",
        "sigmoid for n",
        "n is the new content, from −1 to 1, so it needs tanh. Only gates are sigmoids.",
    ),
    Slip("squash", "n not squashed", "In your function n has no tanh."),
    Slip(
        "blend",
        "z turned",
        "You swapped z and 1 − z: where z is 1, the *old* state stays.",
    ),
    Slip(
        "blend",
        "all of n",
        "You add all of n to what is kept. The new state is a mixture: (1 − z) times n, plus z times "
        "the old state.",
    ),
    Slip(
        "state bias",
        "no bias for the state",
        "`b_hh` is left out. You need both biases, and in n this one is multiplied by r.",
    ),
    Slip("word bias", "no bias for the word", "`b_ih` is left out. You need both biases."),
    Slip(
        "walk",
        "the state not handed on",
        "In your function every word starts from the first state. It has to start from the state that "
        "the word before it has left.",
    ),
    Slip("walk", "from the back", "You read the texts from the back. Start with word 0."),
    Slip(
        "kept",
        "the state before",
        "For each word you kept the state from *before* it was read. Keep the new one.",
    ),
)

GRU = Grader(
    name="07/gru",
    cases=_gru_cases,
    reference=solutions.gru,
    shape_hint="`[text, word, d]`: the state after each word",
    suspects=(
        Suspect(
            "the last state alone",
            lambda *a: solutions.gru(*a)[:, -1],
            "You returned the last state alone. Return the states after all words, `[text, word, d]`.",
        ),
        Suspect(
            "words first",
            lambda *a: solutions.gru(*a).transpose(0, 1),
            "You stacked the states along the first axis. Here texts come first: use `dim=1`.",
        ),
        *suspects_of(_made, _SLIPS),
    ),
)
