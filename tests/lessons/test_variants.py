"""Variants of exercises: the change is checked, and the rest of the lesson stays the same."""

import json
import math
from collections import Counter
from itertools import pairwise

import nbformat
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from tests.missing import installed
from transformer_lab.cli import main
from transformer_lab.files.resources import resource
from transformer_lab.lessons import check, exercise, presets
from transformer_lab.lessons.graders import exercise_names, exercises_of, find, variable_exercises
from transformer_lab.lessons.grading import grade
from transformer_lab.lessons.homework.assignment import leaks, make_assignment, source_of
from transformer_lab.lessons.homework.steps import other_variant
from transformer_lab.lessons.listing import lesson_paths, number_of
from transformer_lab.lessons.presets import Lesson

NOTEBOOKS = {number_of(path): path for path in lesson_paths(resource("notebooks"))}
LESSONS = sorted({name.partition("/")[0] for name in variable_exercises()})


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFORMER_LAB_RUNS", str(tmp_path))
    return tmp_path


def judged(name, variant, function, answers="learner"):
    number, _, short = name.partition("/")
    lesson = Lesson(number, "quick", torch.device("cpu"), 0, answers, variant=variant)
    return check(exercise(short, lesson)(function), seconds=60)


# --- right answers, written differently from ours: value -> answer -------------------------------


def capped_with_sigmoid(cap):
    def attention(query, key, value):
        scores = torch.einsum("...qd,...kd->...qk", query, key) * query.shape[-1] ** -0.5
        return F.softmax(cap * (2 * torch.sigmoid(2 * scores / cap) - 1), -1) @ value

    return attention


def capped_row_by_row(cap):
    def attention(query, key, value):
        rows = []
        for i in range(query.shape[-2]):
            scores = (key * query[..., i : i + 1, :]).sum(-1) / math.sqrt(query.shape[-1])
            weights = torch.exp(torch.tanh(scores / cap) * cap)
            rows.append((weights[..., None] * value).sum(-2) / weights.sum(-1, keepdim=True))
        return torch.stack(rows, dim=-2)

    return attention


def window_by_distance(before):
    def causal(scores):
        n = torch.arange(scores.shape[-1])
        distance = n[:, None] - n
        return torch.where((distance >= 0) & (distance <= before), scores, -torch.inf)

    return causal


def window_with_loops(before):
    def causal(scores):
        masked = torch.full_like(scores, -1e9)
        for i in range(scores.shape[-1]):
            first = max(0, i - before)
            masked[..., i, first : i + 1] = scores[..., i, first : i + 1]
        return masked

    return causal


