"""Interventions: each one changes what it says, and nothing else, and is gone afterwards."""

import copy
import json
import threading
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

import transformer_lab as tl
from transformer_lab import ALiBi, Learned, ModelConfig, NoPositions, Relative, Rotary, Sinusoidal
from transformer_lab.attention import Site, add_bias
from transformer_lab.datasets.batches import Batch
from transformer_lab.edit import EditError, edit_from_dict

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
    "decoder-learned": dict(kind="decoder", positions=Learned()),
    "decoder-sinusoidal": dict(kind="decoder", positions=Sinusoidal()),
    "decoder-no-positions": dict(kind="decoder", positions=NoPositions()),
    "decoder-t5": dict(kind="decoder", positions=Relative()),
    "encoder": dict(kind="encoder", positions=Learned(), norm_first=False, head_transform=True),
    "encoder-alibi": dict(kind="encoder", positions=ALiBi()),
    "encoder-decoder": dict(kind="encoder-decoder", positions=Sinusoidal(), norm_first=False),
    "encoder-decoder-rotary": dict(kind="encoder-decoder", positions=Rotary()),
    "encoder-decoder-t5": dict(kind="encoder-decoder", positions=Relative()),
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


def other_run(model):
    """A trace of texts that differ from `inputs` in every token."""
    return tl.trace(model, *((x * 7) % 49 + 1 for x in inputs(model)), keep="all")


def reference(model):
    pair = tuple((x * 3) % 49 + 1 for x in inputs(model))
    return tl.mean_of(model, [pair if len(pair) == 2 else pair[0]])


EDITS = {
    "zero one head": lambda kind, _: tl.ablate(1, 2, kind=kind),
    "zero a layer": lambda kind, _: tl.ablate(0, kind=kind),
    "zero everything": lambda kind, _: tl.ablate(kind=kind),
    "mean of one head": lambda kind, _: tl.ablate(0, 1, kind=kind, value="mean"),
    "a vector for one head": lambda kind, _: tl.ablate(0, 1, kind=kind, value=torch.ones(8)),
    "mean of other texts": lambda kind, m: tl.ablate(0, 1, kind=kind, value=reference(m)),
    "one edge": lambda kind, _: tl.knock_out(0, 1, query=3, key=1, kind=kind),
    "one key everywhere": lambda kind, _: tl.knock_out(key=0, kind=kind),
    "one query": lambda kind, _: tl.knock_out(0, query=3, kind=kind),
    "half a head": lambda kind, _: tl.scale(1, 2, by=0.5, kind=kind),
    "a head turned round": lambda kind, _: tl.scale(0, 0, by=-1, kind=kind),
    "no attention in a layer": lambda kind, _: tl.skip(1, kind=kind),
    "no mlp in a layer": lambda kind, _: tl.skip(0, "mlp", kind=kind),
    "a head of another run": lambda kind, m: tl.patch(other_run(m), 1, 2, kind=kind),
    "one position of it": lambda kind, m: tl.patch(other_run(m), 0, position=3, kind=kind),
    "the stream before": lambda kind, m: tl.patch(
        other_run(m), 1, position=[2, 4], kind=kind, what="resid_pre"
    ),
    "the stream after": lambda kind, m: tl.patch(other_run(m), 0, kind=kind, what="resid_post"),
}
NOT_CROSS = ("no mlp in a layer", "the stream before", "the stream after")


def made(what, model, kind):
    """The edit, or None where this model has nothing of the sort."""
    if kind == "cross" and what in NOT_CROSS:
        return None
    if model.config.attention_only and what == "no mlp in a layer":
        return None
    return EDITS[what](kind, model)


@EACH_ARCHITECTURE
@pytest.mark.parametrize("what", EDITS)
@torch.no_grad()
def test_every_edit_changes_something_and_is_gone_afterwards(name, what):
    model = build(name)
    text = inputs(model)
    before = model(*text)
    for kind in kinds(model):
        edit = made(what, model, kind)
        if edit is None:
            continue
        with tl.edit(model, edit):
            during = model(*text)
        assert not torch.allclose(during, before, atol=1e-4), kind
        assert during.isfinite().all()
        assert torch.equal(model(*text), before)


