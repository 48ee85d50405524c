"""The flow to a logit, against a hand-written pass with frozen patterns and norms, less one
edge; and its sums."""

import pytest
import torch

import transformer_lab as tl
from tests.analysis.patching.scenes import MODELS, noisy
from tests.factories import maps_only, small
from tests.missing import package
from transformer_lab.analysis.circuits import logit_attribution, token_flow

TOKENS = torch.tensor([5, 9, 11, 5, 7, 3])


def gemma():
    """A model with norms after each part, and a softcap."""
    T = package("transformers")
    torch.manual_seed(0)
    config = T.Gemma2Config(
        vocab_size=50,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        hidden_size=32,
        intermediate_size=48,
        max_position_embeddings=32,
        sliding_window=4,
    )
    return noisy(T.Gemma2ForCausalLM(config))


@torch.no_grad()
def held(model, trace, token, position, without=None):
    """Compute a decoder's logit with the trace's patterns and RMS norms; no biases."""
    x = model.embedding(TOKENS) * (model.config.d_model**0.5 if model.config.scale_embedding else 1)
    scale = lambda stream: (stream.square().mean(-1, keepdim=True) + 1e-6).rsqrt()  # noqa: E731
    for i, block in enumerate(model.decoder.blocks):
        before = trace.activation("resid_pre", i)[0]
        h = x * scale(before) * block.norm1.weight
        pattern, a = trace.pattern(i).clone(), block.attention
        if without is not None and without[0] == i:
            pattern[without[1:]] = 0
        v = a.value(h).unflatten(-1, (a.n_kv_heads, -1)).transpose(0, 1)
        z = pattern.to(v) @ v.repeat_interleave(a.n_heads // a.n_kv_heads, 0)
        x = x + a.out(z.transpose(0, 1).flatten(1))
        if block.feed_forward is not None:
            x = x + trace.activation("mlp_out", i)[0]
    last = trace.activation("resid_post", len(model.decoder) - 1)[0]
    return float((x * scale(last) * model.decoder.norm.weight)[position] @ model.head.weight[token])


def test_an_edge_has_what_all_ways_through_it_bring():
    model = small(
        noise=0.2, n_layers=3, norm="rms", bias=False, positions="rotary", norm_eps=1e-6
    ).double()
    trace = tl.trace(model, TOKENS, keep="all")
    flow = token_flow(trace, 4, position=4)
    whole = held(model, trace, 4, 4)
    assert flow.logit == pytest.approx(whole, abs=1e-4)
    found = []
    for edge in [*(e[:4] for e in flow.top(4)), (0, 1, 2, 1), (1, 0, 3, 3), (0, 2, 5, 1)]:
        without = held(model, trace, 4, 4, edge)
        assert float(flow.edges[edge]) == pytest.approx(whole - without, abs=1e-4)
        found.append(abs(whole - without))
    assert found[0] > 0.05 and found[-1] == 0  # later positions reach no earlier ones


@pytest.mark.parametrize(
    "make", [*MODELS.values(), gemma, lambda: small("encoder", norm_first=False, noise=0.2)]
)
def test_what_is_carried_sums_to_the_logit(make):
    model = make()
    trace = tl.trace(model, TOKENS, keep="all")
    for token, against in ((4, None), (4, 8)):
        if against is not None and trace.network.logit_softcap is not None:
            continue
        flow = token_flow(trace, token, against=against)
        parts = logit_attribution(trace, token, against=against)
        assert flow.logit == pytest.approx(parts.logit, abs=2e-3)
        assert float(flow.stream[0].sum() + flow.mlps.sum()) + flow.constant == pytest.approx(
            flow.logit, abs=2e-3
        )
        into = flow.stays + flow.edges.sum((1, 3)) + flow.mlps
        torch.testing.assert_close(into, flow.stream[1:], rtol=0, atol=1e-5)
        # In the last layer a head goes straight to the logit, so its flow is its direct
        # contribution.
        direct = dict(zip(((s.layer, s.head) for s in parts.sources), parts.values, strict=True))
        last = len(flow.edges) - 1
        for head in range(4):
            assert float(flow.edges[last, head].sum()) == pytest.approx(
                float(direct[last, head]), abs=2e-3
            )
        assert flow.stream[-1][:-1].abs().max() == 0 and flow.edges[last, :, :-1].abs().max() == 0


def test_a_flow_keeps_no_gradients():
    """XGLM has its own attention code, whose patterns are recorded with gradients."""
    T = package("transformers")
    config = T.XGLMConfig(vocab_size=50, d_model=32, num_layers=2, attention_heads=4, ffn_dim=64)
    flow = token_flow(tl.trace(T.XGLMForCausalLM(config).eval(), TOKENS))
    assert not any(x.requires_grad for x in (flow.edges, flow.stream, flow.mlps))


def test_without_biases_as_much_goes_out_of_a_place_as_came_in():
    model = small(noise=0.2, n_layers=3, norm="rms", bias=False, attention_only=True)
    flow = token_flow(tl.trace(model, TOKENS, keep="all"))
    out = flow.stream[:-1] - flow.edges.sum((1, 2))  # what does not leave through a head
    torch.testing.assert_close(flow.stays, out, rtol=0, atol=1e-4)
    assert flow.constant == pytest.approx(0, abs=1e-5) and flow.mlps.abs().max() == 0
    layer, head, query, key, value = flow.top(1)[0]
    assert value == float(flow.edges[layer, head, query, key])
    assert abs(value) == float(flow.edges.abs().max())


def test_a_cut_edge_carries_nothing():
    model = small(noise=0.2)
    trace = tl.trace(model, TOKENS, keep="all")
    layer, head, query, key, _ = token_flow(trace, 4).top(1)[0]
    with tl.edit(model, tl.knock_out(layer, head, query=query, key=key)):
        cut = token_flow(tl.trace(model, TOKENS, keep="all"), 4)
        with pytest.raises(ValueError, match="edits"):
            token_flow(trace, 4)
    assert float(cut.edges[layer, head, query, key]) == 0 and cut.logit != pytest.approx(
        token_flow(trace, 4).logit, abs=1e-3
    )


@pytest.mark.badinput
def test_what_has_no_such_sum_is_refused_in_a_sentence():
    trace = tl.trace(small(), TOKENS, keep="all")
    for options, words in (
        (dict(token=99), "token=99 is outside the 50"),
        (dict(position=9), "position=9 is outside the 6"),
    ):
        with pytest.raises(ValueError, match=words):
            token_flow(trace, **options)
    with pytest.raises(ValueError, match="predicts no tokens"):
        token_flow(maps_only())
    with pytest.raises(ValueError, match="several stacks"):
        token_flow(tl.trace(small("encoder-decoder"), TOKENS, TOKENS, keep="all"))
