"""The checks of lesson 08 accept right answers, however written, and name what is wrong."""

import pytest
import torch

from transformer_lab.lessons.solutions import lesson_08 as solutions


def mask_by_comparing(target, pad_id):
    place = torch.arange(target.shape[1])
    return (place[:, None] >= place) & target.ne(pad_id).unsqueeze(1)


def mask_with_loops(target, pad_id):
    batch, n = target.shape
    mask = torch.zeros(batch, n, n, dtype=torch.bool)
    for b in range(batch):
        for q in range(n):
            for k in range(q + 1):
                mask[b, q, k] = bool(target[b, k] != pad_id)
    return mask


def greedy_with_lists(next_scores, bos, eos, longest):
    written = []
    while len(written) < longest:
        scores = next_scores(torch.tensor([bos, *written])).tolist()
        new = scores.index(max(scores))
        if new == eos:
            break
        written.append(new)
    return torch.tensor(written, dtype=torch.long)


def greedy_cut_afterwards(next_scores, bos, eos, longest):
    ids = torch.tensor([bos])
    while len(ids) - 1 < longest and ids[-1] != eos:
        ids = torch.cat([ids, torch.softmax(next_scores(ids), -1).argmax(-1, keepdim=True)])
    ids = ids[1:]
    return ids[ids != eos].int()


def table_at_once(maps, source, target, pad_id, vocab_size):
    partners = source.gather(1, maps.sum(1)[:, :-1].argmax(-1))
    words = target[:, 1:]
    pairs = (words * vocab_size + partners)[words != pad_id]
    counts = pairs.bincount(minlength=vocab_size**2).view(vocab_size, vocab_size).double()
    return (counts / counts.sum(1, keepdim=True)).nan_to_num()


def table_with_dicts(maps, source, target, pad_id, vocab_size):
    found = {}
    for looks, words, written in zip(maps.mean(1), source.tolist(), target.tolist(), strict=True):
        for look, word in zip(looks, written[1:], strict=False):
            if word != pad_id:
                found.setdefault(word, []).append(words[int(look.argmax())])
    table = torch.zeros(vocab_size, vocab_size)
    for word, partners in found.items():
        for partner in set(partners):
            table[word, partner] = partners.count(partner) / len(partners)
    return table


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("translation_table", solutions.translation_table),
        ("translation_table", table_at_once),
        ("translation_table", table_with_dicts),
        ("decoder_mask", solutions.decoder_mask),
        ("decoder_mask", mask_by_comparing),
        ("decoder_mask", mask_with_loops),
        ("greedy", solutions.greedy),
        ("greedy", greedy_with_lists),
        ("greedy", greedy_cut_afterwards),
    ],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"08/{name}", function)
    assert result.passed, result.diagnosis


def parts(target, pad_id):
    return torch.ones(target.shape[1], target.shape[1]).tril().bool(), target != pad_id


MASK_MUTANTS = {
    "only causal": (lambda t, p: parts(t, p)[0].repeat(len(t), 1, 1), "padding can still be seen"),
    "no batch": (lambda t, p: parts(t, p)[0], "has shape"),
    "only padding": (
        lambda t, p: parts(t, p)[1][:, None].repeat(1, t.shape[1], 1),
        "the future can still be seen",
    ),
    "numbers": (lambda t, p: mask_by_comparing(t, p).float(), "torch.bool"),
}


@pytest.mark.parametrize("mutant", MASK_MUTANTS)
def test_wrong_masks_are_named(mutant, judged):
    function, said = MASK_MUTANTS[mutant]
    result = judged("08/decoder_mask", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def writes(next_scores, bos, eos, longest, *, read=lambda ids: ids, pick=torch.argmax):
    ids = torch.tensor([bos])
    for _ in range(longest):
        new = pick(next_scores(read(ids))).view(1)
        ids = torch.cat([ids, new])
        if int(new) == eos:
            break
    return ids


GREEDY_MUTANTS = {
    "keeps both": (writes, "in front and `eos` at its end"),
    "keeps the end": (lambda *a: writes(*a)[1:], "ends with `eos`"),
    "a list": (lambda *a: greedy_with_lists(*a).tolist(), "in a list"),
}


@pytest.mark.parametrize("mutant", GREEDY_MUTANTS)
def test_wrong_decoding_is_named(mutant, judged):
    function, said = GREEDY_MUTANTS[mutant]
    result = judged("08/greedy", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def table(*, row=0, heads="mean", keep=None, soft=False, turn=False, divide=True, once=False):
    """A table written from scratch, with some steps replaced."""

    def made(maps, source, target, pad_id, vocab_size):
        looks = maps.mean(1) if heads == "mean" else heads(maps)
        counts = torch.zeros(vocab_size, vocab_size)
        for b in range(len(source)):
            for t in range(target.shape[1] - 1):
                word = int(target[b, t + 1])
                if (word != pad_id) if keep is None else keep(word):
                    look = looks[b, t + row]
                    for place, id in enumerate(source[b].tolist()):
                        counts[word, id] += float(look[place]) if soft else place == look.argmax()
        if once:
            counts = counts.clamp(max=1)
        if turn:
            counts = counts.T
        return counts / counts.sum(1, keepdim=True).clamp(min=1) if divide else counts

    return made


TABLE_MUTANTS = {
    "a row too late": (table(row=1), "one row above"),
    "the first head": (table(heads=lambda m: m[:, 0]), "one head alone"),
    "late and counted": (table(row=1, divide=False), "Two things at once"),
    "soft and one head": (table(soft=True, heads=lambda m: m[:, 0]), "Two things at once"),
    "padding and turned": (table(keep=lambda word: True, turn=True), "Two things at once"),
    "one text": (lambda *a: table_at_once(*a)[0], "has shape"),
}


@pytest.mark.parametrize("mutant", TABLE_MUTANTS)
def test_wrong_tables_are_named(mutant, judged):
    function, said = TABLE_MUTANTS[mutant]
    result = judged("08/translation_table", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_a_loop_that_waits_for_the_end_is_ended(judged):
    def until_the_end(next_scores, bos, eos, longest):
        ids = torch.tensor([bos])
        while ids[-1] != eos:
            ids = torch.cat([ids, next_scores(ids).argmax().view(1)])
        return ids[1:-1]

    assert "never ends" in judged("08/greedy", until_the_end, seconds=0.5).diagnosis


def test_checks_never_crash(never_crashes):
    never_crashes("08/decoder_mask", solutions.decoder_mask, sort=torch.bool)
    never_crashes("08/greedy", solutions.greedy, sort=torch.int64)
    never_crashes("08/translation_table", solutions.translation_table)
