"""Position schemes against their closed forms and against transformers."""

import math

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from transformer_lab import ALiBi, Learned, NoPositions, Relative, Rotary, Sinusoidal
from transformer_lab.config import MODEL_KINDS
from transformer_lab.positions import (
    alibi_slopes,
    relative_buckets,
    rotary_angles,
    scheme,
    scheme_to_dict,
    sinusoids,
)

SIZES = dict(d_model=32, n_heads=4, d_head=8, n_ctx=64)
SCHEMES = [NoPositions(), Sinusoidal(), Sinusoidal(halves=True), Learned(), Rotary(500.0), ALiBi()]
SCHEMES += [Relative(), Relative(buckets=16, max_distance=40)]


def test_sinusoids_are_the_papers_formula():
    table = sinusoids(50, 16)
    for position in (0, 1, 7, 49):
        for i in range(8):
            angle = position / 10000 ** (2 * i / 16)
            assert table[position, 2 * i] == pytest.approx(math.sin(angle), abs=1e-7)
            assert table[position, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-7)


def test_an_odd_size_is_refused_with_the_way_out():
    sizes = dict(d_model=21, n_heads=3, d_head=7, n_ctx=4)
    for made, words in (
        (Rotary(), "d_head must be even .* got 7; try d_head=8 .*or positions=ALiBi"),
        (Sinusoidal(), r"d_model must be even .* got 21; try d_model=22, or positions=Learned"),
    ):
        with pytest.raises(ValueError, match=words):
            made.build(**sizes)
    for way in (ALiBi(), Learned()):
        way.build(**sizes)
    Rotary().build(**sizes | {"d_head": 8})


def test_halved_sinusoids_are_the_same_numbers_in_marians_order():
    interleaved, halves = sinusoids(50, 16), sinusoids(50, 16, halves=True)
    assert_close(halves[:, :8], interleaved[:, 0::2])
    assert_close(halves[:, 8:], interleaved[:, 1::2])


def test_a_shift_of_sinusoids_is_a_rotation():
    """PE[p + k] is a linear function of PE[p], the paper's reason for them, and their dot product
    depends on the distance alone."""
    table = sinusoids(60, 16).double()
    products = table @ table.T
    for distance in (1, 5, 20):
        along = products.diagonal(distance)
        assert_close(along, along[:1].expand_as(along), rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_heads", [1, 2, 4, 8, 16])
def test_alibi_slopes_of_a_power_of_two_are_a_geometric_series(n_heads):
    expected = torch.tensor([2 ** (-8 * (i + 1) / n_heads) for i in range(n_heads)])
    assert torch.equal(alibi_slopes(n_heads), expected)


def test_alibi_slopes_of_twelve_heads_continue_between():
    slopes = alibi_slopes(12)
    assert torch.equal(slopes[:8], alibi_slopes(8))
    assert_close(slopes[8:10], torch.tensor([0.7071, 0.3536]), rtol=0, atol=5e-5)


def test_alibi_falls_with_distance_on_both_sides_of_an_encoder():
    module, positions = ALiBi().build(**SIZES), torch.arange(6)
    bias = module.bias(positions, positions, causal=False)
    assert_close(bias, bias.transpose(-1, -2))
    assert_close(bias[0, :, 0], -alibi_slopes(4)[:, None] * positions)


def test_alibi_of_a_decoder_differs_from_the_full_form_by_a_constant_a_row():
    """Softmax does not depend on such a constant."""
    module, positions = ALiBi().build(**SIZES), torch.arange(6)
    short = module.bias(positions, positions, causal=True)
    full = alibi_slopes(4)[:, None, None] * (positions[None, :] - positions[:, None])
    difference = (short - full)[0]
    assert_close(difference, difference[..., :1].expand(4, 6, 6))


def test_rotation_keeps_lengths_and_depends_on_distance_alone():
    module = Rotary().build(**SIZES)
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 8)
    positions = torch.arange(20)
    turned_q = module.rotate(q.expand(1, 1, 20, 8), positions)
    turned_k = module.rotate(k.expand(1, 1, 20, 8), positions)
    assert_close(turned_q.norm(dim=-1), q.norm().expand(1, 1, 20))
    products = (turned_q @ turned_k.transpose(-1, -2))[0, 0]
    for distance in (-7, 0, 3):
        along = products.diagonal(distance)
        assert_close(along, along[:1].expand_as(along), rtol=0, atol=1e-5)


def test_rotation_by_rows_of_a_batch_is_rotation_by_each():
    module = Rotary().build(**SIZES)
    torch.manual_seed(0)
    x, positions = torch.randn(2, 4, 5, 8), torch.tensor([[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]])
    together = module.rotate(x, positions)
    for row in range(2):
        alone = module.rotate(x[row : row + 1], positions[row])
        assert_close(together[row : row + 1], alone)


def test_rotation_keeps_its_angles_in_fp32_for_bf16_queries():
    module = Rotary().build(**{**SIZES, "n_ctx": 2000})
    x = torch.ones(1, 1, 1, 8)
    position = torch.tensor([1999])
    exact = module.rotate(x, position)
    assert_close(module.rotate(x.bfloat16(), position).float(), exact, rtol=0, atol=8e-3)


def test_rotation_turns_by_the_closed_form():
    angles = rotary_angles(16, 8)
    assert angles[7, 2] == pytest.approx(7 / 10000 ** (4 / 8), abs=1e-15)
    positions, ones = torch.arange(16), torch.ones(1, 1, 16, 8)
    turned = Rotary().build(**SIZES).rotate(ones, positions)[0, 0].double()
    assert_close(turned[:, :4], angles.cos() - angles.sin(), rtol=0, atol=2e-6)
    assert_close(turned[:, 4:], angles.cos() + angles.sin(), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("buckets", "most"), [(32, 128), (16, 40), (8, 64)])
