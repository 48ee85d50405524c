"""Interventions: each one changes what it says, and nothing else, and is gone afterwards."""

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from transformer_lab import ALiBi, Learned, ModelConfig, Rotary, Sinusoidal
from transformer_lab.edit import EditError

ARCHITECTURES = {
    "decoder": dict(kind="decoder"),
    "decoder-grouped-rms-swiglu": dict(
        kind="decoder", n_kv_heads=2, norm="rms", activation="swiglu", bias=False
    ),
    "decoder-modern": dict(
        kind="decoder", qk_norm=True, norm="rms", norm_affine=False, activation="relu2",
        embedding_norm=True, logit_softcap=15.0,
    ),
    "decoder-attention-only": dict(kind="decoder", attention_only=True),
    "decoder-alibi": dict(kind="decoder", positions=ALiBi()),
    "encoder": dict(kind="encoder", positions=Learned(), norm_first=False, head_transform=True),
    "encoder-alibi": dict(kind="encoder", positions=ALiBi()),
    "encoder-decoder": dict(kind="encoder-decoder", positions=Sinusoidal(), norm_first=False),
    "encoder-decoder-rotary": dict(kind="encoder-decoder", positions=Rotary()),
}  # fmt: skip
EACH_ARCHITECTURE = pytest.mark.parametrize("name", ARCHITECTURES)


