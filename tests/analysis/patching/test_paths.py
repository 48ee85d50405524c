"""Path patching against edits that hold every other part, and against the stream by hand."""

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.analysis.patching.scenes import (
    CLEAN,
    CORRUPTED,
    MODELS,
    PAIR,
    difference,
    gpt2,
    logits,
    ours,
)
from transformer_lab.edits.kinds import EditError

EACH = pytest.mark.parametrize("name", MODELS)


def path(model, **options):
    return tl.path_patch(model, CLEAN, CORRUPTED, metric=PAIR, **options)


def runs(model):
    return [tl.trace(model, tokens, keep="all") for tokens in (CLEAN, CORRUPTED)]


def under(model, *edits):
    with tl.edit(model, *edits):
        return difference(logits(model, CORRUPTED))


@EACH
def test_a_path_to_the_logits_is_that_part_with_all_others_held(name):
    model = MODELS[name]()
    clean, corrupted = runs(model)
    base = difference(logits(model, CORRUPTED))
    direct, mlps = path(model), path(model, via="mlp")
    assert direct.into == pytest.approx(base) and not direct.estimated
    for layer, head in ((0, 1), (1, 2), (2, 3)):
        sent = tl.patch(clean, layer, head)
        attention = [tl.patch(corrupted, i, what="attn_out") for i in range(layer + 1, 3)]
        held = [tl.patch(corrupted, i, what="mlp_out") for i in range(layer, 3)]
        expected = under(model, sent, *attention, *held) - base
        assert float(direct.exact[layer, head]) == pytest.approx(expected, abs=1e-5)
        one = path(model, sender=(layer, head))
        assert one.value == pytest.approx(expected, abs=1e-5)
        assert one.recovered == pytest.approx(one.value / (one.source - one.into))
        expected = under(model, sent, *attention) - base
        assert float(mlps.exact[layer, head]) == pytest.approx(expected, abs=1e-5)


@EACH
def test_what_a_head_reads_is_the_stream_with_what_was_sent(name):
    """Add the sender's vectors to the stream before the receiver, and patch in the receiver's
    queries, or all its inputs."""
    model = MODELS[name]()
    clean, corrupted = runs(model)
    base = difference(logits(model, CORRUPTED))
    for what in ("attn_out", "mlp_out"):
        sent = (clean.activation(what, 0) - corrupted.activation(what, 0))[0]
        with tl.edit(model, tl.steer(sent, 2, what="resid_pre")):
            moved = tl.trace(model, CORRUPTED, keep="all")
        expected = under(model, tl.patch(moved, 2, 1, what="q")) - base
        found = path(model, sender=(0, what), receiver=(2, 1, "q"))
        assert found.value == pytest.approx(expected, abs=1e-5)
        if name != "llama":  # its heads share keys, so no patch moves only one's
            edits = [tl.patch(moved, 2, 1, what=w) for w in ("q", "k", "v")]
            found = path(model, sender=(0, what), receiver=(2, 1))
            assert found.value == pytest.approx(under(model, *edits) - base, abs=1e-5)
    both = path(model, sender=(0, "mlp_out"), receiver=[(2, 1), (2, 3)])
    alone = [path(model, sender=(0, "mlp_out"), receiver=(2, h)).value for h in (1, 3)]
    assert both.value != pytest.approx(alone[0], abs=1e-6)
    assert both.value != pytest.approx(alone[1], abs=1e-6)


def test_parts_that_are_left_free_pass_on_what_they_make_of_it():
    model = ours()
    clean, corrupted = runs(model)
    base = difference(logits(model, CORRUPTED))
    heads = [(i, h) for i in range(3) for h in range(4)]
    every = [*heads, *((i, "mlp_out") for i in range(3))]
    whole = path(model, sender=(0, 1), via=every)
    assert whole.value == pytest.approx(under(model, tl.patch(clean, 0, 1)) - base, abs=1e-6)
    held = [tl.patch(corrupted, i, what="mlp_out") for i in range(3)]
    held += [tl.patch(corrupted, i, h) for i, h in heads if i > 0 and (i, h) != (1, 2)]
    found = path(model, sender=(0, 1), via=[(1, 2)])
    assert found.value == pytest.approx(under(model, tl.patch(clean, 0, 1), *held) - base, abs=1e-6)
    layers = path(model, sender=(0, 1), via=[(1, "attn_out"), (2, "attn_out")])
    mlps = [tl.patch(corrupted, i, what="mlp_out") for i in range(3)]
    assert layers.value == pytest.approx(
        under(model, tl.patch(clean, 0, 1), *mlps) - base, abs=1e-6
    )