@EACH_ARCHITECTURE
@torch.no_grad()
def test_a_run_patched_into_itself_changes_nothing(name):
    model = build(name)
    text = inputs(model)
    before = model(*text)
    own = tl.trace(model, *text, keep="all")
    for kind in kinds(model):
        edits = [tl.patch(own, kind=kind), tl.patch(own, 1, 2, kind=kind)]
        if kind != "cross":
            edits += [tl.patch(own, 1, kind=kind, what=w) for w in ("resid_pre", "resid_post")]
        for edit in edits:
            with tl.edit(model, edit):
                assert_close(model(*text), before, rtol=0, atol=1e-6)


@EACH_ARCHITECTURE
@torch.no_grad()
def test_another_run_patched_in_whole_is_that_run(name):
    """From the stream of layer 1 on, everything is the other text's."""
    model = build(name)
    other, kind = other_run(model), "encoder" if model.encoder is not None else "decoder"
    with tl.edit(model, tl.patch(other, 1, kind=kind, what="resid_pre")):
        found = tl.trace(model, *inputs(model), keep="all")
    stream = [t.activation("resid_post", 1, kind=kind) for t in (found, other)]
    assert_close(*stream, rtol=0, atol=1e-6)


@EACH_ARCHITECTURE
@torch.no_grad()
def test_scaling_by_one_is_nothing_and_by_zero_is_ablation(name):
    model = build(name)
    text = inputs(model)
    before = model(*text)
    for kind in kinds(model):
        with tl.edit(model, tl.scale(1, 2, by=1, kind=kind)):
            assert torch.equal(model(*text), before)
        with tl.edit(model, tl.scale(1, 2, by=0, kind=kind)):
            scaled = model(*text)
        with tl.edit(model, tl.ablate(1, 2, kind=kind)):
            assert torch.equal(model(*text), scaled)


@EACH_ARCHITECTURE
@torch.no_grad()
def test_a_skipped_part_adds_nothing_to_the_stream(name):
    model = build(name)
    for kind in kinds(model):
        if kind == "cross":
            continue
        parts = ["attention"] + (["mlp"] if not model.config.attention_only else [])
        edits = [tl.skip(1, part, kind=kind) for part in parts]
        edits += [tl.skip(1, kind="cross")] if "cross" in kinds(model) and kind == "decoder" else []
        with tl.edit(model, *edits):
            after = tl.trace(model, *inputs(model), keep="all")
        x = after.activation("resid_pre", 1, kind=kind)
        block = (model.encoder if kind == "encoder" else model.decoder).blocks[1]
        if not model.config.norm_first:
            norms = [block.norm1, *([block.norm2] if block.cross is not None else []), block.norm3]
            for norm in norms:
                x = norm(x)
        assert_close(after.activation("resid_post", 1, kind=kind), x, rtol=0, atol=1e-6)


@EACH_ARCHITECTURE
@torch.no_grad()
def test_zeroing_every_head_and_its_output_bias_is_skipping_attention(name):
    model = build(name)
    for module in model.tapped():
        if hasattr(module, "out") and module.out.bias is not None:
            module.out.bias.zero_()
    text = inputs(model)
    with tl.edit(model, *(tl.ablate(kind=kind) for kind in kinds(model))):
        ablated = model(*text)
    with tl.edit(model, *(tl.skip(kind=kind) for kind in kinds(model))):
        assert_close(model(*text), ablated, rtol=0, atol=1e-6)


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
def test_edits_at_one_place_act_in_the_order_given():
    model = build()
    text, other = inputs(model), other_run(model)
    z = other.activation("z", 1)[:, 2:3]
    for edits, value in (
        ((tl.patch(other, 1, 2), tl.scale(1, 2, by=0.5)), 0.5 * z),
        ((tl.scale(1, 2, by=0.5), tl.patch(other, 1, 2)), z),
        ((tl.scale(1, 2, by=0.5), tl.scale(1, 2, by=0)), 0 * z),
    ):
        with tl.edit(model, *edits):
            found = model(*text)
        with tl.edit(model, edits[0]), tl.edit(model, edits[1]):
            assert torch.equal(model(*text), found)
        with tl.edit(model, tl.ablate(1, 2, value=value)):
            assert_close(found, model(*text), rtol=0, atol=1e-6)


