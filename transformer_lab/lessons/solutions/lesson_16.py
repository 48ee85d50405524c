"""Solutions of lesson 16, Translating sentences."""

import math
from collections import Counter

import torch


def bleu(texts, references):
    def runs(words, n):
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    mean_log = 0.0
    for n in range(1, 5):
        hits = total = 0
        for words, wanted in zip(texts, references, strict=True):
            found = runs(words, n)
            hits += sum((found & runs(wanted, n)).values())
            total += sum(found.values())
        if hits == 0:
            return torch.tensor(0.0)
        mean_log += math.log(hits / total) / 4

    written, wanted = sum(map(len, texts)), sum(map(len, references))
    brevity = min(1.0, math.exp(1 - wanted / written))
    return torch.tensor(100 * brevity * math.exp(mean_log))


def beam_search(next_log_p, bos, eos, longest, beams, alpha):
    def score(total, length):
        return total / ((5 + length) / 6) ** alpha

    live, finished = [(0.0, [])], []
    for length in range(1, longest + 1):
        longer = []
        for total, ids in live:
            log_p = next_log_p(torch.tensor([bos, *ids]))
            best = log_p.topk(min(2 * beams, len(log_p)))
            for more, new in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                longer.append((total + more, [*ids, new]))
        longer = sorted(longer, key=lambda one: -one[0])[: 2 * beams]
        live = [(total, ids) for total, ids in longer if ids[-1] != eos][:beams]
        finished += [(score(total, length), ids[:-1]) for total, ids in longer if ids[-1] == eos]
    finished += [(score(total, longest), ids) for total, ids in live]
    return torch.tensor(max(finished, key=lambda one: one[0])[1], dtype=torch.long)
