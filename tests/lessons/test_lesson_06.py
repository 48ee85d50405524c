"""The checks of lesson 06 accept right answers, however written, and name what is wrong."""

import math
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
import torch

from transformer_lab.lessons.solutions import lesson_06 as solutions
from transformer_lab.tokenizers import BPETokenizer


def joined(ids, pair, new):
    """Every (a, b) of a list replaced by one id, from left to right."""
    made = []
    for one in ids:
        if made and (made[-1], one) == pair:
            made[-1] = new
        else:
            made.append(one)
    return made


def learn_in_steps(words, n_merges, first):
    """Its steps as functions of their own; `sorted` decides."""

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
    """Words as text of numbers between commas."""
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
    """One pass through the merges: what a merge makes can only be in later ones."""
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


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("learn_bpe", solutions.learn_bpe),
        ("learn_bpe", learn_in_steps),
        ("learn_bpe", learn_with_text),
        ("encode_word", solutions.encode_word),
        ("encode_word", encode_by_rows),
        ("encode_word", encode_recursively),
        ("bits_per_byte", solutions.bits_per_byte),
        ("bits_per_byte", lambda losses, n: (losses / math.log(2)).sum() / n),
        ("bits_per_byte", lambda losses, n: -(-losses).exp().log2().sum() / n),
        ("bits_per_byte", lambda losses, n: solutions.bits_per_byte(losses.bfloat16(), n)),
    ],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"06/{name}", function)
    assert result.passed, result.diagnosis


def learner(count=lambda n: n, best=None, replace=joined, new=lambda first, i: first + i):
    """learn_bpe with any of its steps done in another way."""
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


def leftmost(ids, merges, first):
    rows = {tuple(p): i for i, p in enumerate(merges.tolist())}
    ids, i = list(ids), 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) in rows:
            ids[i : i + 2] = [first + rows[ids[i], ids[i + 1]]]
            i = 0
        else:
            i += 1
    return torch.tensor(ids)


def longest(ids, merges, first):
    spelled = {}
    for row, (a, b) in enumerate(merges.tolist()):
        spelled[first + row] = spelled.get(a, [a]) + spelled.get(b, [b])
    out = []
    while ids:
        fits = [t for t, letters in spelled.items() if list(ids[: len(letters)]) == letters]
        token = max(fits, key=lambda t: len(spelled[t]), default=ids[0])
        out.append(token)
        ids = ids[len(spelled.get(token, [token])) :]
    return torch.tensor(out)


LN2 = math.log(2)
MUTANTS = {
    "times forgotten": ("learn_bpe", learner(count=lambda n: 1), "counted each word once"),
    "ties by most_common": ("learn_bpe", learner(best=once), "seen first"),
    "leftmost": ("encode_word", leftmost, "the leftmost pair"),
    "longest": ("encode_word", longest, "longest token"),
    "nats": ("bits_per_byte", lambda x, n: x.sum() / n, "These are nats"),
    "a token": ("bits_per_byte", lambda x, n: x.mean() / LN2, "each *token*"),
}  # fmt: skip
TWICE = {  # two mistakes at once: one is named, and once it is mended, the other
    "times forgotten, ties by most_common": (
        learner(count=lambda n: 1, best=once), learner(best=once),
        ("counted each word once", "seen first"),
    ),
    "ids from 0, ties by the largest": (
        learner(new=lambda f, i: i, best=lambda c: max(c, key=lambda p: (c[p], p))),
        learner(best=lambda c: max(c, key=lambda p: (c[p], p))),
        ("numbered from 0", "took the largest"),
    ),
    "times forgotten, runs from the right": (
        learner(
            count=lambda n: 1,
            replace=lambda ids, p, new: joined(ids[::-1], p[::-1], new)[::-1],
        ),
        learner(replace=lambda ids, p, new: joined(ids[::-1], p[::-1], new)[::-1]),
        ("counted each word once", "left to right"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_answers_are_named(mutant, judged):
    name, function, said = MUTANTS[mutant]
    result = judged(f"06/{name}", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


@pytest.mark.parametrize("mutant", TWICE)
def test_of_two_mistakes_one_is_named_and_then_the_other(mutant, judged):
    both, one, said = TWICE[mutant]
    for function, sentence in zip((both, one), said, strict=True):
        result = judged("06/learn_bpe", function)
        assert not result.passed
        assert sentence in result.diagnosis, result.diagnosis


def test_nats_for_each_token_are_named(judged):
    result = judged("06/bits_per_byte", lambda losses, n_bytes: losses.mean())
    assert "Two things are missing" in result.diagnosis


def test_checks_never_crash(never_crashes):
    never_crashes("06/learn_bpe", solutions.learn_bpe, torch.int64)
    never_crashes("06/encode_word", solutions.encode_word, torch.int64)
    never_crashes("06/bits_per_byte", solutions.bits_per_byte)


TEXT = "the cat sat on the mat; the aaaa aaaaa bat ate 12 rats at that 121 hat\n" * 3 + "über alles"


def test_the_solutions_learn_and_encode_as_hugging_face_does():
    """Its own trainer, on the same words, with ties and with runs of one letter."""
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
