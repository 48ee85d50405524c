"""A walk through a block and the flow to a logit: the page's engine gives what Python gives, for every
kind of model."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.factories import small
from tests.hub.families import tiny
from tests.views.engine.cases import models
from transformer_lab.files.models import describe, model_tensors
from transformer_lab.files.safefiles import write_tensors
from transformer_lab.graphs.export import export_graph
from transformer_lab.hub.network import Inputs
from transformer_lab.hub.which import network_of
from transformer_lab.views.block.data import BlockData
from transformer_lab.views.flow.data import FlowData, edits_of
from transformer_lab.views.pages.carried import config_of

pytestmark = pytest.mark.needs("node")
HERE = Path(__file__).parent
CLOSE = 1e-4
NUMBER = re.compile(r"−?\d*\.\d+")


def more_models():
    """Beside those of every configuration: norms last with nothing but attention, and many tokens and heads."""
    yield small(attention_only=True, norm_first=False, noise=0.2), torch.arange(6)[None], None
    wide = small(n_heads=20, d_model=40, n_ctx=40, noise=0.2, positions="alibi")
    yield wide, torch.arange(33)[None] % 20, None


def graph_models():
    """Those that a page has as a graph: norms first and last, two norms a part, experts and sinks."""
    ids, target = torch.arange(3, 11)[None], torch.arange(4, 10)[None]
    last = dict(norm_first=False, noise=0.2, positions="sinusoidal", activation="relu")
    yield small("encoder-decoder", **last), ids, target
    yield small("encoder-decoder", norm="rms", activation="swiglu", noise=0.2), ids, target
    yield small(attention_only=True, norm_first=False, noise=0.2, positions="alibi"), ids, None
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


def flows_of(trace, data):
    """Toward the likeliest and toward another, above a third; with an edge cut, and with two."""
    n = trace.shape(trace.kinds[0])[0]
    token = data.likeliest(n - 1)
    yield n - 1, None, None, ()
    yield 2, (token + 1) % 9, (token + 4) % 9, ()
    yield n - 1, token, None, ((0, 1, n - 1, 1),)
    yield n - 1, None, None, ((0, 0, 2, 0), (1, 2, n - 1, n - 1))


class Case:
    """A model and its text, and what is asked of both sides."""

    def __init__(self, turn, model, ids, target, file=None):
        self.name, self.model = f"model{turn}", model
        self.is_graph = file is not None
        self.trace = tl.trace(model, ids, target, keep="all", labels=None)
        self.trace.model_name = self.name
        self.blocks = BlockData(self.trace)
        self.walks = list(walks_of(self.trace))
        self.flows, self.refused = [], ""
        if self.is_graph:
            self._export(file, Inputs(ids, target))
            self.inputs = {"tokens": ids[0].tolist()}
            self.inputs |= {} if target is None else {"target": target[0].tolist()}
            return
        try:
            self.flow = FlowData(self.trace, 0, None)
            self.flow.found(2, None, ())
            self.flows = list(flows_of(self.trace, self.flow))
        except ValueError as error:
            self.refused = str(error)
        self.inputs = {"tokens": ids[0].tolist()}
        if target is not None:
            self.inputs["target"] = target[0].tolist()

    def _export(self, folder, example):
        network = network_of(self.model.eval())
        graph = export_graph(network, example)
        weights = {name: x.float().contiguous() for name, x in graph.weights.items()}
        write_tensors(folder / f"{self.name}.safetensors", weights, {})
        config = config_of(network, graph, example, self.name)
        self.about = dict(config=config, graph=graph.description())

    def plain(self):
        asked = [dict(walk=dict(zip(("kind", "layer", "head", "position"), walk, strict=True)),
                      around=self._around(walk)) for walk in self.walks]  # fmt: skip
        if self.is_graph:
            return dict(name=self.name, **self.about, inputs=self.inputs, asked=asked)
        flows = self.flows or [(2, None, None, ())]
        asked += [dict(flow=dict(position=at, token=token, against=against, edits=[e.to_dict() for e in edits_of(cuts)]))
                  for at, token, against, cuts in flows]  # fmt: skip
        config = describe(self.model)
        return dict(name=self.name, config=config, inputs=self.inputs, asked=asked)

    def _around(self, walk):
        kind, layer, *_ = walk
        last = layer == self.trace.n_layers(kind) - 1
        return dict(
            tokens=self.blocks.tokens[kind], last=last, here="decoder" not in self.trace.kinds
        )


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walks")
    made = [Case(turn, *one) for turn, one in enumerate([*models(), *more_models()])]
    graphs = [Case(100 + turn, *one, folder) for turn, one in enumerate(graph_models())]
    for case in made:
        write_tensors(folder / f"{case.name}.safetensors", model_tensors(case.model), {})
    (folder / "models.json").write_text(json.dumps([case.plain() for case in [*made, *graphs]]))
    node = ["node", str(HERE / "run_walks.mjs"), str(folder)]
    done = subprocess.run(node, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return list(
        zip([*made, *graphs], json.loads((folder / "results.json").read_text()), strict=True)
    )


def close(a, b, where):
    a, b = np.asarray(a, float), np.asarray(b, float)
    assert a.shape == b.shape, where
    assert np.allclose(a, b, rtol=0, atol=CLOSE * max(1.0, float(np.abs(b).max(initial=0)))), where


def same_sentence(a, b, where):
    """But for a last digit, where rounding falls to either side."""
    assert NUMBER.sub("#", a) == NUMBER.sub("#", b), where
    told = [[float(x.replace("−", "-")) for x in NUMBER.findall(text)] for text in (a, b)]
    assert np.allclose(*told, rtol=0, atol=0.0101), where


def test_every_step_through_a_block_is_pythons(cases):
    steps, names = 0, set()
    for case, results in cases:
        for walk, found in zip(case.walks, results, strict=False):
            wanted, where = case.blocks.walk(*walk), (case.model.config, walk)
            assert "error" not in found, (where, found)
            info, want = found["info"], wanted.info
            for name in ("kind", "layer", "head", "position", "shown", "all"):
                assert info[name] == want[name], where
            assert info["rest"] == pytest.approx(want["rest"], abs=CLOSE)
            assert [s["name"] for s in info["stages"]] == [s["name"] for s in want["stages"]], where
            for have, told in zip(info["stages"], want["stages"], strict=True):
                at = (*where, told["name"])
                same_sentence(have["sentence"], told["sentence"], at)
                for name in ("tab", "title", "formula", "vectors"):
                    assert have[name] == told[name], at
                assert (have["keys"] is None) == (told["keys"] is None), at
                if told["keys"]:
                    assert have["keys"]["columns"] == told["keys"]["columns"], at
                    assert have["keys"]["vectors"] == told["keys"]["vectors"], at
                    columns = zip(have["keys"]["numbers"], told["keys"]["numbers"], strict=True)
                    for a, b in columns:
                        assert [x is None for x in a] == [x is None for x in b], at
                        close([x or 0 for x in a], [x or 0 for x in b], at)
                assert [x for x, *_ in have["answers"]] == [x for x, *_ in told["answers"]], at
                for (_, *a), (_, *b) in zip(have["answers"], told["answers"], strict=True):
                    assert [x is None for x in a] == [x is None for x in b], at
                    close([x or 0 for x in a], [x or 0 for x in b], at)
                steps, names = steps + 1, names | {told["name"]}
            close(found["numbers"], np.frombuffer(wanted.data, "<f4"), where)
    assert steps > 1000
    every = "stream norm product scale mask softmax values heads add cross norm2 mlp add2 answer"
    assert names == set(every.split())


def test_the_flow_to_a_logit_is_pythons_under_every_cut(cases):
    edges = refused = 0
    for case, results in cases:
        results = results[len(case.walks) :]
        if case.is_graph:
            continue
        if case.refused:
            refused += 1
            assert results[0]["error"].startswith("the flow to a logit cannot be computed: "), (
                case.refused
            )
            continue
        for (position, token, against, cuts), found in zip(case.flows, results, strict=True):
            where = (case.model.config, position, token, against, cuts)
            want = FlowData(case.trace, 0, against).found(position, token, cuts)
            flow = want.flow
            assert found["token"] == flow.token and found["count"] == want.n, where
            for name in ("logit", "constant"):
                close(found[name], getattr(flow, name), where)
            for name in ("total", "before", "after"):
                close(found[name], getattr(want, name), where)
            for name in ("stream", "stays", "mlps"):
                close(found[name], getattr(flow, name), (*where, name))
            assert [a["id"] for a in found["answers"]] == [i for i, *_ in want.answers], where
            close(
                [[a["before"], a["after"]] for a in found["answers"]],
                [x for _, *x in want.answers],
                where,
            )
            # Of edges that carry as much to the last bit either may come first.
            assert len(found["edges"]) == len(want.values), where
            close(
                [e["value"] for e in found["edges"]],
                flow.edges[tuple(torch.tensor([e["place"] for e in found["edges"]]).T)],
                where,
            )
            close(np.abs([e["value"] for e in found["edges"]]), want.values.abs(), where)
            edges += len(found["edges"])
    assert edges > 12_000 and refused >= 12
