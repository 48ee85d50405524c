import json

import pytest
import torch
import traitlets
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import small
from transformer_lab.analysis.circuits import token_flow
from transformer_lab.views import FlowView
from transformer_lab.views.flow.data import flow_name, read_name
from transformer_lab.views.shared.messages import messages

TOKENS = torch.tensor([5, 9, 11, 5, 7, 3])


@pytest.fixture
def model():
    return small(noise=0.2)


@pytest.fixture
def trace(model):
    return tl.trace(model, TOKENS, keep="all")


def asked(view, name):
    message, buffers = view._answer({"type": "block", "name": name})
    return message["info"], torch.frombuffer(bytearray(buffers[0]), dtype=torch.float32)


def test_what_travels_is_the_flow(trace):
    view = FlowView(trace, 4, 3)
    flow = token_flow(trace, 4, 3)
    info, data = asked(view, "flow/3/4/-")
    n = info["edges"]
    places, values = data[: 4 * n].reshape(n, 4).int().tolist(), data[4 * n : 5 * n]
    assert info["n"] == int((flow.edges != 0).sum()) and n == min(300, info["n"])
    for place, value in zip(places, values, strict=True):
        assert float(value) == float(flow.edges[tuple(place)])
    assert bool((values.abs().diff() <= 0).all())
    assert info["total"] == pytest.approx(float(flow.edges.double().sum()), abs=1e-5)
    rest = torch.cat([x.flatten() for x in (flow.stream, flow.stays, flow.mlps)])
    assert_close(data[5 * n :], rest)
    assert (info["token"], info["position"], info["logit"]) == (4, 3, flow.logit)
    probability = trace.logits[0, 3].softmax(-1)
    assert info["before"] == info["after"] == pytest.approx(float(probability[4]))
    assert [answer[0] for answer in info["answers"]] == [4, *probability.topk(4).indices.tolist()]


def test_an_edge_that_is_cut_is_cut_in_the_model(model, trace):
    view = FlowView(trace)
    before, edge = view.found, tuple(view.found.places[0].tolist())
    layer, head, query, key = edge
    view.cuts = [edge]
    with tl.edit(model, tl.knock_out(layer, head, query=query, key=key)):
        after = tl.trace(model, TOKENS, keep="all")
        flow = token_flow(after, before.flow.token)
    assert_close(view.found.flow.edges, flow.edges)
    now = after.logits[0, -1].softmax(-1)
    assert view.found.after == pytest.approx(float(now[before.flow.token]), abs=1e-6)
    assert view.found.before == before.before != view.found.after
    assert float(view.found.flow.edges[edge]) == 0 and edge not in map(
        tuple, view.found.places.tolist()
    )
    assert view.sentence.startswith("With 1 edge cut, P(") and " → " in view.sentence
    assert [edit.code() for edit in view.edits] == [
        f"tl.knock_out(layer={layer}, head={head}, query={query}, key={key})"
    ]
    assert view.to_dict()["computed"]["edits"] == [repr(view.edits[0])]
    info, _ = asked(view, flow_name(5, None, [edge]))
    assert info["cuts"] == [list(edge)] and info["after"] == view.found.after
    view.cuts = []
    assert view.found.after == before.before
    assert_close(token_flow(trace).edges, before.flow.edges)  # the model is unchanged


def test_a_threshold_thins_the_edges_and_what_is_left_out_is_told(trace):
    view = FlowView(trace)
    sizes = view.found.values.abs()
    for threshold in (0.0, 0.2, 1.0):
        view.threshold = threshold
        assert view.shown == int((sizes >= threshold * sizes[0]).sum())
        told = view.to_dict()["arrays"]
        assert len(told["carried"]["values"]) == view.shown
        rest = view.found.total - sum(told["carried"]["values"])
        assert f"{abs(rest):.2f}" in view.sentence
        assert f"The {view.shown} largest of {view.found.n:,} edges are drawn" in view.sentence
    assert view.shown == 1


def test_a_page_holds_the_cuts_of_the_largest_edges(trace):
    view = FlowView(trace)
    names = [block.name for block in view._blocks()]
    largest = [tuple(place) for place in view.found.places[:24].tolist()]
    assert names == [flow_name(5, None, [edge]) for edge in largest]
    view.cuts = largest[:1]
    names = [block.name for block in view._blocks()]
    assert flow_name(5, None, []) in names
    assert all(len(read_name(name)[2]) in (0, 2) for name in names)


def test_the_text_of_a_batch_that_is_meant(model):
    both = tl.trace(model, torch.stack((TOKENS, TOKENS.flip(0))), keep="all")
    view = FlowView(both, batch=1)
    alone = FlowView(tl.trace(model, TOKENS.flip(0), keep="all"))
    assert_close(view.found.flow.edges, alone.found.flow.edges)
    edge = tuple(view.found.places[0].tolist())
    view.cuts = alone.cuts = [edge]
    assert view.found.after == pytest.approx(alone.found.after, abs=1e-6)


