"""Solutions of lesson 06, Tokens."""

import math
from collections import Counter
from itertools import pairwise

import torch


def learn_bpe(words, n_merges, first):
    words = [(list(ids), count) for ids, count in words]
    merges = []
    for new in range(first, first + n_merges):
        # 1. count pairs of neighbours
        counts = Counter()
        for ids, count in words:
            for pair in pairwise(ids):
                counts[pair] += count
        if not counts:
            break

        # 2. the most frequent pair; if there are several, the smallest
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)

        # 3. replace it by the new token, from left to right
        for ids, _ in words:
            i = 0
            while i < len(ids) - 1:
                if (ids[i], ids[i + 1]) == best:
                    ids[i : i + 2] = [new]
                i += 1
    return torch.tensor(merges)


def encode_word(ids, merges, first):
    rank = {tuple(pair): i for i, pair in enumerate(merges.tolist())}
    ids = list(ids)
    while len(ids) > 1:
        best = min(pairwise(ids), key=lambda pair: rank.get(pair, len(rank)))
        if best not in rank:
            break
        i = 0
        while i < len(ids) - 1:
            if (ids[i], ids[i + 1]) == best:
                ids[i : i + 2] = [first + rank[best]]
            i += 1
    return torch.tensor(ids)


def bits_per_byte(losses, n_bytes):
    bits = losses.sum() / math.log(2)
    return bits / n_bytes