@torch.no_grad()
def test_one_edit_may_be_open_twice_and_once_more():
    model = build()
    text, edit = inputs(model), tl.scale(1, 2, by=0.5)
    with tl.edit(model, edit), tl.edit(model, edit):
        twice = model(*text)
        with tl.edit(model, tl.ablate(0, 0)):
            model(*text)
        assert torch.equal(model(*text), twice)
    with tl.edit(model, tl.scale(1, 2, by=0.25)):
        assert_close(model(*text), twice, rtol=0, atol=1e-6)


@torch.no_grad()
def test_the_mean_is_over_real_tokens_only():
    model = build("encoder")
    text = inputs(model)[0]
    with tl.edit(model, tl.ablate(0, 1, value="mean")):
        alone = model(text[:1, :5])
        mask = torch.ones_like(text, dtype=torch.bool)
        mask[0, 5:] = False
        padded = model(text, mask=mask)
    assert_close(padded[0, :5], alone[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_reference_is_the_mean_over_all_real_tokens_of_all_texts():
    model = build("encoder-decoder")
    source, target = inputs(model)
    mask = torch.ones_like(source, dtype=torch.bool)
    mask[1, 4:] = False
    batch = Batch(source, target, target, mask)
    texts = [(source[:1], target[:1]), (source[1:, :4], target[1:])]
    found = tl.mean_of(model, texts)
    traces = [tl.trace(model, *text, keep="all") for text in texts]
    for kind in ("encoder", "decoder", "cross"):
        z = torch.cat([t.activation("z", 1, kind=kind)[0] for t in traces], 1)
        assert_close(found.vectors(Site(kind, 1)), z.mean(1), rtol=0, atol=1e-6)
        again = tl.mean_of(model, [batch]).vectors(Site(kind, 1))
        assert_close(again, found.vectors(Site(kind, 1)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("cached", [True, False])
@torch.no_grad()
def test_edits_hold_while_a_model_writes_with_its_cache(cached):
    """What is at a place in the text is edited when that place is read, and only then."""
    model = build()
    text, other = inputs(model)[0], other_run(model)
    for edit in (
        tl.ablate(1, 2), tl.skip(0), tl.scale(0, 1, by=-1), tl.knock_out(query=3, key=1),
        tl.knock_out(1, key=2), tl.patch(other, 1, 2, position=4),
    ):  # fmt: skip
        with tl.edit(model, edit):
            written = tl.generate(model, text, max_new_tokens=6, cached=cached)
            by_hand = text
            for _ in range(6):
                by_hand = torch.cat((by_hand, model(by_hand)[:, -1:].argmax(-1)), 1)
        assert torch.equal(written, by_hand[:, text.shape[1] :]), edit


@torch.no_grad()
def test_edits_of_one_thread_may_leave_the_others_alone():
    model, text = build(), inputs(build())
    before, found = model(*text), {}

    def other(name):
        with torch.no_grad():
            found[name] = model(*text)

    for this_thread in (True, False):
        with tl.edit(model, tl.ablate(1, 2), this_thread=this_thread):
            edited = model(*text)
            thread = threading.Thread(target=other, args=(this_thread,))
            thread.start()
            thread.join()
    assert torch.equal(found[True], before)
    assert torch.equal(found[False], edited)


def test_threads_may_edit_one_model_at_once():
    model, text = build(), inputs(build())
    edits = [tl.ablate(i % 2, i // 2) for i in range(4)]

    def work(i):
        for _ in range(20):
            with torch.no_grad(), tl.edit(model, edits[i], this_thread=True):
                found[i] = model(*text)

    found = {}
    for i in range(4):
        work(i)
    alone, found = found, {}
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[i], alone[i]) for i in range(4))
    assert all(m.taps == () for m in model.tapped())


@torch.no_grad()
def test_a_compiled_model_is_edited():
    torch._dynamo.reset()
    model, text = build(), inputs(build())
    before = model(*text)
    compiled = torch.compile(model, backend="eager")
    assert_close(compiled(*text), before)
    for edit in (tl.skip(1), tl.ablate(0, 1), tl.patch(other_run(model), 1, what="resid_pre")):
        with tl.edit(model, edit):
            expected = model(*text)
        with tl.edit(compiled, edit):
            assert_close(compiled(*text), expected, rtol=0, atol=1e-6)
        assert_close(compiled(*text), before, rtol=0, atol=1e-6)


# -- how an edit is told ----------------------------------------------------------------------------

PLAIN = {
    'tl.ablate(layer=1, head=2)': tl.ablate(1, 2),
    'tl.ablate(layer=1, head=2, value="mean", kind="cross")': tl.ablate(
        1, 2, kind="cross", value="mean"
    ),
    "tl.ablate()": tl.ablate(),
    "tl.knock_out(layer=1, head=0, query=5, key=3)": tl.knock_out(1, 0, query=5, key=3),
    "tl.knock_out(query=0)": tl.knock_out(query=0),
    'tl.scale(layer=0, by=0.5, kind="encoder")': tl.scale(0, by=0.5, kind="encoder"),
    'tl.skip(layer=3, part="mlp")': tl.skip(3, "mlp"),
}  # fmt: skip


@pytest.mark.parametrize("code", PLAIN)
def test_an_edit_says_the_python_that_makes_it(code):
    edit = PLAIN[code]
    assert edit.code() == repr(edit) == code
    assert repr(eval(code, {"tl": tl})) == code
    assert repr(edit_from_dict(json.loads(json.dumps(edit.to_dict())))) == code
    assert len(edit.describe()) > 10 and "None" not in edit.describe()


def test_an_edit_that_holds_tensors_says_so_and_has_no_json():
    model = build()
    trace = other_run(model)
    edit = tl.patch(trace, 1, 2, position=3)
    assert edit.code() == "tl.patch(source_trace, layer=1, head=2, position=3)"
    assert repr(eval(edit.code(), {"tl": tl, "source_trace": trace})) == edit.code()
    for held in (edit, tl.ablate(1, value=torch.ones(8)), tl.ablate(1, value=reference(model))):
        with pytest.raises(EditError, match="no JSON form"):
            held.to_dict()


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("ablate", ["a dict", "str"]),
        ({}, ["edit=None", "ablate"]),
        ({"edit": "patch"}, ["'patch'", "knock_out"]),
        ({"edit": ["ablate"]}, ["['ablate']"]),
        ({"edit": "ablate", "layers": 1}, ["'layers'", "layer"]),
        ({"edit": "ablate", "layer": "1"}, ["layer='1'", "whole number"]),
        ({"edit": "ablate", "layer": True}, ["layer=True", "whole number"]),
        ({"edit": "ablate", "value": [0.0]}, ["value=[0.0]", "plain"]),
        ({"edit": "ablate", "value": "noise"}, ["'noise'", "mean"]),
        ({"edit": "ablate", "kind": "self"}, ["'self'", "encoder"]),
        ({"edit": "knock_out", "layer": 1}, ["query or key"]),
        ({"edit": "scale", "layer": 1}, ["scale needs by"]),
        ({"edit": "scale", "by": float("nan")}, ["by=nan", "finite"]),
        ({"edit": "skip", "part": "norm"}, ["'norm'", "mlp"]),
    ],
)
def test_what_a_browser_asks_for_is_checked(values, words):
    with pytest.raises(EditError) as error:
        edit_from_dict(values)
    assert all(word in str(error.value) for word in words), error.value


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


@torch.no_grad()
def test_a_copy_of_an_edited_model_is_edited():
    model = build()
    text = inputs(model)
    with tl.edit(model, tl.skip(1), tl.patch(other_run(model), 0, what="resid_post")):
        assert torch.equal(copy.deepcopy(model)(*text), model(*text))


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
        (lambda: tl.ablate("last"), ["layer='last'", "whole number"]),
        (lambda: tl.scale(0, 0, by="half"), ["by='half'", "0.5"]),
        (lambda: tl.scale(5, by=2), ["layer=5", "0 … 1"]),
        (lambda: tl.skip(5), ["layer=5", "0 … 1"]),
        (lambda: tl.skip(0, "norm"), ["part='norm'", "mlp"]),
        (lambda: tl.skip(0, "mlp", kind="cross"), ["mlp", "decoder"]),
        (lambda: tl.patch(None, 0), ["NoneType", "keep='all'"]),
        (lambda: tl.patch(kept("maps"), 0), ["keep='all'"]),
        (lambda: tl.patch(kept(), 7), ["layer=7", "0 … 1"]),
        (lambda: tl.patch(kept(), 0, 9), ["head=9", "0 … 3"]),
        (lambda: tl.patch(kept(), 0, what="mlp"), ["what='mlp'", "resid_pre"]),
        (lambda: tl.patch(kept(), 0, 1, what="resid_pre"), ["head=1", "resid_pre"]),
        (lambda: tl.patch(kept(), 0, position=9), ["position=9", "7 tokens", "0 … 6"]),
        (lambda: tl.patch(kept(), 0, position=-1), ["position=-1", "0 … 6"]),
        (lambda: tl.patch(kept(), 0, kind="encoder"), ["'encoder'"]),
        (lambda: tl.patch(kept(n=5), 0), ["5 tokens", "this text 7", "position"]),
        (lambda: tl.patch(kept(batch=3), 0), ["3 texts", "this batch 2"]),
        (lambda: tl.patch(kept(d_model=64), 0), ["16", "same architecture"]),
        (lambda: tl.patch(kept(d_model=64), 0, what="resid_post"), ["d_model=64", "32"]),
        (lambda: tl.ablate(0, value=reference(build(n_layers=3))), ["3 layers", "2 of 4"]),
    ],
)
def test_an_edit_that_fits_nothing_is_named(make, words):
    model = build()
    with pytest.raises(EditError, match=r".+") as error, tl.edit(model, make()):
        model(*inputs(model))
    assert all(word in str(error.value) for word in words), error.value
    assert all(m.taps == () for m in model.tapped())


