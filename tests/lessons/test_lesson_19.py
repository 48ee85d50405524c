"""The checks of lesson 19 accept right answers, however written, and name mistakes."""

import ast
import json
from itertools import combinations
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import transformer_lab as tl
from tests.lessons.answers import checks_of
from transformer_lab.lessons.solutions import lesson_19 as solutions

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def score_with_loops(pattern, tokens):
    ids, rows = tokens.tolist(), []
    for query, token in enumerate(ids):
        places = [key + 1 for key in range(query) if ids[key] == token]
        if places:
            rows.append(pattern[:, query, places].sum(-1))
    return torch.stack(rows).mean(0)


def score_with_where(pattern, tokens):
    n = len(tokens)
    query, key = torch.arange(n)[:, None], torch.arange(n)[None]
    wanted = (key >= 1) & (key <= query) & (tokens.roll(1)[None] == tokens[:, None])
    wanted &= key - 1 < query
    total = torch.where(wanted, pattern, 0.0).sum(dim=(1, 2))
    return total / wanted.any(1).sum()


def without_by_sum(z, w_out, head):
    width, out = z.shape[-1], 0.0
    for other in range(z.shape[1]):
        if other != head:
            out = out + z[:, other] @ w_out[:, other * width : (other + 1) * width].T
    return out


def without_by_columns(z, w_out, head):
    weight = w_out.clone().unflatten(1, z.shape[1:2] + z.shape[3:])
    weight[:, head] = 0
    return torch.einsum("bhpd,ohd->bpo", z, weight)


def without_by_mask(z, w_out, head):
    keep = (torch.arange(z.shape[1]) != head).to(z.dtype)[None, :, None, None]
    return F.linear((z * keep).permute(0, 2, 1, 3).flatten(2), w_out)


def group_by_sets(right, n_heads, level):
    """With sets, and `min` with a key."""
    group = []
    for _ in range(n_heads):
        if right(group) <= level:
            break
        group += [min(set(range(n_heads)) - set(group), key=lambda head: right({*group, head}))]
    kept = set(group)
    for head in group:
        if right(kept - {head}) <= level:
            kept.remove(head)
    return torch.tensor(list(kept)).sort().values


def group_by_mask(right, n_heads, level):
    """With a boolean mask of the heads that are off."""

    def left(off):
        return right(off.nonzero().flatten().tolist())

    off, order = torch.zeros(n_heads, dtype=torch.bool), []
    while left(off) > level and not off.all():
        each = torch.tensor(
            [9.0 if off[h] else left(off | one) for h, one in enumerate(torch.eye(n_heads).bool())]
        )
        order.append(int(each.argmin()))
        off[order[-1]] = True
    for head in order:
        off[head] = False
        off[head] = left(off) > level
    return off.nonzero()[:, 0]


def smallest_of_all(right, n_heads, level):
    """The true optimum: try every group, small ones first."""
    for size in range(n_heads + 1):
        for group in combinations(range(n_heads), size):
            if right(group) <= level:
                return torch.tensor(group)
    return torch.arange(n_heads)


def test_a_minimal_group_need_not_be_the_smallest():
    def right(off):
        return 0.0 if {3, 4} <= set(off) else 1 - len({0, 1, 2} & set(off)) / 3

    assert smallest_of_all(right, 5, 0.1).tolist() == [3, 4]
    group = solutions.minimal_group(right, 5, 0.1).tolist()
    assert group == [0, 1, 2]
    assert right(group) <= 0.1 < min(right([h for h in group if h != head]) for head in group)


def projected(z, w):
    return z.transpose(1, 2).flatten(2) @ w.T


RIGHT = {
    "minimal_group": (group_by_sets, group_by_mask, smallest_of_all),
    "induction_score": (
        score_with_loops,
        score_with_where,
        lambda p, t: score_with_loops(p.bfloat16(), t),
    ),
    "without_head": (
        without_by_sum,
        without_by_columns,
        without_by_mask,
        lambda z, w, h: without_by_mask(z.bfloat16(), w.bfloat16(), h),
    ),
}
WRONG = {
    "minimal_group": {
        "shares": (
            lambda right, n, level: torch.tensor([right([h]) for h in range(n)]),
            "whole numbers",
        )
    },
    "without_head": {
        "in place": (
            lambda z, w, h: projected(z.index_fill_(1, torch.tensor([h]), 0), w),
            "changes the tensor",
        )
    },
}


test_right, test_odd, test_wrong = checks_of("19", RIGHT, WRONG)


def test_the_solutions_agree_with_the_package():
    torch.manual_seed(0)
    config = tl.ModelConfig(vocab_size=9, n_layers=1, n_heads=3, d_model=12, n_ctx=16, bias=False)
    model = tl.Transformer(config).eval()
    tokens = torch.tensor([4, 7, 5, 8, 4, 7, 5, 4])
    trace = tl.trace(model, tokens)
    score = solutions.induction_score(trace.pattern(0), tokens)
    torch.testing.assert_close(score, tl.heads.induction(trace)[0])

    class Catch(tl.Tap):
        def on_heads(self, call, z):
            self.z = z
            return z

    seen, model_z = Catch(), model
    model_z.add_tap(seen)
    with torch.no_grad():
        model(tokens[None])
    model_z.remove_tap(seen)
    weight = model.decoder.blocks[0].attention.out.weight
    with tl.edit(model, tl.ablate(0, 1)):
        edited = tl.trace(model, tokens, keep="all").residual()["attn_out"][0]
    torch.testing.assert_close(solutions.without_head(seen.z, weight, 1)[0], edited)


@pytest.mark.parametrize("lesson", ["19_circuits", "21_research_desk"])
def test_labels_that_a_lesson_prints_are_those_that_its_explorer_shows(lesson):
    """Both read the same model with the same tokenizer. A probe omits the tokenizer's special
    tokens; a bare model names none, so its heads would get other labels."""
    book = json.loads((NOTEBOOKS / f"{lesson}.ipynb").read_text("utf-8"))
    source = "\n".join("".join(c["source"]) for c in book["cells"] if c["cell_type"] == "code")
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    given = {"tl.heads.labels": set(), "tl.explore": set()}
    for call in calls:
        if (name := ast.unparse(call.func)) in given:
            given[name].add(ast.unparse(call.args[0]))
    assert given["tl.heads.labels"] and given["tl.heads.labels"] <= given["tl.explore"]
