"""Rollout against its definition; flow against every cut of a small network."""

from functools import partial
from itertools import product

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import small
from tests.missing import package
from transformer_lab.analysis import circuits

model_of = partial(small, noise=0.5, vocab_size=20, n_heads=2, d_model=16)


TOKENS = torch.tensor([[3, 7, 1, 3, 9], [4, 4, 0, 2, 8]])


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_rollout_is_the_product_of_half_attention_and_half_identity(kind):
    trace = tl.trace(model_of(kind, n_layers=3), TOKENS)
    found = circuits.rollout(trace, batch=1)
    held = torch.eye(5, dtype=torch.float64)
    assert_close(found[0].double(), held)
    for layer, maps in enumerate(trace.patterns(batch=1)):
        held = (maps.double().mean(0) / 2 + torch.eye(5) / 2) @ held
        assert_close(found[layer + 1].double(), held, rtol=0, atol=1e-6)
    assert_close(found.sum(-1), torch.ones(4, 5))


def test_with_all_weight_on_one_head_and_no_residual_it_is_that_heads_map():
    trace = tl.trace(model_of(n_layers=1), TOKENS)
    found = circuits.rollout(trace, heads=torch.tensor([[0.0, 3.0]]), residual=0)
    assert_close(found[1], trace.pattern(0, 1))
    assert_close(circuits.rollout(trace, residual=1)[1], torch.eye(5))


def test_a_padded_row_keeps_what_it_has():
    mask = torch.tensor([[False, True, True, True, True]])
    trace = tl.trace(model_of(n_layers=2), TOKENS[:1], mask=mask)
    assert trace.pattern(0)[:, 0].abs().sum() == 0, "the first token may look at nothing"
    found = circuits.rollout(trace)
    assert_close(found[-1, 0], torch.eye(5)[0])
    assert_close(found.sum(-1), torch.ones(3, 5))


def test_across_an_encoder_decoder_target_and_source_share_the_whole():
    model = model_of("encoder-decoder", n_layers=2)
    trace = tl.trace(model, TOKENS[:1], torch.tensor([[1, 5, 6]]))
    found = circuits.rollout(trace, kind="cross")
    source = circuits.rollout(trace, kind="encoder")[-1]
    # One matrix over target and source, which starts from the encoder's finished rollout.
    whole = torch.eye(8)
    for layer in range(2):
        own, cross = torch.eye(8), torch.eye(8)
        own[:3, :3] = trace.pattern(layer, kind="decoder").mean(0) / 2 + torch.eye(3) / 2
        cross[:3, :3] = torch.eye(3) / 2
        cross[:3, 3:] = trace.pattern(layer, kind="cross").mean(0) / 2
        whole = cross @ own @ whole
        assert_close(found[layer + 1], whole[:3, 3:] @ source, rtol=0, atol=1e-6)
        assert_close(whole[:3].sum(-1), torch.ones(3))
    assert found[0].abs().max() == 0


def test_of_a_hugging_face_model_it_is_the_same():
    transformers = package("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=20)
    trace = tl.trace(transformers.GPT2LMHeadModel(config).eval(), TOKENS)
    first, second = trace.patterns().mean(1) / 2 + torch.eye(5) / 2
    assert_close(circuits.rollout(trace)[-1], second @ first)


def test_flow_is_the_narrowest_of_all_cuts():
    """Max-flow min-cut (Ford and Fulkerson 1956): try all 2⁶ cuts of two middle layers."""
    trace = tl.trace(model_of("encoder", n_layers=3), TOKENS[:, :3])
    layers = [maps.mean(0) / 2 + torch.eye(3) / 2 for maps in trace.patterns()]
    found = circuits.flow(trace, position=1)
    for key in range(3):
        least = float("inf")
        for inside in product((False, True), repeat=6):
            upper, lower = inside[:3], inside[3:]
            sides = [(False, True, False), upper, lower, (False,) * 3]
            cut = sum(
                layers[2 - at][q, k].item()
                for at in range(3)
                for q in range(3)
                for k in range(3)
                # At the ends only the source and the sink count: other inputs lead nowhere.
                if sides[at][q] and not sides[at + 1][k] and (at < 2 or k == key)
            )
            least = min(least, cut)
        assert found[key].item() == pytest.approx(least, abs=1e-5)


def test_flow_from_the_first_layer_is_that_layers_map():
    trace = tl.trace(model_of(n_layers=2), TOKENS)
    for position in (-1, 2):
        expected = trace.pattern(0).mean(0)[position] / 2 + torch.eye(5)[position] / 2
        assert_close(circuits.flow(trace, position, layer=0), expected)


def test_long_texts_take_the_memory_of_one_map_and_the_result():
    trace = tl.trace(model_of(n_layers=2, n_ctx=256), torch.arange(240) % 20)
    trace.budget_mib = 1
    assert circuits.rollout(trace).shape == (3, 240, 240)
    trace.budget_mib = 0.5
    with pytest.raises(tl.MemoryBudgetError, match="budget"):
        circuits.rollout(trace)


@pytest.mark.badinput
def test_bad_input():
    trace = tl.trace(model_of(n_layers=2, n_ctx=256), torch.arange(200) % 20)
    with pytest.raises(ValueError, match=r"80,000 edges.*shorten the text to 128 tokens"):
        circuits.flow(trace)
    with pytest.raises(ValueError, match=r"heads must .*\[2, 2\], got \[2\]"):
        circuits.rollout(trace, heads=torch.ones(2))
    with pytest.raises(ValueError, match="no negative weight"):
        circuits.rollout(trace, heads=torch.tensor([[0.0, 0], [1, 1]]))
    with pytest.raises(ValueError, match=r"residual must be between 0 and 1, got 2"):
        circuits.rollout(trace, residual=2)
    with pytest.raises(ValueError, match="position=200 is outside the 200 tokens"):
        circuits.flow(trace, 200)
    with pytest.raises(ValueError, match="cross"):
        circuits.rollout(trace, kind="cross")
