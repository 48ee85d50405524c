"""The checks of lesson 16 accept right answers, however written, and name mistakes; and its files
of pairs, good and bad."""

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
from tests.lessons.answers import checks_of
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


def bleu_with_counts(texts, references, *, clip=True, penalty=True, scale=100):
    logs = []
    for n in range(1, 5):
        hits = total = 0
        for words, wanted in zip(texts, references, strict=True):
            found, there = Counter(n_grams(words, n)), Counter(n_grams(wanted, n))
            hits += sum(min(k, there[g]) if clip else k * (g in there) for g, k in found.items())
            total += sum(found.values())
        logs.append(hits / max(1, total))
    c, r = sum(len(t) for t in texts), sum(len(t) for t in references)
    short = 1.0 if c >= r or not penalty else math.exp(1 - r / c)
    return torch.tensor(scale * short * math.prod(logs) ** (1 / len(logs)))


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


def beams_with_tensors(next_log_p, bos, eos, longest, beams, alpha):
    score = lambda total, n: total / ((5 + n) / 6) ** alpha  # noqa: E731
    ids, totals, finished = [[]], torch.zeros(1), []
    for n in range(1, longest + 1):
        rows = torch.stack([next_log_p(torch.tensor([bos, *i])) for i in ids])
        everything = (totals[:, None] + rows).flatten()
        values, places = everything.topk(min(2 * beams, len(everything)))
        grown = [[*ids[p // rows.shape[1]], p % rows.shape[1]] for p in places.tolist()]
        live = [i for i, text in enumerate(grown) if text[-1] != eos][:beams]
        ended = [i for i, text in enumerate(grown) if text[-1] == eos]
        finished += [(score(float(values[i]), n), grown[i][:-1]) for i in ended]
        ids, totals = [grown[i] for i in live], values[live]
        if not ids:
            break
    finished += [(score(float(t), n), i) for t, i in zip(totals, ids, strict=True)]
    return torch.tensor(max(finished)[1], dtype=torch.long)


RIGHT = {
    "bleu": (bleu_with_lists, bleu_with_counts),
    "beam_search": (beams_with_a_heap, beams_with_tensors),
}
WRONG = {
    "bleu": {
        "a float": (lambda t, r: float(bleu_with_counts(t, r)), "returned a float"),
        "log of nothing": (lambda t, r: torch.tensor(math.log(0)), "math domain error"),
        "a share, not clipped": (
            lambda t, r: bleu_with_counts(t, r, scale=1, clip=False),
            "from 0 to 100. You count a run",
        ),
        "not clipped, no penalty": (
            lambda t, r: bleu_with_counts(t, r, clip=False, penalty=False),
            "And: You do not penalise",
        ),
    },
    "beam_search": {"a list": (lambda *a: beams_with_tensors(*a).tolist(), "in a list")},
}


test_right, test_odd, test_wrong = checks_of("16", RIGHT, WRONG)


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