def sinusoids_with_loops(last):
    def sinusoids(length, d_model):
        factor = last ** (1 / (d_model // 2 - 1))
        rows = []
        for position in range(length):
            angles = [position / factor**i for i in range(d_model // 2)]
            rows.append([f(a) for a in angles for f in (math.sin, math.cos)])
        return torch.tensor(rows)

    return sinusoids


def sinusoids_with_logspace(last):
    def sinusoids(length, d_model):
        speeds = torch.logspace(0, -math.log10(last), d_model // 2, dtype=torch.float64)
        angles = torch.arange(length).outer(speeds)
        return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)

    return sinusoids


def bpe_with_spelling(most):
    def learn_bpe(words, n_merges, first):
        words, spelled, merges = [(tuple(ids), n) for ids, n in words], {}, []
        for new in range(first, first + n_merges):
            counts = Counter()
            for ids, n in words:
                for a, b in pairwise(ids):
                    spelling = spelled.get(a, (a,)) + spelled.get(b, (b,))
                    counts[a, b] += n if len(spelling) <= most else 0
            best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
            if best is None or counts[best] == 0:
                break
            merges.append(best)
            spelled[new] = sum((spelled.get(i, (i,)) for i in best), ())
            words = [(replaced(ids, best, new), n) for ids, n in words]
        return torch.tensor(merges)

    return learn_bpe


def replaced(ids, pair, new):
    result = []
    for i in ids:
        if result and (result[-1], i) == pair:
            result[-1] = new
        else:
            result.append(i)
    return tuple(result)


def bpe_that_sorts(most):
    def learn_bpe(words, n_merges, first):
        words, size, merges = [(list(ids), n) for ids, n in words], Counter(), []
        while len(merges) < n_merges:
            counts = Counter()
            for ids, n in words:
                for pair in pairwise(ids):
                    counts[pair] += n
            allowed = [p for p in sorted(counts) if (size[p[0]] or 1) + (size[p[1]] or 1) <= most]
            if not allowed:
                break
            best = max(allowed, key=counts.get)  # of equal ones the first, which is the smallest
            new = first + len(merges)
            merges.append(best)
            size[new] = sum(size[i] or 1 for i in best)
            words = [(list(replaced(ids, best, new)), n) for ids, n in words]
        return torch.tensor(merges)

    return learn_bpe


def prefix_by_column(size):
    def causal_mask(n_query, n_key):
        mask = torch.ones(n_key, n_key).tril().bool()[n_key - n_query :].clone()
        mask[:, :size] = True
        return mask

    return causal_mask


def prefix_with_loops(size):
    def causal_mask(n_query, n_key):
        queries = range(n_key - n_query, n_key)
        return torch.tensor([[k < max(size, q + 1) for k in range(n_key)] for q in queries])

    return causal_mask


def at_least_by_rank(least):
    def top_p(logits, p):
        chances = logits.softmax(-1)
        rank = chances.argsort(-1, descending=True).argsort(-1)
        likelier = (chances[..., None, :] > chances[..., :, None]) * chances[..., None, :]
        kept = chances * ((likelier.sum(-1) < p) | (rank < least))
        return kept / kept.sum(-1, keepdim=True)

    return top_p


def at_least_with_loops(least):
    def top_p(logits, p):
        rows = []
        for row in logits.reshape(-1, logits.shape[-1]):
            chances, kept, total = row.softmax(-1), [], 0.0
            for token in chances.argsort(descending=True).tolist():
                if total >= p and len(kept) >= least:
                    break
                kept.append(token)
                total += float(chances[token])
            rows.append(torch.full_like(row, -torch.inf))
            rows[-1][kept] = row[kept]
        return torch.stack(rows).softmax(-1).reshape(logits.shape)

    return top_p


def f_beta_of_counters(beta):
    def rouge_1(summary, reference):
        shared = Counter(summary.tolist()) & Counter(reference.tolist())
        if not shared:
            return torch.tensor(0.0)
        p, r = (sum(shared.values()) / len(text) for text in (summary, reference))
        return torch.tensor((1 + beta**2) * p * r / (beta**2 * p + r))

    return rouge_1


def f_beta_as_a_weighted_mean(beta):
    def rouge_1(summary, reference):
        overlap = sum(
            min((summary == w).sum(), (reference == w).sum()) for w in torch.unique(summary)
        )
        weight = 1 / (1 + beta**2)
        return overlap / (weight * len(summary) + (1 - weight) * len(reference))

    return rouge_1


def runs_of(words, n):
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))


def smoothed_from_the_start(added):
    def bleu(texts, references):
        counts = {n: [added * (n > 1)] * 2 for n in (1, 2, 3, 4)}
        for text, reference in zip(texts, references, strict=True):
            for n in counts:
                runs, wanted = runs_of(text, n), runs_of(reference, n)
                counts[n][0] += sum(min(k, wanted[run]) for run, k in runs.items())
                counts[n][1] += len(text) + 1 - n if len(text) >= n else 0
        if counts[1][0] == 0:
            return torch.tensor(0.0)
        c, r = sum(map(len, texts)), sum(map(len, references))
        brevity = 1 if c >= r else math.exp(1 - r / c)
        return torch.tensor(100 * brevity * math.prod(h / t for h, t in counts.values()) ** 0.25)

    return bleu


def smoothed_with_tensors(added):
    def bleu(texts, references):
        both = list(zip(texts, references, strict=True))
        hits = [sum((runs_of(a, n) & runs_of(b, n)).total() for a, b in both) for n in range(1, 5)]
        total = [sum(runs_of(a, n).total() for a, _ in both) for n in range(1, 5)]
        more = torch.tensor([0.0, added, added, added])
        mean = ((torch.tensor(hits) + more) / (torch.tensor(total) + more)).log().mean()
        ratio = sum(map(len, references)) / sum(map(len, texts))
        return 100 * (mean + min(0.0, 1 - ratio)).exp()

    return bleu


def near_with_loops(reach):
    def induction_score(pattern, tokens):
        scores = []
        for i in range(len(tokens)):
            near = [j for j in range(max(0, i - reach), i) if tokens[j] == tokens[i]]
            if near:
                scores.append(pattern[:, i, [j + 1 for j in near]].sum(-1))
        return torch.stack(scores).mean(0)

    return induction_score


def near_by_distance(reach):
    def induction_score(pattern, tokens):
        n = torch.arange(len(tokens))
        back = n[:, None] - n
        near = (tokens[:, None] == tokens) & (back > 0) & (back <= reach)
        rows = near.any(-1)
        return (pattern[..., 1:] * near[:, :-1]).sum(-1)[:, rows].sum(-1) / rows.sum()

    return induction_score


def gated_matrix_by_matrix(width):
    def training_flops(n_layers, d_model, vocab_size, n_ctx, tokens):
        matrices = 4 * [(d_model, d_model)] + 2 * [(d_model, width * d_model)]
        matrices += [(width * d_model, d_model)]
        forward = n_layers * sum(2 * a * b for a, b in matrices)
        attention = n_layers * 2 * (2 * n_ctx * d_model)
        parts = forward, attention, 2 * vocab_size * d_model
        return torch.tensor([tokens * (part + 2 * part) for part in parts])

    return training_flops


def gated_at_once(width):
    def training_flops(n_layers, d_model, vocab_size, n_ctx, tokens):
        weights = n_layers * d_model * torch.tensor([(4 + 3 * width) * d_model, 2 * n_ctx, 0])
        return 6 * tokens * (weights + torch.tensor([0, 0, vocab_size * d_model]))

    return training_flops


RIGHT = {
    "01/attention": (capped_with_sigmoid, capped_row_by_row),
    "01/causal": (window_by_distance, window_with_loops),
    "02/sinusoids": (sinusoids_with_loops, sinusoids_with_logspace),
    "06/learn_bpe": (bpe_with_spelling, bpe_that_sorts),
    "10/causal_mask": (prefix_by_column, prefix_with_loops),
    "11/top_p": (at_least_by_rank, at_least_with_loops),
    "14/rouge_1": (f_beta_of_counters, f_beta_as_a_weighted_mean),
    "16/bleu": (smoothed_from_the_start, smoothed_with_tensors),
    "19/induction_score": (near_with_loops, near_by_distance),
    "22/training_flops": (gated_matrix_by_matrix, gated_at_once),
}


def test_ten_exercises_of_seven_lessons_have_variants():
    assert set(RIGHT) == set(variable_exercises()) <= set(exercise_names())
    assert len(RIGHT) >= 10
    assert len(LESSONS) >= 7


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_to_each_variant_are_accepted(name):
    values = set()
    for number in range(1, len(find(*name.split("/")).values) + 1):
        grader = find(*name.split("/"), number)
        values.add(grader.value)
        for answer in (grader.reference, *(made(grader.value) for made in RIGHT[name])):
            result = judged(name, number, answer)
            assert result.passed, (number, result.diagnosis)
        assert judged(name, number, grader.book.reference, answers="solutions").passed
    assert len(values) == number >= 3  # consecutive numbers differ
    again = find(*name.split("/"), number + 1)
    assert again.change == find(*name.split("/"), 1).change


@pytest.mark.parametrize("name", RIGHT)
def test_last_terms_answers_and_each_mistake_are_named(name):
    for number in (1, 2, 3):
        grader = find(*name.split("/"), number)
        for suspect in grader.suspects:
            if len(suspect.mistakes) == 1:
                result = judged(name, number, suspect.function)
                assert suspect.sentence in result.diagnosis, (suspect.mistakes, result.diagnosis)
        result = judged(name, number, grader.book.reference)
        assert f"without its change. It reads: {grader.change}" in result.diagnosis
        result = judged(name, number, find(*name.split("/"), number + 1).reference)
        assert "This answers another variant of the exercise." in result.diagnosis
        # The exercise's own mistakes are still checked, if their line is there.
        kept = [mistake for mistake in grader.book.named if mistake in grader.named]
        assert len(kept) >= 4


def test_calls_run_the_exercise_of_the_lesson(runs):
    lesson = presets("01", variant=1)
    assert "· variant 1" in repr(lesson)
    grader = find("01", "causal", 1)
    mine = exercise("causal", lesson)(grader.reference)
    scores = torch.zeros(9, 9)
    wanted = grader.book.reference(scores)
    torch.testing.assert_close(mine(scores), wanted)
    assert grader.change in repr(mine)
    result = check(mine)
    assert result.passed
    assert "The cells below use the reference without the change of variant 1." in repr(result)
    torch.testing.assert_close(mine(scores), wanted)
    assert mine.used == "the reference causal"
    assert "Calls run the reference, without this change." in repr(mine)
    assert "01/causal" in json.loads((runs / "progress.json").read_text("utf-8"))["solved"]
    assert not (runs / "answers.json").exists()  # later lessons build on the exercise as it is
    # Exercises without variants, and calls without one, stay as they were.
    assert exercise("shift_matrix", presets("02", variant=1))(lambda: 0).variant is None
    for none in (0, None):
        assert exercise("causal", presets("01", variant=none))(lambda: 0).variant is None


@pytest.mark.parametrize("number", LESSONS)
def test_a_release_asks_for_the_change_and_holds_no_solution(number, tmp_path):
    """It differs from a release without a variant only by the changes, and its tests check them."""
    installed("nbgrader")
    import nbgrader.preprocessors as steps
    from traitlets.config import Config

    def released(variant):
        made = source_of(NOTEBOOKS[number], variant)
        nbformat.write(made, tmp_path / "source.ipynb")
        stub = Config({"ClearSolutions": {"code_stub": {"python": "raise NotImplementedError"}}})
        for step in (steps.ClearSolutions(config=stub), steps.ClearHiddenTests()):
            made, _ = step.preprocess(made, {})
        return {cell.id: cell for cell in made.cells}

    plain, varied = released(0), released(7)
    source = nbformat.read(tmp_path / "source.ipynb", as_version=4)
    nbformat.write(nbformat.v4.new_notebook(cells=list(varied.values())), tmp_path / "r.ipynb")
    assert [leak for leak in leaks(tmp_path / "r.ipynb", number, 7) if "outputs" not in leak] == []
    told = " ".join(leaks(tmp_path / "source.ipynb", number, 7))
    names = [name for name in exercises_of(number) if f"{number}/{name}" in RIGHT]
    changed = {key for key in varied if key not in plain or varied[key].source != plain[key].source}
    stubs = {
        key for key, cell in varied.items() if any(f'@exercise("{n}"' in cell.source for n in names)
    }
    assert changed == {"setup"} | stubs | {f"{stub}-variant" for stub in stubs}
    assert varied["setup"].source.count(", variant=7)") == 1
    for stub in stubs:
        [name] = [n for n in names if f'@exercise("{n}"' in varied[stub].source]
        grader = find(number, name, 7)
        assert f"it contains the solution of {name}" in told
        assert grader.change in varied[f"{stub}-variant"].source
        assert grader.change in " ".join(varied[stub].source.split())
        [test] = [c.source for c in source.cells if f'grade("{number}/{name}"' in c.source]
        exec(test, {name: grader.reference})
        with pytest.raises(AssertionError, match="without its change"):
            exec(test, {name: grader.book.reference})
        grade(f"{number}/{name}", grader.book.reference)


def test_a_notebook_made_for_another_variant_is_named(tmp_path):
    call = 'lesson = presets("01", seed=seed, answers=answers{})\nlesson'
    for folder, variant in (("autograded", ", variant=7"), ("submitted", ", variant=7")):
        (tmp_path / folder / "student" / "hw").mkdir(parents=True)
        write(tmp_path / folder, call.format(variant))
    assert other_variant(tmp_path, "hw") == []
    write(tmp_path / "submitted", call.format(", variant=3"))
    assert other_variant(tmp_path, "hw") == ["made for variant 3, but graded as variant 7"]
    for other in (call.format(""), "nothing"):
        write(tmp_path / "submitted", other)
        [note] = other_variant(tmp_path, "hw")
        assert note == "made for the exercises without variants, but graded as variant 7"


def write(folder, source):
    cells = [nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "student" / "hw" / "hw.ipynb")


@pytest.mark.badinput
@pytest.mark.parametrize("variant", [-1, 1.5, True, "7", float("nan")])
def test_a_variant_is_a_whole_number(variant):
    with pytest.raises(ValueError, match=r"^variant must be a whole number, 0 or more, got "):
        presets("01", variant=variant)


@pytest.mark.badinput
def test_a_lesson_without_variants_is_named(tmp_path):
    words = f"lesson 03 has no variants; lessons with variants: {', '.join(LESSONS)}."
    with pytest.raises(ValueError, match=words):
        presets("03", variant=1)
    presets("03", variant=0)
    with pytest.raises(ValueError, match=words):
        make_assignment(["01", "03"], tmp_path / "course", 1)
    assert not (tmp_path / "course").exists()
    options = ["assignment", "01", "--out", str(tmp_path / "course"), "--variant"]
    done = CliRunner().invoke(main, [*options, "-1"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "transformer-lab: variant must be a whole number, 0 or more, got -1"
    )
    assert "'x' is not a valid integer" in CliRunner().invoke(main, [*options, "x"]).output
    with pytest.raises(TypeError, match="did you mean 'variant'"):
        presets("01", variants=1)
