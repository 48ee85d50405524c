"""The checks of lesson 21 accept right answers, however written, and name mistakes."""

from itertools import permutations

import torch

from tests.lessons.answers import checks_of


def study_with_loops(pairs):
    n = len(pairs[0][0])
    table = torch.zeros(3, n)
    for first, second, a, b in pairs:
        words = set(range(first.shape[1])) - {a, b}
        for head, (one, two) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
            if one[a] > one[b] and two[b] > two[a]:
                table[0, head] += 1
                table[1, head] = max(table[1, head], min(one[a], two[b]))
            turned = [one[c] > one[d] and two[d] > two[c] for c, d in permutations(words, 2)]
            table[2, head] += sum(turned) / len(turned)
    return table


def study_at_once(pairs):
    """Compare all pairs of words at once, [head, word, word]."""
    rows = []
    for first, second, a, b in pairs:
        more = first[:, :, None] - first[:, None]
        less = second[:, None] - second[:, :, None]
        turns = ((more > 0) & (less > 0)).double()
        n = first.shape[1]
        others = 1 - torch.eye(n, dtype=torch.double)
        others[[a, b]] = 0
        others[:, [a, b]] = 0
        weight = first[:, a].clamp(max=second[:, b]) * turns[:, a, b]
        rows.append((turns[:, a, b], weight, (turns * others).sum((1, 2)) / others.sum()))
    turned, weight, chance = (torch.stack(part) for part in zip(*rows, strict=True))
    return torch.stack((turned.sum(0), weight.max(0).values, chance.sum(0)))


def patched_with_where(stream, source, position):
    here = (torch.arange(stream.shape[1]) == position)[None, :, None]
    return torch.where(here, source, stream)


def patched_with_cat(stream, source, position):
    middle = source[:, position : position + 1].expand(len(stream), -1, -1)
    return torch.cat((stream[:, :position], middle, stream[:, position + 1 :]), dim=1)


def in_place(stream, source, position):
    stream[:, position] = source[:, position]
    return stream


RIGHT = {
    "pair_study": (study_with_loops, study_at_once, lambda pairs: study_at_once(pairs).bfloat16()),
    "patched": (
        patched_with_where,
        patched_with_cat,
        lambda a, b, p: patched_with_cat(a.half(), b.half(), p),
    ),
}
WRONG = {"patched": {"in place": (in_place, "changes the tensor")}}


test_right, test_odd, test_wrong = checks_of("21", RIGHT, WRONG)