@pytest.mark.parametrize("causal", [False, True])
def test_relative_positions_are_t5s(causal, buckets, most):
    from transformers import T5Config
    from transformers.models.t5.modeling_t5 import T5Attention

    config = T5Config(
        d_model=32,
        num_heads=4,
        d_kv=8,
        is_decoder=causal,
        relative_attention_num_buckets=buckets,
        relative_attention_max_distance=most,
    )
    theirs = T5Attention(config, has_relative_attention_bias=True)
    distance = torch.arange(-1500, 1500)
    assert torch.equal(
        relative_buckets(distance, causal=causal, buckets=buckets, max_distance=most),
        theirs._relative_position_bucket(distance, not causal, buckets, most),
    )
    ours = Relative(buckets, most).build(**SIZES)
    table = ours.decoder if causal else ours.encoder
    with torch.no_grad():
        table.weight.copy_(theirs.relative_attention_bias.weight)
    positions = torch.arange(300)
    assert torch.equal(ours.bias(positions, positions, causal), theirs.compute_bias(300, 300))
    # Later queries with a cache, and a batch whose texts begin at different positions.
    whole = ours.bias(positions, positions, causal)
    assert torch.equal(ours.bias(positions[290:], positions, causal), whole[:, :, 290:])
    padded = torch.stack([positions, (positions - 3).clamp(min=0)])
    assert torch.equal(ours.bias(padded, padded, causal)[1, :, 3:, 3:], whole[0, :, :-3, :-3])


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_a_model_with_relative_positions_trains_and_comes_back(kind, tmp_path):
    torch.manual_seed(0)
    config = tl.ModelConfig(
        kind=kind, vocab_size=12, n_layers=2, n_heads=2, d_model=16, n_ctx=20, positions="relative"
    )
    assert tl.ModelConfig.from_dict(config.to_dict()) == config
    model = tl.Transformer(config)
    tables = [m for m in (model.positions.encoder, model.positions.decoder) if m is not None]
    assert len(tables) == (2 if kind == "encoder-decoder" else 1)
    tokens = torch.randint(0, 12, (3, 9))
    inputs = (tokens, tokens) if kind == "encoder-decoder" else (tokens,)
    model(*inputs).square().mean().backward()
    for table in tables:
        assert table.weight.grad.abs().max() > 0
    with torch.no_grad():
        for table in tables:
            table.weight.normal_(std=2.0)
    model.eval()
    tl.save_model(model, tmp_path / "model")
    again = tl.load_model(tmp_path / "model")
    assert torch.equal(again(*inputs), model(*inputs))
    # The trace shows what the fused kernel computed, bias included.
    stack = model.encoder or model.decoder
    found = tl.trace(model, *inputs)
    layer = found.scores(0, 1, kind=stack.blocks[0].site.kind)
    bias = model.positions.bias(torch.arange(9), torch.arange(9), stack is model.decoder)[0, 1]
    with torch.no_grad():
        for table in tables:
            table.weight.zero_()
    plain = tl.trace(model, *inputs).scores(0, 1, kind=stack.blocks[0].site.kind)
    seen = plain.isfinite()
    assert_close(layer[seen], (plain + bias)[seen])


def test_relative_positions_learn_what_no_positions_cannot():
    """Which of the two previous tokens to repeat depends on distance alone."""
    losses = {}
    for name in ("none", "relative"):
        torch.manual_seed(1)
        config = tl.ModelConfig(
            vocab_size=8, n_layers=1, n_heads=1, d_model=32, n_ctx=12, positions=name
        )
        batches = []
        for step in range(30):
            tokens = torch.randint(0, 8, (16, 11), generator=torch.Generator().manual_seed(step))
            targets = torch.full_like(tokens, -100)
            targets[:, 2:] = tokens[:, :-2]
            batches.append(tl.datasets.Batch(tokens=tokens, targets=targets))
        steps = list(tl.train(tl.Transformer(config), batches, steps=150, lr=1e-2))
        losses[name] = sum(s.loss for s in steps[-10:]) / 10
    assert losses["relative"] < 0.3 < 1.0 < losses["none"], losses


def test_two_schemes_of_different_base_do_not_share_angles():
    x, position = torch.ones(1, 1, 1, 8), torch.tensor([7])
    one, other = (Rotary(base).build(**SIZES).rotate(x, position) for base in (1e4, 1e5))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("value", SCHEMES, ids=repr)
def test_a_scheme_comes_back_from_its_dictionary(value):
    assert scheme(scheme_to_dict(value)) == value


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: scheme("rope"), ["'rope'", "rotary", "alibi"]),
        (lambda: scheme({"name": "rotary", "theta": 3}), ["rotary", "theta"]),
        (lambda: Rotary().build(**{**SIZES, "d_head": 7}), ["d_head must be even", "got 7"]),
        (
            lambda: Sinusoidal().build(**{**SIZES, "d_model": 33}),
            ["d_model must be even", "got 33"],
        ),
        (lambda: Relative(buckets=30), ["buckets must be a multiple of 4", "got 30"]),
        (lambda: Relative(max_distance=16), ["max_distance must be above", "= 16", "got 16"]),
    ],
)
def test_bad_schemes_are_named(make, words):
    with pytest.raises(ValueError, match=r".+") as error:
        make()
    assert all(word in str(error.value) for word in words), error.value