@torch.no_grad()
def test_the_direct_path_is_the_last_norm_and_head_of_the_stream():
    model = ours()
    clean, corrupted = runs(model)
    moved = (clean.activation("z", 1) - corrupted.activation("z", 1))[0, 2]
    sent = moved @ model.decoder.blocks[1].attention.out.weight.T[16:24]
    stream = corrupted.residual()["resid_post"][-1] + sent
    by_hand = difference(model.head(model.decoder.norm(stream))[None])
    found = path(model, sender=(1, 2))
    assert found.value == pytest.approx(by_hand - difference(logits(model, CORRUPTED)), abs=1e-6)


def test_both_directions_and_little_memory_are_the_same_arithmetic():
    model = gpt2()
    found = path(model, receiver=(2, 0, "v"), via="mlp")
    assert found.exact[2].isnan().all() and not found.exact[:2].isnan().any()
    assert "to head 2.0 (v) via mlp" in found.title and "via mlp" in repr(found)
    few = path(model, receiver=(2, 0, "v"), via="mlp", budget_mib=0.01)
    assert_close(few.exact, found.exact, rtol=0, atol=1e-6, equal_nan=True)
    back = tl.path_patch(model, CORRUPTED, CLEAN, metric=PAIR, direction="noising")
    assert_close(back.exact, path(model).exact, rtol=0, atol=1e-6)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(sender=(2, 1), receiver=(1, 0)), ["sender=(2, 1)", "before its receiver (layer 1)"]),
        (dict(sender=(1, "mlp_out"), receiver=(1, 0)), ["(1, 'mlp_out')", "layer 1"]),
        (dict(receiver=(0, 1)), ["layer 0", "no earlier head"]),
        (dict(sender=(5, 1)), ["sender", "layer=5", "0 … 2"]),
        (dict(sender=(1, 9)), ["sender", "head=9", "0 … 3"]),
        (dict(sender="head 3"), ["sender must", "mlp_out", "got 'head 3'"]),
        (dict(sender=(1, "mlp")), ["'mlp'", "attn_out"]),
        (dict(sender=(0, 1), receiver=(2, 7)), ["receiver", "head=7", "0 … 3"]),
        (dict(sender=(0, 1), receiver="mlp"), ["receiver must", "logits", "got 'mlp'"]),
        (dict(sender=(0, 1), receiver=(2, 1, "z")), ["'z'", "'q', 'k' or 'v'"]),
        (dict(sender=(0, 1), via="heads"), ["via must", '"mlp"', "got 'heads'"]),
        (dict(sender=(0, 1), via=[(1, 9)]), ["via", "head=9"]),
    ],
)
def test_a_path_that_is_not_there_is_named(options, words):
    with pytest.raises(EditError) as error:
        path(ours(), **options)
    assert all(word in str(error.value) for word in words), error.value


def test_a_model_of_attention_only_has_no_mlp_to_hold():
    model = ours(attention_only=True)
    found = path(model, sender=(0, 1))
    assert found.value == pytest.approx(path(model, sender=(0, 1), via="mlp").value)
    assert found.value != 0


@pytest.mark.badinput
def test_a_model_whose_parts_cannot_be_held_is_refused(monkeypatch):
    model = ours()
    monkeypatch.setattr(
        "transformer_lab.adapters.own_network.OurNetwork.stands_between", lambda *_: True
    )
    with pytest.raises(EditError, match="a gate or norm comes between"):
        path(model, sender=(0, 1))
