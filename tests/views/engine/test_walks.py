"""A walk through a block: the page's engine gives Python's numbers, for every kind of model."""

import re

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.adapters.families import tiny
from tests.factories import small
from tests.views.engine.cases import models
from tests.views.engine.node import CLOSE, answers, close, exported
from transformer_lab.views.block.data import BlockData

pytestmark = pytest.mark.needs("node")
NUMBER = re.compile(r"−?\d*\.\d+")


def chosen_models():
    """Pre- and post-norm, two norms a part, experts, sinks, attention only, long or wide."""
    ids, target = torch.arange(3, 11)[None], torch.arange(4, 10)[None]
    yield from (case for turn, case in enumerate(models()) if turn in (3, 10, 14))
    last = dict(norm_first=False, noise=0.2, positions="sinusoidal", activation="relu")
    yield small("encoder-decoder", **last), ids, target
    yield small("encoder-decoder", norm="rms", activation="swiglu", noise=0.2), ids, target
    yield small(attention_only=True, norm_first=False, noise=0.2, positions="alibi"), ids, None
    wide = small(n_heads=20, d_model=40, n_ctx=40, noise=0.2, positions="alibi")
    yield wide, torch.arange(33)[None] % 20, None
    for name in ("gemma2", "gpt_oss", "t5"):
        yield tiny(name), ids, target if name == "t5" else None


def walks_of(trace):
    """The first and the last layer of each stack, an early token and the last."""
    for kind in trace.kinds:
        if kind == "cross":
            continue
        n, layers = trace.shape(kind)[0], trace.n_layers(kind)
        for layer, head, position in {(0, 1, 2), (layers - 1, trace.n_heads(kind) - 1, n - 1)}:
            yield kind, layer, head, position


class Case:
    """A model, its text, and the questions to both sides."""

    def __init__(self, turn, model, ids, target):
        self.name, self.model = f"model{turn}", model.eval()
        self.trace = tl.trace(model, ids, target, keep="all", labels=None)
        self.trace.model_name = self.name
        self.blocks = BlockData(self.trace)
        self.walks = list(walks_of(self.trace))

    def plain(self, folder):
        """The graph, with its weights in a file, and the questions."""
        names = ("kind", "layer", "head", "position")
        asked = [
            dict(
                walk=dict(zip(names, walk, strict=True)),
                kinds=self.blocks.kinds(),
                python=self._told(walk),
            )
            for walk in self.walks
        ]
        ids, target = self.trace.tokens, self.trace.target
        return exported(folder, self.name, self.model, ids, target) | dict(asked=asked)

    def _told(self, walk):
        """Python's info and numbers; infinities as JSON reads them."""
        info, data = self.blocks.walk(*walk)
        told = [x if np.isfinite(x) else str(x).replace("inf", "Infinity") for x in floats(data)]
        return dict(info=info, numbers=told)


def floats(data):
    return np.frombuffer(data, "<f4").tolist()


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walks")
    made = [Case(turn, *one) for turn, one in enumerate(chosen_models())]
    found = answers("run_walks.mjs", folder, [case.plain(folder) for case in made])
    return list(zip(made, found, strict=True))


def same_sentence(a, b, where):
    """Assert that sentences are equal up to rounding in the last digit."""
    assert NUMBER.sub("#", a) == NUMBER.sub("#", b), where
    told = [[float(x.replace("−", "-")) for x in NUMBER.findall(text)] for text in (a, b)]
    assert np.allclose(*told, rtol=0, atol=0.0101), where


def test_every_step_through_a_block_is_pythons(cases):
    steps, names = 0, set()
    for case, results in cases:
        for walk, found in zip(case.walks, results, strict=True):
            (want, _), where = case.blocks.walk(*walk), (case.model.config, walk)
            assert "error" not in found, (where, found)
            info = found["info"]
            assert info.keys() >= want.keys() - {"cross", "hidden", "mlp", "mlp_reads", "values"}
            for name in ("kind", "layer", "head", "position", "shown", "norm", "mlp_norm", "after"):
                assert info[name] == want[name], where
            for name in ("scale", "nothing"):
                assert info[name] == pytest.approx(want[name], abs=CLOSE), where
            assert info["sizes"] == want["sizes"], where
            for name, values in found["python"].items():
                have = found["numbers"][name]
                assert [x is None for x in have] == [x is None for x in values], (where, name)
                close([x or 0 for x in have], [x or 0 for x in values], (where, name))
            stages, python = found["stages"], found["told"]
            assert [s["name"] for s in stages] == [s["name"] for s in python], where
            for have, told in zip(stages, python, strict=True):
                at = (*where, told["name"])
                same_sentence(have["sentence"], told["sentence"], at)
                for name in ("tab", "title", "formula", "vectors"):
                    assert have[name] == told[name], at
                assert (have["keys"] is None) == (told["keys"] is None), at
                if told["keys"]:
                    for name in ("columns", "beside", "keys", "vectors"):
                        assert have["keys"][name] == told["keys"][name], at
                    columns = zip(have["keys"]["numbers"], told["keys"]["numbers"], strict=True)
                    for a, b in columns:
                        assert [x is None for x in a] == [x is None for x in b], at
                        close([x or 0 for x in a], [x or 0 for x in b], at)
                assert [x for x, *_ in have["answers"]] == [x for x, *_ in told["answers"]], at
                for (_, *a), (_, *b) in zip(have["answers"], told["answers"], strict=True):
                    assert [x is None for x in a] == [x is None for x in b], at
                    close([x or 0 for x in a], [x or 0 for x in b], at)
                steps, names = steps + 1, names | {told["name"]}
    assert steps > 300
    every = "stream norm product scale mask softmax values heads add cross norm2 mlp add2 answer"
    assert names == set(every.split())
