"""Patching another run into a site, and adding vectors to the stream."""

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.edits.scenes import EACH_ARCHITECTURE, build, inputs, kinds, other_run
from transformer_lab.edits.kinds import EditError
from transformer_lab.edits.sites import OF_HEADS, SITES


def sites(model, kind):
    """Sites that one of our models has in a kind of layer."""
    lacks = {"mlp_out"} if model.config.attention_only else set()
    lacks |= set(SITES) - {*OF_HEADS, "attn_out"} if kind == "cross" else set()
    return [what for what in SITES if what not in lacks]


@EACH_ARCHITECTURE
@torch.no_grad()
def test_a_run_patched_into_itself_at_any_site_changes_nothing(name):
    model = build(name)
    text = inputs(model)
    before, own = model(*text), tl.trace(model, *text, keep="all")
    for kind in kinds(model):
        for what in sites(model, kind):
            for more in (dict(), dict(position=[1, 3])):
                with tl.edit(model, tl.patch(own, 1, kind=kind, what=what, **more)):
                    assert_close(model(*text), before, rtol=0, atol=1e-5, msg=f"{kind} {what}")


@EACH_ARCHITECTURE
@torch.no_grad()
def test_what_is_put_in_is_what_the_next_site_sees(name):
    """The other run's pattern and values give its z; its queries and keys give its pattern; and its
    attention and MLP outputs, on its stream, give its stream after the layer."""
    model = build(name)
    text, other = inputs(model), other_run(model)
    for kind in kinds(model):
        at = dict(kind=kind)
        with tl.edit(model, *(tl.patch(other, 1, what=w, **at) for w in ("v", "pattern"))):
            found = tl.trace(model, *text, keep="all")
        for what in ("z", "v", "pattern"):
            assert_close(
                found.activation(what, 1, **at), other.activation(what, 1, **at), rtol=0, atol=2e-6
            )
        with tl.edit(model, *(tl.patch(other, 1, what=w, **at) for w in ("q", "k"))):
            found = tl.trace(model, *text, keep="all")
        assert_close(found.pattern(1, **at), other.pattern(1, **at), rtol=0, atol=2e-6)
        with tl.edit(model, tl.patch(other, 1, 2, what="q", **at)):
            one = tl.trace(model, *text, keep="all")
        clean = tl.trace(model, *text, keep="all").activation("q", 1, **at)
        same = (one.activation("q", 1, **at) == clean).flatten(2).all(-1).all(0)
        assert same.tolist() == [True, True, False, True]
        if kind == "cross":
            continue
        parts = [w for w in ("resid_pre", "attn_out", "mlp_out") if w in sites(model, kind)]
        crossed = []
        if "cross" in kinds(model) and kind == "decoder":
            crossed = [tl.patch(other, 1, kind="cross", what="attn_out")]
        with tl.edit(model, *(tl.patch(other, 1, what=w, **at) for w in parts), *crossed):
            found = tl.trace(model, *text, keep="all")
        assert_close(
            found.activation("resid_post", 1, **at),
            other.activation("resid_post", 1, **at),
            rtol=0,
            atol=2e-6,
        )


@torch.no_grad()
def test_keys_that_heads_share_are_counted_as_the_model_has_them():
    model = build("decoder-grouped-rms-swiglu")
    text, other = inputs(model), other_run(model)
    before = tl.trace(model, *text)
    with tl.edit(model, tl.patch(other, 0, 1, what="k")):
        after = tl.trace(model, *text)
    moved = (after.pattern(0) - before.pattern(0)).abs().flatten(1).amax(1) > 1e-4
    assert moved.tolist() == [False, False, True, True]
    with pytest.raises(EditError, match=r"head=2 is outside 0 … 1"):
        tl.edit(model, tl.patch(other, 0, 2, what="k")).__enter__()


@torch.no_grad()
def test_places_may_be_paired():
    model = build()
    text, other = inputs(model), other_run(model)
    for what, axis in (("z", 2), ("v", 2), ("resid_pre", 1)):
        with tl.edit(model, tl.patch(other, 1, position=[(2, 4)], what=what)):
            found = tl.trace(model, *text, keep="all").activation(what, 1)
        clean, there = (t.activation(what, 1) for t in (tl.trace(model, *text, keep="all"), other))
        assert_close(found.select(axis, 4), there.select(axis, 2))
        assert_close(found.select(axis, 3), clean.select(axis, 3))


@torch.no_grad()
def test_a_cut_after_a_map_that_was_put_in_cuts_it_and_one_before_does_not():
    model = build()
    text, other = inputs(model), other_run(model)
    put, cut = tl.patch(other, 1, 2, what="pattern"), tl.knock_out(1, 2, query=4, key=1)
    with tl.edit(model, put, cut):
        after = tl.trace(model, *text).pattern(1, 2)
    expected = other.pattern(1, 2).clone()
    expected[4, 1] = 0
    assert_close(after, expected / expected.sum(-1, keepdim=True))
    with tl.edit(model, cut, put):
        assert_close(tl.trace(model, *text).pattern(1, 2), other.pattern(1, 2))
    with tl.edit(model, tl.ablate(1, 2), put):  # heads come after edges, in either order
        found = tl.trace(model, *text, keep="all")
    assert not found.activation("z", 1)[:, 2].any()


