"""Position schemes against their closed forms and against transformers."""

import math

import pytest
import torch
from torch.testing import assert_close

from transformer_lab import ALiBi, Learned, NoPositions, Rotary, Sinusoidal
from transformer_lab.positions import alibi_slopes, scheme, scheme_to_dict, sinusoids

SIZES = dict(d_model=32, n_heads=4, d_head=8, n_ctx=64)
SCHEMES = [NoPositions(), Sinusoidal(), Sinusoidal(halves=True), Learned(), Rotary(500.0), ALiBi()]


def test_sinusoids_are_the_papers_formula():
    table = sinusoids(50, 16)
    for position in (0, 1, 7, 49):
        for i in range(8):
            angle = position / 10000 ** (2 * i / 16)
            assert table[position, 2 * i] == pytest.approx(math.sin(angle), abs=1e-7)
            assert table[position, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-7)


def test_halved_sinusoids_are_the_same_numbers_in_marians_order():
    interleaved, halves = sinusoids(50, 16), sinusoids(50, 16, halves=True)
    assert_close(halves[:, :8], interleaved[:, 0::2])
    assert_close(halves[:, 8:], interleaved[:, 1::2])


def test_a_shift_of_sinusoids_is_a_rotation():
    """PE[p + k] is a linear function of PE[p], the paper's reason for them: their dot product
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
    """Softmax cannot see such a constant."""
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
        (lambda: Rotary().build(**{**SIZES, "d_head": 7}), ["d_head=7", "even"]),
        (lambda: Sinusoidal().build(**{**SIZES, "d_model": 33}), ["d_model=33", "even"]),
    ],
)
def test_bad_schemes_are_named(make, words):
    with pytest.raises(ValueError, match=r".+") as error:
        make()
    assert all(word in str(error.value) for word in words), error.value
