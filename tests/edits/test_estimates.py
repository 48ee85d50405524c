"""First-order estimates of heads' effects, against small steps and ablations."""

import math

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.edits.test_sweep import EACH, build, kinds, last, texts
from tests.factories import small
from tests.hostile.interrupts import Subject
from tests.missing import package
from transformer_lab.edits.kinds import EditError

STEP = 1e-3


def tiny_gpt2():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=50, n_layer=3, n_head=4, n_embd=32, n_positions=16)
    return transformers.GPT2LMHeadModel(config).eval()


def log_prob(model, given, places, chosen):
    rows = torch.arange(len(places))
    return model(**given)[rows, places].double().log_softmax(-1)[rows, chosen].mean()


@EACH
@torch.no_grad()
def test_an_estimate_is_the_slope_at_which_a_head_begins_to_shrink(name):
    model = build(name).double()
    given = texts(model)
    places = last(given)
    for kind in kinds(model):
        found = tl.estimate_effects(model, **given, kind=kind)
        assert found.estimated and found.positions == places.tolist()
        chosen = torch.tensor(found.tokens)
        clean = log_prob(model, given, places, chosen)
        assert found.baseline["log_prob"] == pytest.approx(float(clean), abs=1e-6)
        for layer, head in ((0, 0), (1, 3)):
            ends = []
            for by in (1 - STEP, 1 + STEP):
                with tl.edit(model, tl.scale(layer, head, by=by, kind=kind)):
                    ends.append(log_prob(model, given, places, chosen))
            slope = (ends[0] - ends[1]) / (2 * STEP)
            assert float(found.values[layer, head]) == pytest.approx(
                float(slope), rel=1e-3, abs=1e-5
            )


def test_the_probability_stays_one_however_steep_the_slope():
    model = build().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    found = tl.estimate_effects(model, torch.arange(1, 9), measure="probability")
    now = found.baseline["probability"] + found.values
    assert found.values.abs().max() > 0.01 and now.min() >= 0 and now.max() <= 1
    assert torch.equal(found.values > 0, found.measures["log_prob"] > 0)


@pytest.mark.parametrize("theirs", [False, True])
def test_a_pass_leaves_no_gradient_and_asks_for_none(theirs):
    model = tiny_gpt2() if theirs else build()
    first = tl.estimate_effects(model, torch.arange(1, 9)).values
    asks = [p.requires_grad for p in model.parameters()]
    assert all(p.grad is None for p in model.parameters()) and all(asks)
    model.requires_grad_(False)
    with torch.no_grad():
        assert_close(tl.estimate_effects(model, torch.arange(1, 9)).values, first)
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(getattr(m, "taps", ()) for m in model.modules())


def test_edits_in_force_are_where_an_estimate_begins():
    model = build()
    tokens = torch.arange(1, 9)
    with tl.edit(model, tl.ablate(1, 2)):
        found = tl.estimate_effects(model, tokens)
        exact = tl.sweep_heads(model, tokens)
    assert found.values[1, 2] == 0 and exact.values[1, 2] == 0
    assert found.tokens == exact.tokens and (found.values != 0).sum() == 7


@pytest.mark.parametrize("name", ["bloom", "falcon", "gpt2"])
def test_an_estimate_in_a_model_with_attention_code_of_its_own_is_its_slope(name):
    """Where a model sums its values itself, the graph goes through what the estimate reads."""
    package("transformers")
    subject = Subject(name) if name != "falcon" else None
    if subject is None:
        from tests.adapters.families import tiny

        model, ids = tiny("falcon", alibi=True), torch.arange(3, 9)[None]
    else:
        model, ids = subject.model, subject.clean
    model = model.double()
    found = tl.estimate_effects(model, ids)
    for layer, head in ((0, 0), (1, 1)):
        ends = []
        for by in (1 - STEP, 1 + STEP):
            with torch.no_grad(), tl.edit(model, tl.scale(layer, head, by=by)):
                ends.append(float(model(ids).logits[0, -1].log_softmax(-1)[found.tokens[0]]))
        slope = (ends[0] - ends[1]) / (2 * STEP)
        assert slope and float(found.values[layer, head]) == pytest.approx(slope, rel=1e-3)


def test_an_estimate_says_that_it_is_one():
    found = tl.estimate_effects(build(), torch.arange(1, 9), measure="probability")
    assert repr(found).startswith("<Estimate of probability") and "≈" in repr(found)
    assert found.to_dict()["estimated"] is True and "kl" not in found.measures
    assert tl.sweep_heads(build(), torch.arange(1, 9)).to_dict()["estimated"] is False


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (dict(measure="kl"), "measure must be one of .* for an estimate, got 'kl'"),
        (dict(token=99_999), "token=99999 is outside the vocabulary"),
        (dict(kind="cross"), "kind='cross' is not in this model"),
    ],
)
def test_what_cannot_be_estimated_is_refused(options, told):
    with pytest.raises(EditError, match=told):
        tl.estimate_effects(build(), torch.arange(1, 9), **options)