@pytest.mark.parametrize("what", ["z", "q", "k", "v"])
@torch.no_grad()
def test_a_place_is_patched_with_a_cache_as_without(what):
    model, text = build(), torch.arange(1, 8)[None]
    source = tl.trace(model, text + 20, keep="all")
    options = dict(max_new_tokens=3, temperature=0.0)
    with tl.edit(model, tl.patch(source, 1, position=[1, 4], what=what)):
        found = [tl.generate(model, text, cached=c, **options) for c in (True, False)]
    assert torch.equal(*found)


def test_names_of_transformerlens_are_understood():
    other = other_run(build())
    for given, told in (
        (dict(what="blocks.1.attn.hook_z"), "layer=1"),
        (dict(what="blocks.0.hook_mlp_out"), 'layer=0, what="mlp_out"'),
        (dict(layer=1, what="hook_resid_mid"), 'layer=1, what="resid_mid"'),
        (dict(layer=1, what="blocks.1.attn.hook_rot_k"), 'layer=1, what="k"'),
        (dict(layer=0, what="resid"), 'layer=0, what="resid_pre"'),
    ):
        assert tl.patch(other, **given).code() == f"tl.patch(source_trace, {told})"


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda t: tl.patch(t, 0, what="hook_result"), ["hook_result", "pattern", "attn_out"]),
        (lambda t: tl.patch(t, 0, what=3), ["what must", "resid_pre", "got 3"]),
        (lambda t: tl.patch(t, 0, what="blocks.1.attn.hook_q"), ["layer 1", "layer=0"]),
        (lambda t: tl.patch(t, 0, 1, what="mlp_out"), ["head=1", "mlp_out"]),
        (lambda t: tl.patch(t, 0, 9, what="v"), ["head=9", "0 … 3"]),
        (lambda t: tl.patch(t, 0, position=[(1, 9)], what="k"), ["position=9", "7 tokens"]),
        (lambda t: tl.steer(torch.ones(5), 0), ["d_model=32 numbers", "got 5"]),
        (lambda t: tl.steer(torch.ones(3, 32), 0), ["the 7 steered positions", "got 3"]),
        (lambda t: tl.steer(torch.ones(32) / 0, 0), ["NaN or infinity"]),
        (lambda t: tl.steer(torch.ones(2, 2, 2), 0), ["shape [2, 2, 2]", "d_model"]),
        (lambda t: tl.steer(torch.arange(32), 0), ["torch.int64", "floats"]),
        (lambda t: tl.steer(torch.ones(32), 9), ["layer=9", "0 … 1"]),
        (lambda t: tl.steer(torch.ones(32), 0, by=float("inf")), ["by must", "finite", "got inf"]),
        (lambda t: tl.steer(torch.ones(32), 0, what="z"), ["what must", "resid_post", "got 'z'"]),
        (lambda t: tl.steer(torch.ones(32), 0, position=7), ["position=7", "cached=False"]),
    ],
)
def test_what_fits_nowhere_is_named(make, words):
    model = build()
    with pytest.raises(EditError, match=r".+") as error, tl.edit(model, make(other_run(model))):
        model(*inputs(model))
    assert all(word in str(error.value) for word in words), error.value
    assert all(m.taps == () for m in model.tapped())


@torch.no_grad()
def test_what_a_trace_did_not_keep_is_named():
    text = inputs(build())
    maps = tl.trace(build(), *text, keep="maps")
    assert tl.patch(maps, 0, what="q") and tl.patch(maps, 0, what="pattern")
    for what in ("v", "mlp_out"):
        with pytest.raises(EditError, match="keep='all'"):
            tl.patch(maps, 0, what=what)
    model = build()
    edit = tl.patch(tl.trace(model, text[0][:, :5]), 0, position=2, what="pattern")
    with pytest.raises(EditError, match="4 heads and 5 keys"), tl.edit(model, edit):
        model(*text)


@EACH_ARCHITECTURE
@torch.no_grad()
def test_a_steered_stream_is_the_stream_and_the_vector(name):
    model = build(name)
    text, kind = inputs(model), kinds(model)[0]
    vector = torch.linspace(-1, 1, 32)
    clean = tl.trace(model, *text, keep="all")
    for what in ("resid_pre", "resid_post"):
        with tl.edit(model, tl.steer(vector, 1, by=-2, position=[0, 3], what=what, kind=kind)):
            found = tl.trace(model, *text, keep="all").activation(what, 1, kind=kind)
        expected = clean.activation(what, 1, kind=kind).clone()
        expected[:, [0, 3]] -= 2 * vector
        assert_close(found, expected)
    edit = tl.steer(vector, 1, by=2.0, kind=kind)
    assert edit.describe().endswith("2 × a vector added to resid_post")
    assert repr(eval(edit.code(), {"tl": tl, "vector": vector})) == edit.code()
    with pytest.raises(EditError, match="must be a text or a number"):
        edit.to_dict()


@torch.no_grad()
def test_a_model_is_steered_while_it_writes():
    model, text = build(), torch.arange(1, 5)[None]
    towards = model.head.weight[7] * 50
    with tl.edit(model, tl.steer(towards, 1)):
        options = dict(max_new_tokens=4, temperature=0.0)
        found = [tl.generate(model, text, cached=c, **options) for c in (True, False)]
    assert torch.equal(*found)
