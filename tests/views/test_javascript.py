"""The views' pure functions under node, and what both halves must agree on."""

import dataclasses
import itertools
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import torch

from transformer_lab.heads.spans import follow_segments, why_not_between
from transformer_lab.views.heads.heads import map_sentence
from transformer_lab.views.shared.map_sentences import Seen
from transformer_lab.views.shared.messages import change_text, fixed

FILES = sorted((Path(__file__).parent / "js").glob("*.test.mjs"))
ALL = "for (const file of process.argv.slice(1)) await import(file);"


def even_maps():
    """Maps with exact ties: as if positions do not count and tokens recur, or a query has 2, 8, 10
    or 200 keys."""
    for n in (2, 3, 4, 8, 10, 16, 40, 200):
        yield torch.full((n, n), 1 / n)
        yield torch.full((n, n), 1.0).tril() / torch.arange(1, n + 1)[:, None]
        yield torch.tensor([3.0, 1.0]).repeat(n // 2)[None].expand(n // 2 * 2, -1) / (2 * n)
    yield torch.eye(8)
    yield torch.tensor([[0.995, 0.005], [0.625, 0.375]])


def off(weights):
    """The weights as another processor would compute them."""
    generator = torch.Generator().manual_seed(5)
    return weights * (1 + 3e-7 * torch.randn(weights.shape, generator=generator))


def test_sentences_do_not_depend_on_the_last_bits():
    """Maps of several shapes, and the same as another processor computes them."""
    generator = torch.Generator().manual_seed(2)
    maps = []
    for causal, sharpness, value_weighted in (
        (True, 1, False),
        (True, 9, False),
        (False, 0.1, False),
        (False, 30, False),
        (True, 3, True),
    ):
        scores = torch.randn(14, 14, generator=generator) * sharpness
        if causal:
            scores = scores.masked_fill(torch.ones(14, 14).triu(1).bool(), -torch.inf)
        weights = scores.softmax(-1)
        maps.append((weights, causal, value_weighted, False))
        for left in (0.75, 0.25, 0.002):  # per row: the rest goes to nothing
            maps.append((weights * left, causal, value_weighted, True))
    maps += [(m, bool((m.triu(1) == 0).all()), False, False) for m in even_maps()]
    sentences = set()
    for weights, causal, value_weighted, sinks in maps:
        n = len(weights)
        tokens = [f"t{i}" for i in range(n)]
        seen = Seen(
            "decoder",
            1,
            2,
            causal,
            tokens,
            tokens,
            causal,
            True,
            value_weighted,
            nothing=(1 - weights.sum(-1)).tolist() if sinks else None,
        )
        spread = dataclasses.replace(seen, over=", spread over 3 texts", spread=True)
        elsewhere = off(weights)
        for selected in (None, (0, None), (1, 0)):
            here, there = (map_sentence(spread, m, selected) for m in (weights, elsewhere))
            assert here == there
        places = ((None, None), (0, None), (9, None), (9, 3), (2, 12), (0, 0), (None, 4), (1, 0))
        for query, key in places:
            if max(query or 0, key or 0) >= n:
                continue
            here, there = (map_sentence(seen, m, (query, key)) for m in (weights, elsewhere))
            assert here == there
            sentences.add(here)
    assert len(sentences) > 100


def betweens():
    """Blocks of a map, with Python's reason why there is no sentence about one."""
    spans = [(0, 1), (0, 4), (3, 9), (5, 6), (9, 14)]
    cases = []
    for causal, same in ((True, True), (False, True), (False, False)):
        for a, b in itertools.product(spans, spans):
            why = why_not_between(a, b, same=same, ahead=0 if causal else None)
            cases.append(dict(causal=causal, same=same, a=a, b=b, why=why))
    assert {bool(case["why"]) for case in cases} == {True, False}
    return cases


def segments():
    """Named parts of a text of letters, before and after a change."""
    parts = {"a": (0, 3), "b": (3, 6), "none": (6, 6)}
    texts = (
        "abcdef",
        "abcdefgh",
        "abXcdef",
        "abcXdef",
        "aef",
        "abcYef",
        "abYYef",
        "abcde",
        "",
        "zzz",
    )
    return [
        [
            before,
            after,
            [*((name, *span) for name, span in follow_segments(parts, before, after).items())],
        ]
        for before in texts[:1]
        for after in texts
    ]


def changes():
    """Changes of every size, with Python's text for them."""
    sizes = [0, 0.0004, 0.0006, 0.003, 0.0049, 0.0051, 0.0149, 0.2, 0.996, 1]
    return [[sign * x, change_text(sign * x)] for x in sizes for sign in (1, -1)]


def test_a_small_change_is_a_number_with_its_sign():
    told = {text for _, text in changes()}
    assert {"0", "+0.001", "−0.003", "+0.005", "+0.01", "−0.20", "+1.00"} <= told
    assert not any("<" in text for text in told)


def test_halves_are_rounded_alike_whatever_the_last_bit():
    assert {fixed(x) for x in (0.125, 0.125 * (1 - 1e-7), 0.125 * (1 + 1e-7))} == {"0.13"}
    assert fixed(-0.125) == "−0.13" and fixed(0.1249) == "0.12" and fixed(0.03125, 4) == "0.0313"


@pytest.mark.needs("node")
def test_javascript(tmp_path):
    told = {"betweens": betweens(), "segments": segments()}
    (tmp_path / "sentences.json").write_text(json.dumps(told))
    environment = os.environ | {"TL_SENTENCES": str(tmp_path / "sentences.json")}
    # One process for all, since starting one takes longer than most files' tests. A file that
    # defines browser globals runs alone, so that no other test sees them.
    alone = [path for path in FILES if "globalThis." in path.read_text("utf-8")]
    together = [path.as_uri() for path in FILES if path not in alone]
    assert alone and len(together) > 10
    for command in (["--input-type=module", "-e", ALL, *together], ["--test", *map(str, alone)]):
        run = subprocess.run(
            ["node", *command], env=environment, capture_output=True, text=True, timeout=120
        )
        assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
        assert re.search(r"^\S+ fail 0$", run.stdout, re.MULTILINE)