def kept(keep="all", n=7, batch=2, **options):
    text = torch.arange(1, 1 + batch * n).view(batch, n)
    return tl.trace(build(**options), text, keep=keep)


@pytest.mark.badinput
@torch.no_grad()
def test_what_is_not_there_is_named():
    model = build("decoder-attention-only")
    with pytest.raises(EditError, match="attention only"), tl.edit(model, tl.skip(0, "mlp")):
        pass
    model = build()
    with (
        pytest.raises(EditError, match=r"value='mean'.*mean_of"),
        tl.edit(model, tl.ablate(0, 0, value="mean")),
    ):
        model(torch.tensor([[5]]))  # the mean over one token is that token
    assert all(m.taps == () for m in model.tapped())
    with pytest.raises(EditError, match="no text was given"):
        tl.mean_of(model, [])
    with pytest.raises(EditError, match="most=20"):
        tl.mean_of(model, tl.datasets.reverse().batches(2))


@pytest.mark.badinput
@torch.no_grad()
def test_recurrent_models_are_edited_where_they_attend_and_say_where_not():
    config = tl.RecurrentConfig(vocab_size=20, kind="encoder-decoder", d_model=8)
    text = torch.randint(1, 20, (2, 5)), torch.randint(1, 20, (2, 4))
    model = tl.Recurrent(config).eval()
    before = model(*text)
    for edit in (tl.ablate(0, 0), tl.scale(0, by=0.5), tl.knock_out(query=2, key=1)):
        with tl.edit(model, edit):  # its one kind is cross
            assert not torch.allclose(model(*text), before, atol=1e-5)
    for edit, words in ((tl.skip(0), "no blocks"), (tl.ablate(0, kind="decoder"), "it has cross")):
        with pytest.raises(EditError, match=words), tl.edit(model, edit):
            pass
    for options in (dict(), dict(kind="encoder-decoder", attention="none")):
        model = tl.Recurrent(tl.RecurrentConfig(vocab_size=20, d_model=8, **options))
        with pytest.raises(EditError, match=r"no attention.*bahdanau"), tl.edit(model, tl.ablate()):
            pass


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that is made meanwhile."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numel = max(self.numel, made.numel())
        return made


