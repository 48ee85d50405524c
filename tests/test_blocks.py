"""Blocks and stacks against PyTorch's transformer layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import small, with_dictionary
from transformer_lab import ModelConfig
from transformer_lab.blocks import Block, Experts, Stack, activate, make_norm, padding_bias
from transformer_lab.softmax import rms_norm, rotated, squared_relu

# Absolute below 1, relative above: outputs here reach 4.
DTYPES = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 7e-7), (torch.float64, 2e-15)], ids=["fp32", "fp64"]
)
NORM_FIRST = pytest.mark.parametrize("norm_first", [True, False], ids=["pre", "post"])
GRADIENT = pytest.mark.parametrize("gradient", [True, False], ids=["grad", "no_grad"])

# theirs -> ours
NORMS = {
    "encoder": {"norm1": "norm1", "norm2": "norm3"},
    "decoder": {"norm1": "norm1", "norm2": "norm2", "norm3": "norm3"},
}


def noisy(module: nn.Module) -> nn.Module:
    """Add noise to all parameters: zero biases and unit gains hide bugs."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def copy_layer(ours: Block, theirs: nn.Module, side: str) -> None:
    pairs = [(ours.attention, theirs.self_attn)]
    if side == "decoder":
        pairs.append((ours.cross, theirs.multihead_attn))
    with torch.no_grad():
        for attention, reference in pairs:
            for i, layer in enumerate((attention.query, attention.key, attention.value)):
                layer.weight.copy_(reference.in_proj_weight.chunk(3)[i])
                layer.bias.copy_(reference.in_proj_bias.chunk(3)[i])
            attention.out.load_state_dict(reference.out_proj.state_dict())
    ours.feed_forward.up.load_state_dict(theirs.linear1.state_dict())
    ours.feed_forward.down.load_state_dict(theirs.linear2.state_dict())
    for their_name, our_name in NORMS[side].items():
        getattr(ours, our_name).load_state_dict(getattr(theirs, their_name).state_dict())


def config(norm_first: bool, activation: str = "relu") -> ModelConfig:
    return ModelConfig(
        vocab_size=10, d_model=32, n_heads=4, d_ff=64, norm_first=norm_first, activation=activation
    )


@DTYPES
@NORM_FIRST
@GRADIENT
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_block_is_torchs_encoder_layer(dtype, tolerance, norm_first, gradient, activation):
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(
        32, 4, 64, activation=activation, batch_first=True, norm_first=norm_first, dtype=dtype
    )
    noisy(theirs)
    ours = Block(config(norm_first, activation), "encoder", 0).to(dtype).eval()
    copy_layer(ours, theirs, "encoder")
    x, real = torch.randn(2, 6, 32, dtype=dtype), torch.ones(2, 6, dtype=torch.bool)
    real[1, 4:] = False
    with torch.set_grad_enabled(gradient):  # without gradients torch takes its fast path
        expected = theirs(x, src_key_padding_mask=~real)
        actual = ours(x, bias=padding_bias(real))
    assert_close(actual[real], expected[real], rtol=tolerance, atol=tolerance)


@DTYPES
@NORM_FIRST
@GRADIENT
def test_decoder_block_is_torchs_decoder_layer(dtype, tolerance, norm_first, gradient):
    torch.manual_seed(0)
    theirs = nn.TransformerDecoderLayer(
        32, 4, 64, batch_first=True, norm_first=norm_first, dtype=dtype
    )
    noisy(theirs)
    ours = Block(config(norm_first), "decoder", 0, cross=True).to(dtype).eval()
    copy_layer(ours, theirs, "decoder")
    x, memory = torch.randn(2, 6, 32, dtype=dtype), torch.randn(2, 9, 32, dtype=dtype)
    real = torch.ones(2, 9, dtype=torch.bool)
    real[1, 5:] = False
    later = nn.Transformer.generate_square_subsequent_mask(6, dtype=dtype)
    with torch.set_grad_enabled(gradient):
        expected = theirs(
            x, memory, tgt_mask=later, tgt_is_causal=True, memory_key_padding_mask=~real
        )
        actual = ours(x, memory=memory, memory_bias=padding_bias(real))
    assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@NORM_FIRST
def test_gradients_are_torchs_too(norm_first):
    torch.manual_seed(0)
    theirs = noisy(
        nn.TransformerEncoderLayer(
            32, 4, 64, batch_first=True, norm_first=norm_first, dtype=torch.float64
        )
    )
    ours = Block(config(norm_first), "encoder", 0).double().eval()
    copy_layer(ours, theirs, "encoder")
    x = torch.randn(2, 6, 32, dtype=torch.float64, requires_grad=True)
    target = torch.randn(2, 6, 32, dtype=torch.float64)
    gradients = [torch.autograd.grad((m(x) * target).sum(), x)[0] for m in (ours, theirs)]
    assert_close(*gradients, rtol=0, atol=1e-13)


