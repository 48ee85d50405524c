"""The attention interface against PyTorch's own attention."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from transformer_lab import ModelConfig, Tap, attend
from transformer_lab.attention import Attention, Cut, Site
from transformer_lab.softmax import add_bias, causal_mask, safe_softmax, spread_heads

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=["fp32", "fp64"])


class Record(Tap):
    def __init__(self):
        self.calls = []

    def on_attention(self, call):
        self.calls.append(call)
        return call


def qkv(dtype=torch.float32, *, n_query=7, n_key=7, n_kv_heads=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, dtype=dtype, generator=generator)  # noqa: E731
    return (
        normal(2, 4, n_query, 8),
        normal(2, n_kv_heads, n_key, 8),
        normal(2, n_kv_heads, n_key, 8),
    )


def by_formula(query, key, value, *, bias=None, scale=None, softcap=None, sinks=None):
    """Vaswani et al. 2017, equation 1, without PyTorch's kernels."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = torch.einsum("bhqd,bhkd->bhqk", query, key) * scale
    scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
    if bias is not None:
        scores = (
            scores.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else scores + bias
        )
    if sinks is not None:
        scores = torch.cat((scores, sinks.expand(*scores.shape[:-1], 1)), -1)
    weights = scores.softmax(-1)[..., : key.shape[2]]
    return torch.einsum("bhqk,bhkd->bhqd", weights, value)


def close(actual, expected, dtype, factor=1):
    assert_close(actual, expected, rtol=0, atol=TOLERANCE[dtype] * factor)


@DTYPES
@pytest.mark.parametrize("taps", [None, Tap()], ids=["fused", "tapped"])
class TestAgainstScaledDotProductAttention:
    def test_bidirectional(self, dtype, taps):
        q, k, v = qkv(dtype)
        close(attend(q, k, v, tap=taps), F.scaled_dot_product_attention(q, k, v), dtype)

    def test_causal(self, dtype, taps):
        q, k, v = qkv(dtype)
        expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        close(attend(q, k, v, causal=True, tap=taps), expected, dtype)

    def test_padded(self, dtype, taps):
        q, k, v = qkv(dtype)
        real = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])[:, None, None]
        expected = F.scaled_dot_product_attention(q, k, v, attn_mask=real)
        close(attend(q, k, v, bias=real, tap=taps), expected, dtype)
        unpadded = attend(q[1:, :, :4], k[1:, :, :4], v[1:, :, :4])
        close(attend(q, k, v, bias=real, tap=taps)[1:, :, :4], unpadded, dtype)

    def test_padded_and_causal(self, dtype, taps):
        q, k, v = qkv(dtype)
        real = torch.tensor([[True] * 7, [False] + [True] * 6])[:, None, None]
        both = real & torch.ones(7, 7, dtype=torch.bool).tril()
        both[1, :, 0, 0] = True  # row 0 of text 1 is fully masked: compared elsewhere
        expected = F.scaled_dot_product_attention(q, k, v, attn_mask=both)
        actual = attend(q, k, v, bias=real, causal=True, tap=taps)
        close(actual[:, :, 1:], expected[:, :, 1:], dtype)

    def test_additive_bias(self, dtype, taps):
        q, k, v = qkv(dtype)
        bias = torch.randn(1, 4, 7, 7, dtype=dtype, generator=torch.Generator().manual_seed(1))
        expected = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        close(attend(q, k, v, bias=bias, tap=taps), expected, dtype)

    def test_fewer_queries_than_keys_are_the_last_ones(self, dtype, taps):
        q, k, v = qkv(dtype)
        whole = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        for n in (1, 3):
            last = attend(q[:, :, -n:], k, v, causal=True, tap=taps)
            close(last, whole[:, :, -n:], dtype)

    def test_grouped_heads(self, dtype, taps):
        q, k, v = qkv(dtype, n_kv_heads=2)
        expected = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        close(attend(q, k, v, causal=True, tap=taps), expected, dtype)

    def test_scale(self, dtype, taps):
        q, k, v = qkv(dtype)
        expected = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        close(attend(q, k, v, scale=1.0, tap=taps), expected, dtype)

    def test_a_row_with_nothing_to_see_is_zero_with_finite_gradients(self, dtype, taps):
        q, k, v = (x.requires_grad_() for x in qkv(dtype))
        for bias in (
            torch.ones(2, 1, 7, 7, dtype=torch.bool).index_fill_(2, torch.tensor([2]), False),
            torch.zeros(2, 1, 7, 7, dtype=dtype).index_fill_(2, torch.tensor([2]), -torch.inf),
        ):
            z = attend(q, k, v, bias=bias, tap=taps)
            assert not z[:, :, 2].any()
            assert z[:, :, 3].all()
            for gradient in torch.autograd.grad(z.square().sum(), (q, k, v)):
                assert gradient.isfinite().all()

    @pytest.mark.parametrize("causal", [False, True])
    def test_softcap(self, dtype, taps, causal):
        q, k, v = qkv(dtype)
        bias = torch.ones(7, 7, dtype=torch.bool).tril() if causal else None
        expected = by_formula(q, k, v, bias=bias, softcap=2.0)
        # With a softcap the softmax is computed in fp32, as in Gemma 2.
        tolerance = torch.float32 if dtype == torch.float64 else dtype
        close(attend(q, k, v, causal=causal, softcap=2.0, tap=taps), expected, tolerance)


