"""The checks of lesson 16 accept right answers, however written, and name what is wrong; and its
files of pairs, good and bad."""

import gzip
import heapq
import json
import math
import os
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch

import transformer_lab as tl
from transformer_lab.lessons import presets
from transformer_lab.lessons.solutions import lesson_16 as solutions

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "16_real_translation.ipynb"


def n_grams(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def bleu_with_lists(texts, references):
    hits, total = [0] * 4, [0] * 4
    for words, wanted in zip(texts, references, strict=True):
        for n in range(4):
            left = n_grams(wanted, n + 1)
            for run in n_grams(words, n + 1):
                total[n] += 1
                if run in left:
                    left.remove(run)
                    hits[n] += 1
    c, r = sum(len(t) for t in texts), sum(len(t) for t in references)
    precision = torch.tensor(hits).double() / torch.tensor(total).clamp(min=1)
    return 100 * precision.prod() ** 0.25 * min(1.0, math.exp(1 - r / c))


def bleu_with_counts(
    texts, references, *, orders=range(1, 5), clip=True, penalty=True, scale=100, mean="geometric"
):
    logs = []
    for n in orders:
        hits = total = 0
        for words, wanted in zip(texts, references, strict=True):
            found, there = Counter(n_grams(words, n)), Counter(n_grams(wanted, n))
            hits += sum(min(k, there[g]) if clip else k * (g in there) for g, k in found.items())
            total += sum(found.values())
        logs.append(hits / max(1, total))
    c, r = sum(len(t) for t in texts), sum(len(t) for t in references)
    short = 1.0 if c >= r or not penalty else math.exp(1 - r / c)
    if mean == "geometric":
        centre = math.prod(logs) ** (1 / len(logs))
    else:
        centre = math.prod(logs) if mean == "product" else sum(logs) / len(logs)
    return torch.tensor(scale * short * centre)


def beams_with_a_heap(next_log_p, bos, eos, longest, beams, alpha):
    beam, done, n = {(): 0.0}, {}, 0
    while n < longest:
        n += 1
        grown = {
            (*ids, word): total + p
            for ids, total in beam.items()
            for word, p in enumerate(next_log_p(torch.tensor((bos, *ids))).tolist())
        }
        best = heapq.nlargest(2 * beams, grown, key=grown.get)
        done |= {ids: grown[ids] / ((5 + n) / 6) ** alpha for ids in best if ids[-1] == eos}
        beam = {ids: grown[ids] for ids in [i for i in best if i[-1] != eos][:beams]}
    done |= {ids: total / ((5 + n) / 6) ** alpha for ids, total in beam.items()}
    best = max(done, key=done.get)
    return torch.tensor([i for i in best if i != eos]).int()


def beams_with_tensors(
    next_log_p, bos, eos, longest, beams, alpha, *,
    wide=2, score=None, stop=False, keep=True, rest=True, show=lambda ids: ids,
):  # fmt: skip
    score = score or (lambda total, n: total / ((5 + n) / 6) ** alpha)
    ids, totals, finished = [[]], torch.zeros(1), []
    for n in range(1, longest + 1):
        rows = torch.stack([next_log_p(torch.tensor([bos, *i])) for i in ids])
        everything = (totals[:, None] + rows).flatten()
        values, places = everything.topk(min(wide * beams, len(everything)))
        grown = [[*ids[p // rows.shape[1]], p % rows.shape[1]] for p in places.tolist()]
        live = [i for i, text in enumerate(grown) if text[-1] != eos][:beams]
        ended = [i for i, text in enumerate(grown) if text[-1] == eos]
        finished += [(score(float(values[i]), n), show(grown[i][:-1])) for i in ended if keep]
        ids, totals = [grown[i] for i in live], values[live]
        if (stop and ended) or not ids:
            break
    if rest:
        finished += [(score(float(t), n), show(i)) for t, i in zip(totals, ids, strict=True)]
    return torch.tensor(max(finished, default=(0, []))[1], dtype=torch.long)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("bleu", solutions.bleu),
        ("bleu", bleu_with_lists),
        ("bleu", bleu_with_counts),
        ("beam_search", solutions.beam_search),
        ("beam_search", beams_with_a_heap),
        ("beam_search", beams_with_tensors),
    ],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"16/{name}", function)
    assert result.passed, result.diagnosis


BLEU_MUTANTS = {
    "not clipped": (lambda t, r: bleu_with_counts(t, r, clip=False), "at most as often"),
    "no penalty": (lambda t, r: bleu_with_counts(t, r, penalty=False), "too short"),
    "a float": (lambda t, r: float(bleu_with_counts(t, r)), "returned a float"),
    "log of nothing": (lambda t, r: torch.tensor(math.log(0)), "math domain error"),
    # two at once
    "a share, not clipped": (
        lambda t, r: bleu_with_counts(t, r, scale=1, clip=False),
        "from 0 to 100. You count a run",
    ),
    "not clipped, no penalty": (
        lambda t, r: bleu_with_counts(t, r, clip=False, penalty=False),
        "And: You do not penalise",
    ),
}


@pytest.mark.parametrize("mutant", BLEU_MUTANTS)
def test_wrong_scores_are_named(mutant, judged):
    function, said = BLEU_MUTANTS[mutant]
    result = judged("16/bleu", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def greedy(next_log_p, bos, eos, longest, beams, alpha):
    ids = [bos]
    while len(ids) <= longest:
        ids.append(int(next_log_p(torch.tensor(ids)).argmax()))
        if ids[-1] == eos:
            return torch.tensor(ids[1:-1])
    return torch.tensor(ids[1:])


BEAM_MUTANTS = {
    "greedy": (greedy, "greedy decoding, one text at a time"),
    "one beam": (
        lambda f, b, e, n, k, a: beams_with_tensors(f, b, e, n, 1, a),
        "a beam of one",
    ),
    "a list": (lambda *a: beams_with_tensors(*a).tolist(), "in a list"),
    # two at once
    "greedy, the end kept": (
        lambda f, b, e, n, k, a: torch.tensor(
            [
                *greedy(f, b, e, n, k, a).tolist(),
                *([e] if len(greedy(f, b, e, n, k, a)) < n else []),
            ]
        ),
        "And: Your result ends with `eos`",
    ),
}


@pytest.mark.parametrize("mutant", BEAM_MUTANTS)
def test_wrong_searches_are_named(mutant, judged):
    function, said = BEAM_MUTANTS[mutant]
    result = judged("16/beam_search", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_checks_never_crash(never_crashes):
    never_crashes("16/bleu", solutions.bleu)
    never_crashes("16/beam_search", solutions.beam_search, sort=torch.int64)


def test_our_bleu_is_the_package_s_and_our_search_tl_generate():
    texts = ["ein Mann liest gern laut ein Buch", "zwei Hunde laufen weg"]
    wanted = ["ein Mann liest gern ein dickes Buch vor", "zwei Hunde laufen schnell weg"]
    found = solutions.bleu([t.split() for t in texts], [w.split() for w in wanted])
    assert float(found) == pytest.approx(tl.bleu(texts, wanted).score, abs=1e-4)

    torch.manual_seed(0)
    model = tl.Transformer(
        tl.ModelConfig(vocab_size=9, kind="encoder-decoder", n_layers=1, d_model=16, n_ctx=16)
    ).eval()
    for weight in model.parameters():
        weight.data.mul_(4)  # so that its predictions are not uniform
    for source in torch.randint(3, 9, (8, 1, 5)):

        @torch.no_grad()
        def next_log_p(ids, source=source):
            return model(source, ids[None])[0, -1].log_softmax(-1)

        mine = solutions.beam_search(next_log_p, 1, 2, 9, 4, 0.6).tolist()
        theirs = tl.generate(model, source, max_new_tokens=9, bos_id=1, eos_id=2, beams=4)[0]
        assert mine == [i for i in theirs.tolist() if i != 2]


# ------------------------------------------------------------------------------ files of pairs


def read_by_the_lesson(monkeypatch, place, capsys):
    """Run the lesson's cell on a path; return its variables, and what it printed."""
    monkeypatch.setenv("TRANSFORMER_LAB_PAIRS", str(place))
    few = partial(tl.datasets.everyday, size=30, held_out=10, tokenizer="word")
    monkeypatch.setattr(tl.datasets, "everyday", few)
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    source = next("".join(cell["source"]) for cell in cells if cell["id"] == "data")
    known = {"os": os, "Path": Path, "tl": tl, "lesson": presets("16", preset="quick")}
    exec(source, known)
    return known, capsys.readouterr().out


PAIRS = [f"a picture of {n} dogs\tein Bild von {n} Hunden" for n in range(60)]


def test_pairs_of_ones_own_are_read(tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.tsv"
    path.write_text("\n".join(PAIRS) + "\n", "utf-8")
    known, said = read_by_the_lesson(monkeypatch, path, capsys)
    assert known["added"] and said == ""
    assert len(known["data"].train) + len(known["data"].held_out) == 60


def test_multi30k_is_read_from_its_folder(tmp_path, monkeypatch, capsys):
    for part in ("train", "val"):
        rows = [line.split("\t") for line in (PAIRS if part == "train" else PAIRS[:5])]
        for side, texts in zip(("en", "de"), zip(*rows, strict=True), strict=True):
            text = "".join(f"{part} {t}\n" for t in texts)
            (tmp_path / f"{part}.{side}.gz").write_bytes(gzip.compress(text.encode()))
    known, said = read_by_the_lesson(monkeypatch, tmp_path, capsys)
    assert known["added"] and said == ""
    assert (len(known["data"].train), len(known["data"].held_out)) == (60, 5)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([*PAIRS[:6], "in a \tfountain\tin einem Brunnen", *PAIRS[6:]], "line 7: has 3 columns"),
        ([line.split("\t")[0] for line in PAIRS], "line 1: has 1 column, not 2"),
        ([*PAIRS[:3], "no translation\t", *PAIRS[3:]], "line 4: the target is empty"),
        ([], "is empty"),
        (None, "no such file"),
        (b"a dog\tein gro\xdfer Hund\n", "line 1: byte 0xdf at offset 13 is not UTF-8"),
    ],
)
def test_a_bad_file_is_named_and_the_lesson_goes_on(content, said, tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.tsv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else "\n".join(content).encode())
    known, printed = read_by_the_lesson(monkeypatch, path, capsys)
    assert said in printed and str(path) in printed
    assert printed.endswith("So the lesson goes on with its own sentences.\n")
    assert printed.count("\n") == 2
    assert not known["added"]
    assert known["data"].name == "everyday sentences"
