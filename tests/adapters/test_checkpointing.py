"""Gradients under edits are the same if checkpointing computes layers twice, within the edit's block
or after it."""

from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

import transformer_lab as tl
from tests.adapters.families import T, text, tiny
from tests.adapters.test_named_network import build, named
from tests.factories import small
from transformer_lab.edits.kinds import EditError

EDITS = {
    "ablate": lambda: tl.ablate(layer=1, head=2),
    "cut": lambda: tl.knock_out(layer=0, head=1, key=2),
    "skip": lambda: tl.skip(layer=1, part="attention"),
    "mlp": lambda: tl.skip(layer=0, part="mlp"),
}


def loss(model, given):
    return model(**given).logits.square().mean()


def within(network, model, given, edit):
    with tl.edit(network, edit):
        loss(model, given).backward()


def after(network, model, given, edit):
    with tl.edit(network, edit):
        found = loss(model, given)
    found.backward()


def with_plain(network, model, given, edit):
    """A plain and two edited passes, in one backward pass."""
    plain = loss(model, given)
    with tl.edit(network, edit):
        found = loss(model, given)
    with tl.edit(network, tl.scale(0, 0, by=3.0)):
        found = found + 2 * loss(model, given)
    (3 * found + plain).backward()


def plain_within(network, model, given, edit):
    plain = loss(model, given)
    with tl.edit(network, edit):
        loss(model, given)
        plain.backward()


def gradients(model, given, edit, how=within, network=None):
    """Of every parameter; where torch refuses to compute the pass again, the reason."""
    model.zero_grad()
    try:
        how(network or model, model, given, edit)
    except EditError as error:
        return str(error)
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def check(truth, found, plain, reentrant):
    """Compare gradients: {(edit, how): by parameter}."""
    for (what, how), grads in found.items():
        if isinstance(grads, str):
            assert how == "plain_within" and not reentrant and "after the block" in grads
            continue
        assert grads.keys() == truth[what, how].keys()
        for n, grad in grads.items():
            true = truth[what, how][n]
            near = 1e-6 + 1e-5 * float(true.abs().max())
            assert_close(grad, true, rtol=1e-4, atol=near, msg=lambda m: f"{what}, {how}, {n}: {m}")  # noqa: B023
        same = all(torch.allclose(grads[n], plain[n], atol=1e-6) for n in grads)
        assert same == (how == "plain_within")


HOW = (within, after, with_plain, plain_within)
REENTRANT = pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "not reentrant"])


def each(model, given, network=None):
    return {
        (what, how.__name__): gradients(model, given, make(), how, network)
        for what, make in EDITS.items()
        for how in HOW
    }


@REENTRANT
@pytest.mark.parametrize(
    "name", ["llama", "gemma2", "gpt_oss", "diffllama", "bart", "t5", "mistral", "falcon"]
)
def test_a_layer_that_is_computed_again_is_the_same_layer(name, reentrant):
    model = tiny(name)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.config.dropout = model.config.attention_dropout = 0.0
    for module in model.modules():
        for which in ("dropout", "activation_dropout", "attention_dropout"):
            if isinstance(getattr(module, which, None), float):
                setattr(module, which, 0.0)
    model.train()
    given = dict(text(model), use_cache=False)
    truth = each(model, given)
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    plain = gradients(model, given, tl.scale(0, 0, by=1.0))
    check(truth, each(model, given), plain, reentrant)


def of_ours_or_named(kind):
    """A model with its blocks, as it is called, and the network to edit."""
    if kind == "ours":
        model = small(n_layers=2, n_heads=4, d_model=32, vocab_size=50)
        return model, model.decoder.blocks, model
    model = build()
    return model, model.layers, named(model)


def checkpointing(blocks, reentrant):
    for block in blocks:
        once = block.forward
        block.forward = lambda x, *rest, once=once, **more: checkpoint(
            lambda x: once(x, *rest, **more), x, use_reentrant=reentrant
        )


@REENTRANT
@pytest.mark.parametrize("kind", ["ours", "named"])
def test_so_it_is_in_models_that_call_checkpoint_themselves(kind, reentrant):
    model, blocks, network = of_ours_or_named(kind)
    whole = lambda ids: SimpleNamespace(logits=model(ids))  # noqa: E731
    whole.zero_grad, whole.named_parameters = model.zero_grad, model.named_parameters
    given = dict(ids=torch.arange(18).reshape(2, 9) % 11)
    truth = each(whole, given, network)
    checkpointing(blocks, reentrant)
    plain = gradients(whole, given, tl.scale(0, 0, by=1.0), network=network)
    check(truth, each(whole, given, network), plain, reentrant)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


ANALYSES = {
    "gradients": lambda n, ids: tl.trace(n, ids, gradients=(4, 8)).gradient("pattern", layer=0),
    "estimates": lambda n, ids: tl.estimate_effects(n, ids).values,
    "edges": lambda n, ids: tl.edge_scores(n, ids, ids.flip(0), metric=(4, 8), steps=2).values,
}


@REENTRANT
@pytest.mark.parametrize(  # edge scores need a batch of copies, which `named` does not take
    ("kind", "what"),
    [
        (kind, what)
        for kind in ("ours", "named")
        for what in ANALYSES
        if (kind, what) != ("named", "edges")
    ],
)
def test_analyses_by_gradients_are_exact_or_refused(kind, what, reentrant):
    _, blocks, network = of_ours_or_named(kind)
    ids = torch.arange(2, 11)
    truth = ANALYSES[what](network, ids)
    assert truth.nan_to_num().abs().max() > 0
    checkpointing(blocks, reentrant)
    if reentrant or what == "edges":
        with pytest.raises(ValueError, match="no gradient reaches"):
            ANALYSES[what](network, ids)
    else:
        assert_close(ANALYSES[what](network, ids), truth)


@pytest.mark.badinput
def test_layers_that_share_their_weights_cannot_be_told_apart_when_computed_again():
    sizes = dict(vocab_size=64, embedding_size=16, hidden_size=32, intermediate_size=48)
    config = T.AlbertConfig(num_hidden_layers=3, num_attention_heads=4, **sizes)
    model = T.AlbertForMaskedLM(config).eval()
    group = model.albert.encoder.albert_layer_groups[0]
    once = group.forward
    group.forward = lambda *x, **more: checkpoint(once, *x, use_reentrant=False, **more)
    with (
        pytest.raises(EditError, match="which of them it is computed again"),
        tl.edit(model, tl.ablate(layer=1, head=2)),
    ):
        model(text(model)["input_ids"]).logits.sum().backward()