def test_a_stack_is_torchs_encoder_with_its_closing_norm():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, 3, nn.LayerNorm(32), enable_nested_tensor=False)
    noisy(theirs)
    ours = Stack(config(True), "encoder", 3).eval()
    for block, reference in zip(ours.blocks, theirs.layers, strict=True):
        copy_layer(block, reference, "encoder")
    ours.norm.load_state_dict(theirs.norm.state_dict())
    x = torch.randn(2, 6, 32)
    assert_close(ours(x), theirs(x), rtol=7e-7, atol=7e-7)


def test_rms_norm_is_its_formula():
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    norm = make_norm(ModelConfig(vocab_size=10, d_model=32, norm="rms", norm_eps=1e-6))
    with torch.no_grad():
        norm.weight.copy_(torch.arange(32.0))
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * torch.arange(32.0)
    assert_close(norm(x), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("eps", [None, 1e-6])
@pytest.mark.parametrize("shape", [(1,), (3, 32), (2, 3, 4, 5)])
def test_rms_norm_and_its_gradient_are_those_of_pytorch(shape, eps, dtype):
    generator = torch.Generator().manual_seed(0)
    x, weight, upstream = (
        torch.randn(s, generator=generator, dtype=torch.float64).to(dtype)
        for s in (shape, shape[-1:], shape)
    )
    x[..., :1] = 0  # with one number per row, a row of zeros
    results = []
    for norm in (rms_norm, lambda x, w, eps: F.rms_norm(x, x.shape[-1:], w, eps)):
        given = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
        out = norm(*given, eps)
        results.append([out, *torch.autograd.grad(out, given, upstream)])
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == dtype
        assert_close(ours, theirs)


def rotation(x, positions=7):
    """The two tables for rotating the last axis of x."""
    angles = torch.arange(positions * x.shape[-1] / 2, dtype=x.dtype).reshape(positions, -1)
    return angles.cos().repeat(1, 2), torch.cat((-angles.sin(), angles.sin()), -1)


OWN_GRADIENTS = {
    "norm": (lambda x: rms_norm(x, eps=1e-3), lambda x: F.rms_norm(x, x.shape[-1:], eps=1e-3)),
    "squared ReLU": (squared_relu, lambda x: F.relu(x) ** 2),
    "rotation": (
        lambda x: rotated(x, *rotation(x)),
        lambda x: x * rotation(x)[0] + x.roll(x.shape[-1] // 2, -1) * rotation(x)[1],
    ),
}


@pytest.mark.parametrize("name", OWN_GRADIENTS)
def test_gradients_of_our_own_are_those_of_the_formula(name):
    ours, formula = OWN_GRADIENTS[name]
    x = torch.randn(2, 7, 3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x.transpose(1, 2).requires_grad_()  # not contiguous, as in attention
    out, expected = ours(x), formula(x)
    assert_close(out, expected, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(ours(x), out)
    upstream = torch.randn_like(out)
    first = [torch.autograd.grad(o, x, upstream, create_graph=True)[0] for o in (out, expected)]
    assert_close(*first, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(ours, x)
    if first[1].grad_fn is not None:
        second = [torch.autograd.grad(f.square().sum(), x)[0] for f in first]
        assert_close(*second, rtol=1e-11, atol=1e-11)
    per_row = torch.func.vmap(torch.func.grad(lambda row: ours(row).pow(3).sum()))(x.detach())
    assert_close(per_row, torch.autograd.grad(formula(x).pow(3).sum(), x)[0])


@pytest.mark.parametrize("name", OWN_GRADIENTS)
def test_half_precision_goes_through_pytorchs_own_pieces(name):
    ours, formula = OWN_GRADIENTS[name]
    x = torch.randn(2, 7, 8, dtype=torch.bfloat16, requires_grad=True)
    out = ours(x)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.bfloat16
    assert_close(out, formula(x.float()).bfloat16(), rtol=0.02, atol=0.02)


def test_activations_are_their_formulas():
    x = torch.linspace(-4, 4, 41, dtype=torch.float64)
    cubic = (2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)
    formulas = {
        "gelu": x * torch.distributions.Normal(0, 1).cdf(x),
        "gelu_tanh": x / 2 * (1 + cubic.tanh()),
        "relu": x.clamp(min=0),
        "relu2": x.clamp(min=0) ** 2,
        "silu": x / (1 + (-x).exp()),
    }
    for name, expected in formulas.items():
        assert_close(activate(name, x), expected, rtol=0, atol=1e-7)


def test_swiglu_is_a_gated_product():
    torch.manual_seed(0)
    block = Block(
        ModelConfig(vocab_size=10, d_model=32, n_heads=4, activation="swiglu", bias=False),
        "decoder",
        0,
    )
    layer, x = block.feed_forward, torch.randn(2, 5, 32)
    gate, up = x @ layer.gate.weight.T, x @ layer.up.weight.T
    assert_close(layer(x), (gate * gate.sigmoid() * up) @ layer.down.weight.T)


def test_no_bias_where_all_is_real():
    assert padding_bias(None) is None
    assert padding_bias(torch.ones(2, 3, dtype=torch.bool)) is None


# -- experts ---------------------------------------------------------------------------------------


def routed(**options) -> tuple[Experts, torch.Tensor]:
    torch.manual_seed(0)
    sizes = dict(vocab_size=10, d_model=8, n_heads=2, d_ff=6, n_experts=5, experts_per_token=2)
    return Experts(ModelConfig(**sizes | options)), torch.randn(2, 7, 8)


@pytest.mark.parametrize("chosen", [1, 2, 5])
def test_experts_are_the_likeliest_times_their_probability(chosen):
    experts, x = routed(experts_per_token=chosen)
    wanted = torch.zeros_like(x)
    for place in [(i, j) for i in range(2) for j in range(7)]:
        odds = (experts.router.weight @ x[place]).exp()
        for i in odds.sort(descending=True).indices[:chosen].tolist():
            wanted[place] += odds[i] / odds.sum() * experts.experts[i](x[place])
    gates = experts.eval().gates(x)
    assert ((gates > 0).sum(-1) == chosen).all()
    assert_close(experts(x, gates), wanted)


def test_the_balance_term_adds_its_gradient_in_training_alone():
    experts, x = routed(balance_loss=0.5)
    weight = experts.router.weight
    counts = torch.zeros(5)
    for i in (x @ weight.T).topk(2).indices.flatten().tolist():
        counts[i] += 1
    term = 0.5 * 5 * (counts / counts.sum()) @ (x @ weight.T).softmax(-1).mean((0, 1))
    (wanted,) = torch.autograd.grad(term, weight)
    with_term, without = (
        torch.autograd.grad(experts.train(mode).gates(x).square().sum(), weight)[0]
        for mode in (True, False)
    )
    assert_close(with_term - without, wanted, atol=1e-6, rtol=1e-4)


def test_a_dictionary_is_a_sum_of_the_largest_features_in_the_place_of_an_mlp():
    model = with_dictionary(small(noise=0.2), layer=1, n_features=12, k=3)
    block = model.decoder.blocks[1]
    dictionary, ids = block.feed_forward, torch.arange(9)[None]
    trace = tl.trace(model, ids, keep="all")
    gates = trace.activation("gates", 1)
    with torch.no_grad():
        read = dictionary.layer(block.norm3(trace.activation("resid_mid", 1)))
        wanted, sums = torch.zeros(1, 9, 12), torch.zeros_like(read)
        for place in range(9):
            centred = read[0, place] - dictionary.decoder.bias
            all_of = dictionary.encoder.weight @ centred + dictionary.encoder.bias
            for i in all_of.sort(descending=True).indices[:3].tolist():
                wanted[0, place, i] = max(all_of[i].item(), 0)
                sums[0, place] += wanted[0, place, i] * dictionary.decoder.weight[:, i]
    assert_close(gates, wanted)
    assert_close(trace.activation("mlp_out", 1), sums + dictionary.decoder.bias)
    most = int(gates.sum((0, 1)).argmax())
    with tl.edit(model, tl.skip(1, "mlp", expert=most)):
        without = tl.trace(model, ids, keep="all")
    directions = gates[..., most, None] * dictionary.decoder.weight[:, most]
    assert_close(
        without.activation("mlp_out", 1), trace.activation("mlp_out", 1) - directions.detach()
    )


def test_a_dictionary_says_what_does_not_fit():
    linear = nn.Linear
    with pytest.raises(ValueError, match=r"encoder 8 → 20 and decoder 19 → 8"):
        tl.Dictionary(linear(8, 8), linear(8, 20), linear(19, 8), 2)
    for k in (0, 21):
        with pytest.raises(ValueError, match=rf"k must be 1 to 20.*got {k}; try k=8"):
            tl.Dictionary(linear(8, 8), linear(8, 20), linear(20, 8), k)