@DTYPES
def test_the_formula_written_out(dtype):
    q, k, v = qkv(dtype)
    close(attend(q, k, v), by_formula(q, k, v), dtype)


@pytest.mark.parametrize("causal", [False, True], ids=["bidirectional", "causal"])
@pytest.mark.parametrize("bias", [None, "bool", "additive"])
@pytest.mark.parametrize("n_kv_heads", [4, 2])
@pytest.mark.parametrize("softcap", [None, 2.0])
def test_lazy_maps_are_what_the_output_was_made_of(causal, bias, n_kv_heads, softcap):
    """z = pattern · value, for every combination of options."""
    q, k, v = qkv(n_query=5, n_kv_heads=n_kv_heads)
    if bias == "bool":
        bias = torch.rand(2, 1, 1, 7, generator=torch.Generator().manual_seed(1)) > 0.3
    elif bias == "additive":
        bias = torch.randn(1, 4, 5, 7, generator=torch.Generator().manual_seed(1))
    tap = Record()
    z = attend(q, k, v, bias=bias, causal=causal, softcap=softcap, tap=tap)
    (call,) = tap.calls
    assert_close(call.pattern() @ spread_heads(v, 4), z, rtol=0, atol=1e-6)
    for head in range(4):  # one head, some rows: the same numbers
        assert_close(call.pattern(1, head), call.pattern()[1, head], rtol=0, atol=1e-6)
    rows = torch.tensor([0, 3])
    assert_close(call.pattern(rows=rows), call.pattern()[:, :, rows], rtol=0, atol=1e-6)


def test_recording_keeps_references_and_copies_nothing():
    q, k, v = qkv()
    tap = Record()
    attend(q, k, v, tap=tap)
    assert tap.calls[0].query is q
    assert tap.calls[0].key is k


def test_safe_softmax_is_softmax():
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    x[1, 2:] = -torch.inf
    assert_close(safe_softmax(x), x.softmax(-1), rtol=0, atol=1e-7)
    x[1] = -torch.inf
    assert_close(safe_softmax(x)[1], torch.zeros(5))


def test_causal_mask_is_aligned_at_the_last_key():
    assert causal_mask(2, 4).tolist() == [[True, True, True, False], [True, True, True, True]]


def test_biases_of_two_kinds_add_up():
    allowed = torch.tensor([[True, False]])
    extra = torch.tensor([[0.5, 0.5]])
    assert add_bias(allowed, extra).tolist() == [[0.5, -torch.inf]]
    assert add_bias(allowed, torch.tensor([[False, True]])).tolist() == [[False, False]]
    assert add_bias(None, extra) is extra


# -- Attention -------------------------------------------------------------------------------------