def build(name="decoder", **options):
    torch.manual_seed(0)
    config = dict(vocab_size=50, n_layers=2, n_heads=4, d_model=32, n_ctx=32)
    model = tl.Transformer(ModelConfig(**{**config, **ARCHITECTURES[name], **options}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def inputs(model):
    generator = torch.Generator().manual_seed(0)
    text = torch.randint(1, 50, (2, 7), generator=generator)
    if model.config.kind != "encoder-decoder":
        return (text,)
    return text, torch.randint(1, 50, (2, 5), generator=generator)


def kinds(model):
    kind = model.config.kind
    return ("encoder", "decoder", "cross") if kind == "encoder-decoder" else (kind,)


EDITS = {
    "zero one head": lambda kind: tl.ablate(1, 2, kind=kind),
    "zero a layer": lambda kind: tl.ablate(0, kind=kind),
    "zero everything": lambda kind: tl.ablate(kind=kind),
    "mean of one head": lambda kind: tl.ablate(0, 1, kind=kind, value="mean"),
    "a vector for one head": lambda kind: tl.ablate(0, 1, kind=kind, value=torch.ones(8)),
    "one edge": lambda kind: tl.knock_out(0, 1, query=3, key=1, kind=kind),
    "one key everywhere": lambda kind: tl.knock_out(key=0, kind=kind),
    "one query": lambda kind: tl.knock_out(0, query=3, kind=kind),
}


@EACH_ARCHITECTURE
@pytest.mark.parametrize("what", EDITS)
@torch.no_grad()
def test_every_edit_changes_something_and_is_gone_afterwards(name, what):
    model = build(name)
    text = inputs(model)
    before = model(*text)
    for kind in kinds(model):
        with tl.edit(model, EDITS[what](kind)):
            during = model(*text)
        assert not torch.allclose(during, before, atol=1e-4), kind
        assert during.isfinite().all()
        assert torch.equal(model(*text), before)


@EACH_ARCHITECTURE
@torch.no_grad()
def test_zeroing_every_head_is_no_attention_but_for_the_output_bias(name):
    model = build(name)
    text = inputs(model)
    with tl.edit(model, *(tl.ablate(kind=kind) for kind in kinds(model))):
        ablated = model(*text)
    for module in model.tapped():
        if hasattr(module, "out"):
            module.out.weight.zero_()
    assert_close(ablated, model(*text))


@torch.no_grad()
def test_an_ablated_head_takes_away_its_own_part_of_the_output():
    """Not a slice of what follows the output projection: all of d_model loses z_h · W_O^h."""
    model = build()
    text, (layer, head) = inputs(model), (1, 2)
    before = tl.trace(model, *text)
    with tl.edit(model, tl.ablate(layer, head)):
        after = tl.trace(model, *text)
    attention = model.decoder.blocks[layer].attention
    resid = before.residual()["resid_pre"][layer]
    value = attention.value(model.decoder.blocks[layer].norm1(resid)).unflatten(-1, (4, 8))
    z = before.pattern(layer, head) @ value[:, head]
    part = z @ attention.out.weight[:, head * 8 : head * 8 + 8].T
    lost = before.residual()["attn_out"][layer] - after.residual()["attn_out"][layer]
    assert_close(lost, part, rtol=0, atol=3e-6)


@EACH_ARCHITECTURE
@torch.no_grad()
def test_a_knocked_out_edge_gives_its_weight_to_the_rest_of_the_row(name):
    model = build(name)
    text = inputs(model)
    before = tl.trace(model, *text)
    for kind in kinds(model):
        with tl.edit(model, tl.knock_out(0, 1, query=3, key=1, kind=kind)):
            after = tl.trace(model, *text)
        expected = before.pattern(0, kind=kind).clone()
        expected[1, 3, 1] = 0
        expected[1, 3] /= expected[1, 3].sum()
        if kind == "cross":  # its queries come after self-attention, which is as it was
            assert_close(after.pattern(0, kind="decoder"), before.pattern(0, kind="decoder"))
        assert_close(after.pattern(0, kind=kind), expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_query_cut_from_every_key_gets_nothing():
    model = build()
    with tl.edit(model, tl.knock_out(0, 1, query=3)):
        after = tl.trace(model, *inputs(model))
    assert not after.pattern(0, 1)[3].any()
    assert after.logits.isfinite().all()


@torch.no_grad()
def test_edits_add_up():
    model = build()
    text = inputs(model)
    with tl.edit(model, tl.ablate(0, 1), tl.ablate(1, 2)):
        together = model(*text)
    with tl.edit(model, tl.ablate(0, 1)), tl.edit(model, tl.ablate(1, 2)):
        assert torch.equal(model(*text), together)
    with tl.edit(model, tl.knock_out(0, 1, query=3, key=1), tl.knock_out(0, 1, query=3, key=2)):
        row = tl.trace(model, *text).pattern(0, 1)[3]
    assert row[[1, 2]].sum() == 0
    assert_close(row.sum(), torch.tensor(1.0))


@torch.no_grad()
def test_a_head_replaced_by_itself_changes_nothing():
    model = build()
    text, z = inputs(model), {}

    class Keep(tl.Tap):
        def on_heads(self, call, heads):
            z[call.site.layer] = heads
            return heads

    keep = Keep()
    model.add_tap(keep)
    before = model(*text)
    model.remove_tap(keep)
    with tl.edit(model, tl.ablate(1, 2, value=z[1][:, 2:3])):
        assert torch.equal(model(*text), before)


@torch.no_grad()
def test_a_training_model_is_traced_with_its_edits():
    model = build(dropout=0.5)
    with tl.edit(model, tl.knock_out(1, 2, key=0)):
        expected = tl.trace(model, *inputs(model)).pattern(1, 2)
    model.train()
    with tl.edit(model, tl.knock_out(1, 2, key=0)):
        assert torch.equal(tl.trace(model, *inputs(model)).pattern(1, 2), expected)
    assert not expected[1:, 0].any()


def test_edits_let_gradients_through():
    model = build()
    with tl.edit(model, tl.ablate(0, 1)):
        model(*inputs(model)).square().mean().backward()
    weight = model.decoder.blocks[0].attention.out.weight.grad
    assert not weight[:, 8:16].any(), "the ablated head has no say"
    assert weight[:, :8].any()


def test_an_edit_is_gone_after_an_error():
    model = build()
    with pytest.raises(RuntimeError, match="boom"), tl.edit(model, tl.ablate(0, 0)):
        raise RuntimeError("boom")
    assert all(m.taps == () for m in model.tapped())


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tl.ablate(9, 0), ["layer=9", "0 … 1"]),
        (lambda: tl.ablate(0, 9), ["head=9", "0 … 3"]),
        (lambda: tl.ablate(0, 0, kind="cross"), ["'cross'", "decoder"]),
        (lambda: tl.ablate(0, 0, kind="self"), ["'self'", "encoder", "cross"]),
        (lambda: tl.ablate(0, 0, value="noise"), ["'noise'", "zero", "mean"]),
        (lambda: tl.knock_out(0, 0), ["query or key", "ablate"]),
        (lambda: tl.knock_out(0, 0, key=99), ["key=99", "7 tokens", "0 … 6"]),
        (lambda: tl.knock_out(0, 0, query=2, key=5), ["query=2", "key=5", "comes after"]),
        (lambda: "ablate head 3", ["'ablate head 3'", "tl.ablate"]),
    ],
)
def test_an_edit_that_fits_nothing_is_named(make, words):
    model = build()
    with pytest.raises(EditError, match=r".+") as error, tl.edit(model, make()):
        model(*inputs(model))
    assert all(word in str(error.value) for word in words), error.value
    assert all(m.taps == () for m in model.tapped())


@pytest.mark.badinput
def test_no_edit_and_no_transformer_are_named():
    with pytest.raises(EditError, match="no edit was given"), tl.edit(build()):
        pass
    linear = torch.nn.Linear(2, 2)
    with pytest.raises(EditError, match="Linear"), tl.edit(linear, tl.ablate(0, 0)):
        pass
