"""The checks of lesson 06 accept right answers, however written, and name mistakes."""

import math
from collections import Counter, defaultdict
from itertools import pairwise

import torch

from tests.lessons.answers import checks_of
from transformer_lab.lessons.solutions import lesson_06 as solutions
from transformer_lab.tokenizers import BPETokenizer


def joined(ids, pair, new):
    """Replace every occurrence of a pair in a list by one id, from left to right."""
    made = []
    for one in ids:
        if made and (made[-1], one) == pair:
            made[-1] = new
        else:
            made.append(one)
    return made


def learn_in_steps(words, n_merges, first):
    """Each step is a function; `sorted` picks the pair."""

    def counted(words):
        counts = defaultdict(int)
        for ids, times in words:
            for left, right in pairwise(ids):
                counts[left, right] += times
        return counts

    found = []
    while len(found) < n_merges:
        ranked = sorted(counted(words).items(), key=lambda item: (-item[1], item[0]))
        if not ranked:
            break
        pair = ranked[0][0]
        words = [(joined(ids, pair, first + len(found)), times) for ids, times in words]
        found.append(list(pair))
    return torch.tensor(found, dtype=torch.int64)


def learn_with_text(words, n_merges, first):
    """Each word a tuple of ids, in a dict of counts."""
    texts = {tuple(ids): 0 for ids, _ in words}
    for ids, times in words:
        texts[tuple(ids)] += times
    found = []
    for new in range(first, first + n_merges):
        counts = Counter()
        for ids, times in texts.items():
            for i in range(1, len(ids)):
                counts[ids[i - 1 : i + 1]] += times
        if not counts:
            return torch.tensor(found)
        most = max(counts.values())
        best = min(pair for pair, count in counts.items() if count == most)
        found.append(best)
        changed = {}
        for ids, times in texts.items():
            ids = tuple(joined(ids, best, new))
            changed[ids] = changed.get(ids, 0) + times
        texts = changed
    return torch.tensor(found)


def encode_by_rows(ids, merges, first):
    """One pass through the merges: the result of a merge occurs only in later ones."""
    for row, (left, right) in enumerate(merges.tolist()):
        ids = joined(ids, (left, right), first + row)
    return torch.tensor(ids)


def encode_recursively(ids, merges, first):
    rows = {(a, b): row for row, (a, b) in reversed(list(enumerate(merges.tolist())))}
    known = [(rows[p], i) for i, p in enumerate(pairwise(ids)) if p in rows]
    if not known:
        return torch.tensor(ids, dtype=torch.int64)
    row, place = min(known)
    return encode_recursively([*ids[:place], first + row, *ids[place + 2 :]], merges, first)


def learner(count=lambda n: n, best=None, replace=joined, new=lambda first, i: first + i):
    """`learn_bpe` with replaceable steps."""
    best = best or (lambda counts: min(counts, key=lambda pair: (-counts[pair], pair)))

    def learn_bpe(words, n_merges, first):
        found = []
        for i in range(n_merges):
            counts = Counter()
            for ids, times in words:
                for pair in pairwise(ids):
                    counts[pair] += count(times)
            if not counts:
                break
            pair = best(counts)
            found.append(pair)
            words = [(replace(ids, pair, new(first, i)), times) for ids, times in words]
        return torch.tensor(found)

    return learn_bpe


def once(counts):
    return counts.most_common(1)[0][0]


RIGHT = {
    "learn_bpe": (learn_in_steps, learn_with_text),
    "encode_word": (encode_by_rows, encode_recursively),
    "bits_per_byte": (
        lambda losses, n: (losses / math.log(2)).sum() / n,
        lambda losses, n: -(-losses).exp().log2().sum() / n,
        lambda losses, n: solutions.bits_per_byte(losses.bfloat16(), n),
    ),
}
WRONG = {
    "learn_bpe": {
        "times forgotten, ties by most_common": (
            learner(count=lambda n: 1, best=once),
            "counted each word once",
        ),
        "ids from 0, ties by the largest": (
            learner(new=lambda f, i: i, best=lambda c: max(c, key=lambda p: (c[p], p))),
            "numbered from 0",
        ),
        "times forgotten, runs from the right": (
            learner(
                count=lambda n: 1, replace=lambda ids, p, new: joined(ids[::-1], p[::-1], new)[::-1]
            ),
            "counted each word once",
        ),
    }
}


test_right, test_odd, test_wrong = checks_of("06", RIGHT, WRONG)


TEXT = "the cat sat on the mat; the aaaa aaaaa bat ate 12 rats at that 121 hat\n" * 3 + "über alles"


def test_the_solutions_learn_and_encode_as_hugging_face_does():
    """Hugging Face's own trainer, on the same words, with ties and with runs of one letter."""
    from tokenizers import pre_tokenizers

    package = BPETokenizer.train(TEXT, vocab_size=290)
    number = {token: i for i, token in enumerate(package.vocabulary)}
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(TEXT)
    parts = [[number[letter] for letter in part] for part, _ in cut]
    words = [(list(ids), n) for ids, n in Counter(map(tuple, parts)).items()]
    merges = solutions.learn_bpe(words, 290 - 261, 261)
    assert merges.tolist() == [[number[a], number[b]] for a, b in package.merges]
    encoded = [solutions.encode_word(ids, merges, 261).tolist() for ids in parts]
    assert [i for ids in encoded for i in ids] == package.encode(TEXT)
