"""The check of lesson 12 accepts every right answer, however written, and names mistakes."""

from contextlib import ExitStack, nullcontext
from itertools import pairwise

import pytest
import torch

import transformer_lab as tl
from transformer_lab.lessons.solutions import lesson_12 as solutions


def left_by_starts(model, tokens, lengths, answer):
    """Takes the positions from running sums, and nests the edits."""
    ends = torch.tensor([1, *lengths]).cumsum(0).tolist()
    chances = []
    for span in [(1, 1), *pairwise(ends)]:
        with torch.inference_mode(), ExitStack() as opened:
            for key in range(*span):
                opened.enter_context(tl.edit(model, tl.knock_out(query=len(tokens) - 1, key=key)))
            chances.append(torch.softmax(model(tokens.unsqueeze(0)).squeeze(0), -1)[-1, answer])
    whole, *hidden = (float(chance) for chance in chances)
    return torch.tensor(hidden) / whole


def left_by_logarithms(model, tokens, lengths, answer):
    """From the last sentence to the first, as a difference of logarithms."""
    end, out = 1 + sum(lengths), []
    before = model(tokens[None]).log_softmax(-1)[0, len(tokens) - 1, answer]
    for length in reversed(lengths):
        cuts = [tl.knock_out(query=len(tokens) - 1, key=end - 1 - i) for i in range(length)]
        with tl.edit(model, *cuts):
            out.insert(0, (model(tokens[None]).log_softmax(-1)[0, -1, answer] - before).exp())
        end -= length
    return torch.stack(out)


def left(
    model, tokens, lengths, answer, *, start=1, step=lambda n: n, span=range, query=-1, layer=None,
    place=-1, read=lambda x: x.softmax(-1), ratio=lambda cut, whole: cut / whole, keeps=False,
):  # fmt: skip
    """`left_without`, in parts that can be wrong."""
    asked = None if query is None else len(tokens) + query
    kept, out = [], []

    def value(cuts):
        with torch.no_grad(), tl.edit(model, *cuts) if cuts else nullcontext():
            return read(model(tokens[None])[0, place])[answer]

    for n in lengths:
        cuts = [tl.knock_out(layer, query=asked, key=k) for k in span(start, start + n)]
        kept = kept + cuts if keeps else cuts
        out.append(value(kept))
        start += step(n)
    return ratio(torch.stack(out), value([]))


def wrong(**slips):
    return lambda *a: left(*a, **slips)


@pytest.mark.parametrize(
    "function", [solutions.left_without, left_by_starts, left_by_logarithms, left]
)
def test_right_answers_are_accepted(function, judged):
    result = judged("12/left_without", function)
    assert result.passed, result.diagnosis


MUTANTS = {
    "from <s>": (wrong(start=0), "`<s>` is there"),
    "never moves": (wrong(step=lambda n: 0), "never move on"),
    "last word": (wrong(span=lambda a, b: [b - 1]), ""),
    "last layer": (wrong(layer=1), ""),
    "other difference": (wrong(ratio=lambda cut, whole: cut - whole), ""),
    "of the largest": (wrong(ratio=lambda cut, whole: cut / cut.max()), ""),
    "steps of one": (wrong(step=lambda n: 1), ""),
    "two at once": (wrong(start=0, query=None), "Two things at once"),
    "two others": (wrong(ratio=lambda cut, whole: cut, place=0), "Two things at once"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_answers_are_named(mutant, judged):
    function, said = MUTANTS[mutant]
    result = judged("12/left_without", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_the_check_never_crashes(never_crashes):
    never_crashes("12/left_without", solutions.left_without)