def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    """Copy the weights of torch's multi-head attention, which has query, key and value in thirds of
    one matrix."""
    with torch.no_grad():
        for i, layer in enumerate((ours.query, ours.key, ours.value)):
            layer.weight.copy_(theirs.in_proj_weight.chunk(3)[i])
            layer.bias.copy_(theirs.in_proj_bias.chunk(3)[i])
        ours.out.load_state_dict(theirs.out_proj.state_dict())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-7), (torch.float64, 5e-16)])
@pytest.mark.parametrize("case", ["plain", "padded", "causal", "cross"])
def test_attention_is_torchs_multi_head_attention(dtype, tolerance, case):
    torch.manual_seed(0)
    kind = {"causal": "decoder", "cross": "cross"}.get(case, "encoder")
    config = ModelConfig(vocab_size=10, d_model=32, n_heads=4)
    ours = Attention(config, Site(kind, 0), causal=case == "causal").to(dtype)
    theirs = nn.MultiheadAttention(32, 4, batch_first=True, dtype=dtype)
    nn.init.normal_(theirs.in_proj_bias, std=0.5)
    nn.init.normal_(theirs.out_proj.bias, std=0.5)
    copy_attention(ours, theirs)
    x, memory = torch.randn(2, 6, 32, dtype=dtype), torch.randn(2, 9, 32, dtype=dtype)
    pad = torch.zeros(2, 6, dtype=torch.bool)
    pad[1, 4:] = case == "padded"
    mask = torch.ones(6, 6, dtype=torch.bool).triu(1) if case == "causal" else None
    source = memory if case == "cross" else x
    expected, maps = theirs(
        x,
        source,
        source,
        attn_mask=mask,
        average_attn_weights=False,
        key_padding_mask=pad if case == "padded" else None,
    )
    tap = Record()
    ours.taps = (tap,)
    bias = ~pad[:, None, None] if case == "padded" else None
    actual = ours(x, memory, bias=bias)
    # `tolerance` is the largest difference of another implementation; twice that is allowed, since
    # sums of 32 products are taken in another order.
    assert_close(actual, expected, rtol=0, atol=2 * tolerance)
    assert_close(tap.calls[0].pattern(), maps.float(), rtol=0, atol=3e-7)


def test_no_dropout_in_evaluation_and_some_in_training():
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=10, d_model=32, n_heads=4, dropout=0.5)
    attention, x = Attention(config, Site("decoder", 0), causal=True), torch.randn(1, 6, 32)
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (
            ((6, 8), (2, 4, 6, 8), (2, 4, 6, 8)),
            ["query must have shape [batch, head", "got [6, 8]"],
        ),
        (((2, 4, 6, 8), (2, 4, 6, 4), (2, 4, 6, 4)), ["same d_head", "got 8 and 4"]),
        (((2, 4, 6, 8), (2, 4, 6, 8), (2, 4, 5, 8)), ["one value", "got 6 keys and 5 values"]),
        (((2, 4, 6, 8), (2, 3, 6, 8), (2, 3, 6, 8)), ["divide", "got 4 query, 3 key"]),
    ],
)
def test_shapes_that_do_not_fit_are_named(shapes, words):
    with pytest.raises(ValueError, match=r".+") as error:
        attend(*(torch.zeros(shape) for shape in shapes))
    assert all(word in str(error.value) for word in words), error.value