def test_a_model_without_a_head_has_no_estimates():
    with pytest.raises(EditError, match="has no head"):
        tl.estimate_effects(small(kind="encoder", head=False), torch.arange(1, 9))
    with torch.inference_mode(), pytest.raises(EditError, match="inference_mode"):
        tl.estimate_effects(build(), torch.arange(1, 9))


def ranks(x):
    x = x.flatten()[~x.flatten().isnan()].abs()
    return x.argsort().argsort().double()


def test_estimates_rank_the_heads_of_the_shipped_model():
    """0.62 is the mean over eight texts: docs/estimates.md."""
    model = tl.shipped("manual")
    both = []
    for text in ("for key in self.keys:\n    if key not in self.", "The list is sorted by the"):
        exact = tl.sweep_heads(model, text, measure="probability").values
        both.append(
            (ranks(tl.estimate_effects(model, text, measure="probability").values), ranks(exact))
        )
    for estimate, exact in both:
        assert torch.corrcoef(torch.stack((estimate, exact)))[0, 1] > 0.5
        shuffled = estimate[
            torch.randperm(len(estimate), generator=torch.Generator().manual_seed(0))
        ]
        assert torch.corrcoef(torch.stack((shuffled, exact)))[0, 1] < 0.5


class TestCopies:
    """Several edits in one pass of a Hugging Face model."""

    def passes(self, model):
        made = []
        model.register_forward_pre_hook(
            lambda _, args, given: made.append(len(given["input_ids"])), with_kwargs=True
        )
        return made

    def one_by_one(self, model, tokens):
        found = [
            [float(self.log_prob(model, tokens, layer, head)) for head in range(4)]
            for layer in range(3)
        ]
        return torch.tensor(found)

    @torch.no_grad()
    def log_prob(self, model, tokens, layer, head):
        before = model(tokens).logits[0, -1].log_softmax(-1)
        with tl.edit(model, tl.ablate(layer, head)):
            return (model(tokens).logits[0, -1].log_softmax(-1) - before)[before.argmax()]

    def test_the_heads_of_a_layer_share_a_pass_and_keep_their_numbers(self):
        model, tokens = tiny_gpt2(), torch.arange(1, 9)[None]
        expected = self.one_by_one(model, tokens)
        made = self.passes(model)
        found = tl.sweep_heads(model, tokens)
        assert_close(found.values, expected, atol=1e-5, rtol=0)
        # Clean, then from the last layer; layers 0 and 1, each followed by one of its heads alone
        # (the second begins at its layer); layer 2.
        assert made == [1, 1, 4, 1, 4, 1, 4]
        assert found.positions == [7]

    def test_rows_that_look_at_each_other_share_none(self):
        model, tokens = tiny_gpt2(), torch.arange(1, 9)[None]
        model.transformer.h[1].mlp.register_forward_hook(lambda _, __, out: out + out.mean(0))
        expected = self.one_by_one(model, tokens)
        made = self.passes(model)
        assert_close(tl.sweep_heads(model, tokens).values, expected, atol=1e-5, rtol=0)
        assert made[:4] == [1, 1, 4, 1] and set(made[4:]) == {1} and len(made) == 16

    def test_little_memory_and_few_bits_share_none(self):
        model, tokens = tiny_gpt2(), torch.arange(1, 9)[None]
        made = self.passes(model)
        tl.sweep_heads(model, tokens, budget_mib=0.02)
        assert set(made) == {1}
        made.clear()
        tl.sweep_heads(model.bfloat16(), tokens)
        assert set(made) == {1}

    def test_texts_of_different_lengths_are_read_at_their_own_ends(self):
        model = tiny_gpt2()
        tokens = torch.arange(1, 17).reshape(2, 8)
        mask = torch.arange(8) < torch.tensor([[8], [5]])
        found = tl.sweep_heads(model, tokens, mask=mask)
        assert found.positions == [7, 4]
        alone = [tl.sweep_heads(model, row[:n]) for row, n in zip(tokens, (8, 5), strict=True)]
        mean = sum(one.values for one in alone) / 2
        assert_close(found.values, mean, atol=1e-5, rtol=0)

    def test_a_measure_of_ones_own_is_given_every_position(self):
        model, tokens = tiny_gpt2(), torch.arange(1, 9)[None]
        seen = []
        tl.sweep_heads(model, tokens, measure=lambda x: (seen.append(tuple(x.shape)), x.sum())[1])
        assert set(seen) == {(1, 8, 50)}
        assert not math.isnan(tl.sweep_heads(model, tokens, position=2).values.sum())
