"""Gradients under edits are the same if checkpointing computes layers twice."""

import pytest
import torch
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

import transformer_lab as tl
from tests.adapters.families import T, text, tiny
from transformer_lab.edits.kinds import EditError

EDITS = {
    "ablate": lambda: tl.ablate(layer=1, head=2),
    "cut": lambda: tl.knock_out(layer=0, head=1, key=2),
    "skip": lambda: tl.skip(layer=1, part="attention"),
}


def gradients(model, given, edit):
    model.zero_grad()
    with tl.edit(model, edit):
        model(**given).logits.square().mean().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "not reentrant"])
@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_oss", "diffllama", "bart", "t5"])
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
    truth = {what: gradients(model, given, make()) for what, make in EDITS.items()}
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    plain = gradients(model, given, tl.scale(0, 0, by=1.0))
    for what, make in EDITS.items():
        found = gradients(model, given, make())
        assert found.keys() == truth[what].keys()
        for n, grad in found.items():
            assert_close(grad, truth[what][n], rtol=1e-4, atol=1e-6, msg=f"{what}, {n}")
        assert any(not torch.allclose(found[n], plain[n], atol=1e-6) for n in found)


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
