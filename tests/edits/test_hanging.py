"""Interventions: each changes what it should and nothing else, and leaves nothing behind."""

import copy
import pickle
import threading

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.edits.scenes import EACH_ARCHITECTURE, build, inputs, kinds, other_run, reference
from transformer_lab.attention import Site
from transformer_lab.datasets.batches import Batch
from transformer_lab.edits.kinds import EditError

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
    """The edit, or None if it does not apply to this model."""
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
    """Not a slice after the output projection: all of d_model loses z_h · W_O^h."""
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
    """Each position is edited in the pass that reads it, and in no other."""
    model = build()
    text, other = inputs(model)[0], other_run(model)
    for edit in (
        tl.ablate(1, 2),
        tl.skip(0),
        tl.scale(0, 1, by=-1),
        tl.knock_out(query=3, key=1),
        tl.knock_out(1, key=2),
        tl.patch(other, 1, 2, position=4),
    ):
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
            assert_close(compiled(*text), expected, rtol=0, atol=1e-5)
        assert_close(compiled(*text), before, rtol=0, atol=1e-5)


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
def test_a_copy_of_an_edited_model_is_not_edited():
    model = build()
    text = inputs(model)
    plain = model(*text)
    with tl.edit(model, tl.skip(1), tl.patch(other_run(model), 0, what="resid_post")):
        assert not torch.equal(model(*text), plain)
        twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        block = copy.deepcopy(model.decoder.blocks[1])
    for twin in twins:
        assert torch.equal(twin(*text), plain)
        assert vars(twin).keys() == vars(model).keys()
    assert block.taps == block.attention.taps == () and not block._forward_hooks


def test_edits_let_gradients_through():
    model = build()
    with tl.edit(model, tl.ablate(0, 1)):
        model(*inputs(model)).square().mean().backward()
    weight = model.decoder.blocks[0].attention.out.weight.grad
    assert not weight[:, 8:16].any(), "the ablated head has no say"
    assert weight[:, :8].any()


@pytest.mark.badinput
@torch.no_grad()
def test_recurrent_models_are_edited_where_they_attend_and_say_where_not():
    config = tl.RecurrentConfig(vocab_size=20, kind="encoder-decoder", d_model=8)
    text = torch.randint(1, 20, (2, 5)), torch.randint(1, 20, (2, 4))
    model = tl.Recurrent(config).eval()
    before = model(*text)
    for edit in (tl.ablate(0, 0), tl.scale(0, by=0.5), tl.knock_out(query=2, key=1)):
        with tl.edit(model, edit):  # its only kind is cross
            assert not torch.allclose(model(*text), before, atol=1e-5)
    for edit, words in ((tl.skip(0), "no blocks"), (tl.ablate(0, kind="decoder"), "it has cross")):
        with pytest.raises(EditError, match=words), tl.edit(model, edit):
            pass
    for options in (dict(), dict(kind="encoder-decoder", attention="none")):
        model = tl.Recurrent(tl.RecurrentConfig(vocab_size=20, d_model=8, **options))
        with pytest.raises(EditError, match=r"no attention.*bahdanau"), tl.edit(model, tl.ablate()):
            pass


@pytest.mark.badinput
def test_no_edit_and_no_transformer_are_named():
    with pytest.raises(EditError, match="needs at least one edit"), tl.edit(build()):
        pass
    linear = torch.nn.Linear(2, 2)
    with pytest.raises(EditError, match="Linear"), tl.edit(linear, tl.ablate(0, 0)):
        pass