class TestSinks:
    """Sinks: one more column in every row's softmax, without a value."""

    SHAPES = pytest.mark.parametrize("per_token", [False, True], ids=["a head", "a token"])

    @staticmethod
    def sinks(per_token, dtype=torch.float32):
        chance = torch.Generator().manual_seed(5)
        shape = (2, 4, 5, 1) if per_token else (4,)
        return torch.randn(shape, generator=chance, dtype=dtype)

    @DTYPES
    @SHAPES
    @pytest.mark.parametrize("taps", [None, Tap()], ids=["plain", "tapped"])
    @pytest.mark.parametrize("causal", [False, True], ids=["bidirectional", "causal"])
    @pytest.mark.parametrize("softcap", [None, 2.0])
    def test_the_output_is_the_formulas(self, dtype, per_token, taps, causal, softcap):
        q, k, v = qkv(dtype, n_query=5)
        sinks = self.sinks(per_token, dtype)
        column = sinks if per_token else sinks[None, :, None, None]
        bias = causal_mask(5, 7)[None, None] if causal else None
        expected = by_formula(q, k, v, bias=bias, softcap=softcap, sinks=column)
        z = attend(q, k, v, causal=causal, softcap=softcap, sinks=sinks, tap=taps)
        close(z, expected, torch.float32)

    @SHAPES
    def test_maps_are_what_the_output_was_made_of_and_the_rest_goes_to_nothing(self, per_token):
        q, k, v = qkv(n_query=5, n_kv_heads=2)
        tap, sinks = Record(), self.sinks(per_token)
        z = attend(q, k, v, causal=True, sinks=sinks, tap=tap)
        (call,) = tap.calls
        pattern, nothing = call.pattern(), call.to_nothing()
        assert_close(pattern @ spread_heads(v, 4), z, rtol=0, atol=1e-6)
        assert_close(pattern.sum(-1) + nothing, torch.ones(2, 4, 5))
        rows = torch.tensor([0, 3])
        assert_close(call.pattern(1, 2, rows), pattern[1, 2, rows], rtol=0, atol=1e-6)
        assert_close(call.to_nothing(1, 2, rows), nothing[1, 2, rows], rtol=0, atol=1e-6)
        assert_close(call.to_nothing(0), nothing[0], rtol=0, atol=1e-6)

    def test_what_is_cut_goes_to_other_keys_and_to_nothing(self):
        q, k, v = qkv()

        class CutFirst(Record):
            def on_attention(self, call):
                call = replace(call, cuts=(Cut(slice(1, 2), slice(2, 3), slice(0, 1)),))
                return super().on_attention(call)

        tap, bias = CutFirst(), torch.zeros(1, 4, 7, 7)
        bias[0, 1, 2, 0] = -torch.inf
        z = attend(q, k, v, sinks=self.sinks(False), tap=tap)
        assert_close(z, attend(q, k, v, bias=bias, sinks=self.sinks(False)), rtol=0, atol=1e-6)
        (call,) = tap.calls
        without = replace(call, cuts=())
        assert (call.to_nothing() > without.to_nothing()).nonzero().tolist() == [
            [0, 1, 2],
            [1, 1, 2],
        ]

    def test_a_query_with_no_key_looks_at_nothing_and_extremes_stay_finite(self):
        q, k, v = qkv()
        hidden = torch.zeros(7, 7, dtype=torch.bool)
        for size in (-1e4, 0.0, 1e4):
            tap = Record()
            z = attend(q, k, v, bias=hidden, sinks=torch.full((4,), size), tap=tap)
            assert bool((z == 0).all())
            assert bool((tap.calls[0].to_nothing() == 1).all())
            z = attend(q, k, v, sinks=torch.full((4,), size))
            assert bool(z.isfinite().all())
        close(attend(q, k, v, sinks=torch.full((4,), -torch.inf)), attend(q, k, v), torch.float32)

    def test_gradients_reach_the_sinks(self):
        q, k, v = qkv(torch.float64, n_query=3, n_key=3)
        sinks = self.sinks(False, torch.float64).requires_grad_()
        expected = by_formula(q, k, v, sinks=sinks[None, :, None, None]).square().sum()
        found = attend(q, k, v, sinks=sinks).square().sum()
        for a, b in zip(*(torch.autograd.grad(x, sinks) for x in (found, expected)), strict=True):
            assert_close(a, b, rtol=1e-5, atol=1e-7)

    @pytest.mark.badinput
    @pytest.mark.parametrize("shape", [(3,), (4, 5), (2, 4, 5, 2), (2, 3, 5, 1)])
    def test_a_shape_that_does_not_fit_is_named(self, shape):
        q, k, v = qkv(n_query=5)
        with pytest.raises(ValueError, match=r"sinks must have shape \[head\].* got"):
            attend(q, k, v, sinks=torch.zeros(shape))
