"""The check of lesson 12 accepts right answers, however written, and names mistakes."""

from contextlib import ExitStack, nullcontext
from itertools import pairwise

import torch

import transformer_lab as tl
from tests.lessons.answers import checks_of


def left_by_starts(model, tokens, lengths, answer):
    """Positions from cumulative sums; nested edits."""
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


def left(model, tokens, lengths, answer, step=lambda n: n, ratio=lambda cut, whole: cut / whole):
    """`left_without` with replaceable parts."""
    start, out = 1, []

    def value(cuts):
        with torch.no_grad(), tl.edit(model, *cuts) if cuts else nullcontext():
            return model(tokens[None])[0, -1].softmax(-1)[answer]

    for n in lengths:
        last = len(tokens) - 1
        out.append(value([tl.knock_out(query=last, key=k) for k in range(start, start + n)]))
        start += step(n)
    return ratio(torch.stack(out), value([]))


RIGHT = {"left_without": (left_by_starts, left_by_logarithms, left)}
WRONG = {
    "left_without": {
        "of the largest": (lambda *a: left(*a, ratio=lambda cut, whole: cut / cut.max()), ""),
        "steps of one": (lambda *a: left(*a, step=lambda n: 1), ""),
    }
}


test_right, test_odd, test_wrong = checks_of("12", RIGHT, WRONG, odd=["left_without"])