def test_a_circuit_is_laid_over_with_its_scores(model, trace):
    other = TOKENS.clone()
    other[2] = 12
    circuit = tl.circuit(model, TOKENS, other, metric=(4, 8), n=20, draws=2)
    view = FlowView(trace, circuit=circuit)
    heads = {tuple(map(int, node[1:].split(".h"))) for node in circuit.nodes if ".h" in node}
    assert set(map(tuple, view._circuit["heads"])) == heads and heads
    assert view._circuit["sentence"] == f"The circuit: {circuit.sentence}"
    assert view._scene().panels[0][0].mark.heads == heads
    view._options = {"circuit": False}
    assert view._scene().panels[0][0].mark.heads is None
    json.dumps(view._circuit)
    with pytest.raises(ValueError, match="circuit is a dict"):
        FlowView(trace, circuit={})
    bigger = tl.edge_scores(small(n_layers=4, noise=0.2), TOKENS, other, metric=(4, 8), by="eap")
    with pytest.raises(ValueError, match="has 2 layers of 4 heads"):
        FlowView(trace, circuit=bigger.circuit(edges=["input->a3.h0<v>", "a3.h0->logits"], draws=0))


def test_sentences():
    values = dict(
        token="key",
        against=None,
        at=".",
        position=14,
        logit=10.25,
        layer=2,
        head=2,
        key=5,
        query=14,
        value=-3.484,
        to=".",
        itself=False,
        shown=14,
        n=1500,
        rest=-0.001,
        cuts=0,
        **{"from": "key"},
    )
    assert messages("flow")("sentence", **values) == (
        "“key” after “.” (14): its logit is +10.25. The largest edge, of layer 2, head 2 from “key” (5) to "
        "“.” (14), carries −3.48, against it. The 14 largest of 1,500 edges are drawn; all smaller ones "
        "together add +0.00."
    )
    values |= dict(cuts=2, before=0.9, after=0.031, answer="a", probability=0.5, against="b")
    assert messages("flow")("sentence", **{**values, "itself": True, "value": 3.484}) == (
        "With 2 edges cut, P(“key”): 90% → 3%; now “a” is the most likely (50%). “key” over “b” after "
        "“.” (14): the logit difference is +10.25. The largest edge, of layer 2, head 2 at “key” (5) itself, "
        "carries +3.48 toward it. The 14 largest of 1,500 edges are drawn; all smaller ones together add +0.00."
    )


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(position=9), "position=9 is outside the 6 tokens"),
        (dict(token=99), "token=99 is outside 0 … 49"),
        (dict(token=-1), "token=-1 is outside 0 … 49"),
        (dict(against=99), "against=99 is outside 0 … 49"),
        (dict(cuts=[(0, 1)]), r"cuts holds \(0, 1\), which is no"),
        (dict(cuts=[(0, 9, 1, 1)]), r"cuts holds \(0, 9, 1, 1\): head=9 is outside 0 … 3"),
        (dict(cuts=[(0, 1, 9, 1)]), "query=9 is outside 0 … 5"),
        (dict(threshold=2.0), "threshold=2.0 is outside 0 … 1"),
        (dict(batch=3), "batch=3 is outside the 1 texts"),
    ],
)
def test_what_is_not_there_is_refused(trace, options, words):
    with pytest.raises((ValueError, traitlets.TraitError), match=words):
        FlowView(trace, **options)
    view = FlowView(trace)
    for name in options.keys() & {"position", "token", "cuts", "threshold"}:  # set later
        with pytest.raises(traitlets.TraitError, match=name):
            setattr(view, name, options[name])


@pytest.mark.badinput
def test_what_has_no_flow_is_refused(trace):
    with pytest.raises(ValueError, match=r"give what transformer_lab\.trace"):
        FlowView(3)
    long = tl.trace(small(n_ctx=300), torch.ones(257, dtype=torch.long))
    with pytest.raises(ValueError, match="257 tokens; a flow is drawn of up to 256"):
        FlowView(long)
    both = tl.trace(small("encoder-decoder"), TOKENS, TOKENS[..., :3])
    with pytest.raises(ValueError, match="several stacks"):
        FlowView(both)
    view = FlowView(trace)
    for name in ("flow/1", "flow/1/2/3.4", "cell/1/2/3"):
        with pytest.raises(ValueError, match="names no flow"):
            view._answer({"type": "block", "name": name})
    with pytest.raises(ValueError, match="knows no"):
        view._answer({"type": "other"})
