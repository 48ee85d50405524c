"""Sources of a score and flows to a logit: a page's graphs give Python's numbers, for all kinds."""

from itertools import islice

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.adapters.families import tiny
from tests.views.engine.cases import models
from tests.views.engine.node import CLOSE, answers, close, exported
from transformer_lab.views import WhyView
from transformer_lab.views.flow.data import FlowData, edits_of
from transformer_lab.views.why.data import CellBytes
from transformer_lab.views.why.view import numbers_of

pytestmark = pytest.mark.needs("node")
# Ours: rotary and query norms, a non-linear head, two post-norm stacks. Others: two norms a part,
# experts and sinks, biases everywhere, keys in two parts.
CHOSEN = (3, 4, 23, "gemma2", "gpt_oss", "bart", "deepseek_v3")
REFUSED = {4: "do not sum to", 23: "several stacks", "bart": "several stacks"}


def model_of(name):
    """(model, tokens, target)."""
    if isinstance(name, int):
        return next(islice(models(), name, None))
    model = tiny(name)
    target = torch.arange(4, 10)[None] if model.config.is_encoder_decoder else None
    return model, torch.arange(3, 11)[None], target


def cells_of(trace):
    """The first and last layer of each kind; a late and an early query; a key that is not best."""
    for kind in trace.kinds:
        queries, keys = trace.shape(kind)
        for layer, head in {(0, 1), (trace.n_layers(kind) - 1, 2)}:
            for query, key in ((queries - 1, min(1, keys - 1)), (1, 0)):
                yield dict(kind=kind, layer=layer, head=head, query=query, key=key)


def flows_of(trace, data):
    """To the likeliest token, or another against a third; with one edge cut, and with two."""
    n = trace.shape(trace.kinds[0])[0]
    token = data.likeliest(n - 1)
    yield n - 1, None, None, ()
    yield 2, (token + 1) % 9, (token + 4) % 9, ()
    yield n - 1, token, None, ((0, 1, n - 1, n - 2),)
    yield n - 1, None, None, ((0, 0, 2, 0), (1, 2, n - 1, n - 1))


class Case:
    """A model, its text, and the questions to both sides."""

    def __init__(self, name):
        self.name = str(name)
        self.model, ids, target = model_of(name)
        self.trace = tl.trace(self.model, ids, target, keep="all", labels=None)
        self.cells, self.flows = list(cells_of(self.trace)), [(2, None, None, ())]
        if name not in REFUSED:
            self.flows = list(flows_of(self.trace, FlowData(self.trace, 0, None)))

    def written(self, folder):
        """The graphs, with the weights in a file."""
        ids, target = self.trace.tokens, self.trace.target
        flows = [
            dict(
                position=at,
                token=token,
                against=against,
                edits=[e.to_dict() for e in edits_of(cuts)],
            )
            for at, token, against, cuts in self.flows
        ]
        graph = exported(folder, self.name, self.model, ids, target, written=True)
        return graph | dict(cells=self.cells, flows=flows)


@pytest.fixture(scope="module", params=CHOSEN)
def both(request, tmp_path_factory):
    folder, case = tmp_path_factory.mktemp("written"), Case(request.param)
    return request.param, case, answers("run_written.mjs", folder, case.written(folder))


def test_a_score_is_split_by_who_wrote_it_as_python_splits_it(both):
    (_, case, results), split = both, 0
    view = WhyView(case.trace)
    for cell, found in zip(case.cells, results["scores"], strict=True):
        where = (cell["kind"], cell["layer"], cell["head"], cell["query"], cell["key"])
        wanted, info = view._data.cell(*where), found["info"]
        assert wanted.info["why_no_sources"] == info["why_no_sources"] == "", where
        assert info["sources"] == wanted.info["sources"], where
        numbers = numbers_of(CellBytes(info, np.float32(found["numbers"]).tobytes()))
        for name, want in numbers_of(wanted)["splits"].items():
            have, size = numbers["splits"][name], max(1.0, abs(want["table"]).max())
            for side in ("query", "key"):
                assert np.allclose(have[side], want[side], rtol=0, atol=CLOSE * size), where
            mine, theirs = info["splits"][name], wanted.info["splits"][name]
            # Two parts of equal size may come in either order.
            if (mine["rows"], mine["columns"]) == (theirs["rows"], theirs["columns"]):
                assert np.allclose(have["table"], want["table"], atol=CLOSE * size), where
                split += 1
        assert list(info["splits"]) == list(wanted.info["splits"]), where
    assert split > 3


def test_the_flow_to_a_logit_is_pythons_under_every_cut(both):
    (name, case, results), edges = both, 0
    if name in REFUSED:
        (found,) = results["flows"]
        assert found["error"].startswith("the flow to a logit cannot be computed: ")
        assert case.name in found["error"] and REFUSED[name] in found["error"]
        return
    for (position, token, against, cuts), found in zip(case.flows, results["flows"], strict=True):
        where = (name, position, token, against, cuts)
        assert "error" not in found, (found, where)
        want = FlowData(case.trace, 0, against).found(position, token, cuts)
        flow = want.flow
        assert found["token"] == flow.token and found["count"] == want.n, where
        for part in ("logit", "constant"):
            close(found[part], getattr(flow, part), where)
        for part in ("total", "before", "after"):
            close(found[part], getattr(want, part), where)
        for part in ("stream", "stays", "mlps"):
            close(found[part], getattr(flow, part), (*where, part))
        assert [a["id"] for a in found["answers"]] == [i for i, *_ in want.answers], where
        answers = [[a["before"], a["after"]] for a in found["answers"]]
        close(answers, [x for _, *x in want.answers], where)
        # Two edges of exactly equal flow may come in either order.
        assert len(found["edges"]) == len(want.values), where
        values = [e["value"] for e in found["edges"]]
        places = torch.tensor([e["place"] for e in found["edges"]])
        close(values, flow.edges[tuple(places.T)], where)
        close(np.abs(values), want.values.abs(), where)
        edges += len(found["edges"])
    assert edges > 300
