"""One block, number by number: each step equals what the model's own modules compute."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import small
from transformer_lab.adapters.sources import PartsError
from transformer_lab.analysis.circuits import block_steps
from transformer_lab.analysis.circuits.block_walk import block_parts
from transformer_lab.tracing.trace import TraceError

WHERE = dict(layer=1, head=2, position=4)
OURS = {
    "plain": {},
    "post-norm": dict(norm_first=False),
    "modern": dict(norm="rms", activation="swiglu", positions="rotary", n_kv_heads=2, bias=False),
    "attention only": dict(attention_only=True),
    "attention only, post-norm": dict(attention_only=True, norm_first=False),
    "encoder": dict(kind="encoder", norm_first=False, activation="relu"),
    "biased scores": dict(positions="alibi", qk_norm=True),
}


def near(a, b, room=2e-5):
    assert_close(
        a.double(), b.detach().double(), rtol=0, atol=room * float(b.detach().abs().max() + 1)
    )


def hold(steps, trace):
    """Check what holds for every block."""
    kind = steps.kind
    finite = torch.where(steps.scores.isfinite(), steps.scores, torch.tensor(-1e30).double())
    if not steps.nothing:
        near(steps.weights, finite.softmax(-1))
    near(steps.weights, trace.pattern(steps.layer, steps.head, kind=kind)[steps.position])
    near(steps.dots, steps.keys @ steps.query)
    near(steps.z[steps.head], steps.weights @ steps.values)
    # The stream before and after the block, recorded by the trace.
    streams = trace.residual(kind)
    near(steps.stream, streams["resid_pre"][steps.layer, steps.position])
    near(steps.out, streams["resid_post"][steps.layer, steps.position])


@pytest.mark.parametrize("name", OURS)
def test_our_own_blocks(name):
    model = small(noise=0.1, sharpness=2.0, **OURS[name])
    trace = tl.trace(model, torch.randint(50, (1, 9), generator=torch.Generator().manual_seed(1)))
    steps = block_steps(trace, **WHERE)
    hold(steps, trace)
    block = (model.encoder if steps.kind == "encoder" else model.decoder).blocks[1]
    at = lambda what: trace.activation(what, 1)[0, 4].double()  # noqa: E731
    first = model.config.norm_first
    assert steps.after is not first and bool(steps.norm) is first
    near(steps.reads, block.norm1(at("resid_pre").float()) if first else at("resid_pre"))
    near(steps.attention, at("attn_out"))
    weight = block.attention.out.weight.detach().double().unflatten(1, (4, -1))
    bias = 0 if block.attention.out.bias is None else block.attention.out.bias.detach().double()
    near(torch.einsum("hd,mhd->m", steps.z, weight) + bias, at("attn_out"))
    near(steps.written, weight[:, 2] @ steps.z[2])
    if OURS[name].get("attention_only"):
        assert steps.mlp is None and steps.hidden is None
        return
    near(steps.middle, at("resid_mid"))
    near(steps.mlp, at("mlp_out"))
    near(steps.mlp_reads, block.norm3(at("resid_mid").float()) if first else at("resid_mid"))
    down = block.feed_forward.down
    near(F.linear(steps.hidden.float(), down.weight, down.bias), at("mlp_out"))


@pytest.mark.parametrize("first", [True, False])
def test_a_block_with_cross_attention(first):
    model = small("encoder-decoder", noise=0.1, norm_first=first)
    text, target = torch.arange(9)[None], torch.arange(20, 27)[None]
    trace = tl.trace(model, text, target, keep="all")
    steps = block_steps(trace, **WHERE)
    hold(steps, trace)
    near(steps.cross, trace.activation("cross_out", 1, kind="decoder")[0, 4])
    hold(block_steps(trace, **WHERE, kind="encoder"), trace)
    with pytest.raises(TraceError, match='walk through kind="decoder"'):
        block_steps(trace, **WHERE, kind="cross")


@pytest.mark.parametrize(
    "name",
    ["gpt2", "bert", "llama", "qwen3", "gpt-neox", "gemma2", "opt", "marian", "t5", "distilbert"],
)
def test_hugging_face_blocks(tiny, name):
    model = tiny(name)
    text = torch.tensor([[5, 6, 7, 8, 9, 10, 11]])
    more = dict(target=text) if model.config.is_encoder_decoder else {}
    trace = tl.trace(model, text, keep="all", **more)
    for kind in set(trace.kinds) - {"cross"}:
        steps = block_steps(trace, 1, 1, 4, kind=kind)
        hold(steps, trace)
        assert steps.hidden is not None and steps.mlp is not None


@pytest.mark.parametrize("name", ["gpt_oss", "nllb_moe", "granite_swa"])
def test_experts_and_sinks(name):
    pytest.importorskip("transformers")
    from tests.adapters import families

    model = families.tiny(name)
    text = torch.tensor([[5, 6, 7, 8, 9, 10, 11]])
    more = dict(target=text) if model.config.is_encoder_decoder else {}
    trace = tl.trace(model, text, keep="all", **more)
    steps = block_steps(trace, 1, 1, 4, kind="decoder")
    near(steps.weights.sum() + steps.nothing, torch.tensor(1.0))
    assert (steps.nothing > 0) is (name != "nllb_moe")
    assert (steps.hidden is None) is (name != "granite_swa")
    near(steps.out, trace.activation("resid_post", 1, kind="decoder")[0, 4])


def test_experts_that_no_token_goes_to():
    model = small(n_experts=3, experts_per_token=1)
    with torch.no_grad():
        for block in model.decoder.blocks:
            block.feed_forward.router.weight.zero_()  # all equal: one expert takes all
    trace = tl.trace(model, torch.arange(7)[None], keep="all")
    steps = block_steps(trace, 1, 1, 4)
    near(steps.out, trace.activation("resid_post", 1)[0, 4])


@pytest.mark.badinput
def test_what_cannot_be_walked_through_says_why():
    model = small()
    text = torch.arange(9)[None]
    trace = tl.trace(model, text)
    for wrong, message in (
        (dict(position=9), r"position=9 is outside the 9 tokens \(0 … 8\)"),
        (dict(position=-10), r"position=-10 is outside"),
        (dict(layer=2), "layer=2 is outside 0 … 1"),
        (dict(head=4), "head=4 is outside 0 … 3"),
        (dict(kind="encoder"), "kind='encoder' is not in this trace"),
    ):
        with pytest.raises(TraceError, match=message):
            block_steps(trace, **{**WHERE, **wrong})
    with pytest.raises(TraceError, match="keep='all'"):
        block_steps(tl.trace(model, text, keep="maps"), **WHERE)
    for layer in range(2):  # below the block, and in it
        with tl.edit(model, tl.ablate(layer, 0)):
            edited = tl.trace(model, text)
        with pytest.raises(PartsError, match="traced under edits"):
            block_steps(edited, **WHERE)
    with torch.no_grad():
        model.decoder.blocks[1].attention.value.weight.mul_(1.5)
    with pytest.raises(PartsError, match="the model has changed since"):
        block_steps(trace, **WHERE)


@pytest.mark.badinput
def test_a_gate_before_w_o_is_refused():
    pytest.importorskip("transformers")
    from tests.adapters import families

    trace = tl.trace(families.tiny("diffllama"), torch.tensor([[5, 6, 7, 8, 9]]), keep="all")
    with pytest.raises(PartsError, match="something comes between them"):
        block_steps(trace, 0, 0, 2)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("causal/xlnet", "the input and output of layer 0 of .* could not be recorded"),
        ("masked/mobilebert", "is not the sum of its heads' output and its feed-forward output"),
    ],
)
def test_a_stream_that_is_turned_or_wider_than_what_heads_write_is_refused(name, why):
    pytest.importorskip("transformers")
    from benchmarks.zoo.building import build, registered

    trace = tl.trace(build(registered()[name]), torch.tensor([[5, 6, 7, 8, 9]]), keep="all")
    with pytest.raises(PartsError, match=why):
        raise block_parts(trace, trace.kinds[0])[0]  # which an export asks for