@pytest.mark.oomguard
@torch.no_grad()
def test_a_cut_takes_the_memory_of_the_heads_that_it_touches():
    n = 3000
    model = tl.Transformer(ModelConfig(vocab_size=9, n_layers=1, n_heads=12, d_model=24, n_ctx=n))
    model, text = model.eval(), torch.arange(n)[None] % 9
    clean = tl.trace(model, text)
    for edit, limit in (
        (tl.knock_out(0, 1, query=2000, key=3), 24 * 4 * n + 1),  # no map at all
        (tl.knock_out(0, 1, key=3), n * n + 1),  # one head's
    ):
        with tl.edit(model, edit), Largest() as largest:
            trace = tl.trace(model, text)
        assert largest.numel < limit
        assert trace.kept_bytes() == clean.kept_bytes()
        found = trace.pattern(0, 1)[2000]
        expected = clean.pattern(0, 1)[2000].index_fill(0, torch.tensor(3), 0.0)
        assert_close(found, expected / expected.sum(), rtol=0, atol=1e-6)
        assert trace.queries_keys(0, 1) is None and trace.queries_keys(0, 2) is not None


@EACH_ARCHITECTURE
@torch.no_grad()
def test_a_cut_is_what_a_mask_of_every_edge_gives(name):
    model = build(name)
    text = inputs(model)

    class Mask(tl.Tap):
        def __init__(self, kind, edits):
            self.kind, self.edits = kind, edits

        def on_attention(self, call):
            if call.site.kind != self.kind:
                return call
            allowed = torch.ones(1, *call.shape[1:], dtype=torch.bool)
            for layer, head, query, key in self.edits:
                if layer in (None, call.site.layer):
                    allowed[:, head, query, key] = False
            return replace(call, bias=add_bias(call.bias, allowed))

    every = slice(None)
    for kind in kinds(model):
        cuts = [(0, 1, 3, 1), (0, 1, 3, 2), (1, every, every, 2), (None, 3, 4, every)]
        tap = Mask(kind, cuts)
        model.add_tap(tap)
        expected = model(*text)
        model.remove_tap(tap)
        number = lambda x: x if isinstance(x, int) else None  # noqa: E731
        edits = [
            tl.knock_out(number(a), number(h), query=number(q), key=number(k), kind=kind)
            for a, h, q, k in cuts
        ]
        with tl.edit(model, *edits):
            assert_close(model(*text), expected, rtol=0, atol=1e-5)


@pytest.mark.badinput
def test_no_edit_and_no_transformer_are_named():
    with pytest.raises(EditError, match="no edit was given"), tl.edit(build()):
        pass
    linear = torch.nn.Linear(2, 2)
    with pytest.raises(EditError, match="Linear"), tl.edit(linear, tl.ablate(0, 0)):
        pass
