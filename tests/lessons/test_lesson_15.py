"""The checks of lesson 15 accept right answers, however written, and name mistakes."""

import math

import pytest
import torch
import torch.nn.functional as F

import transformer_lab as tl
from tests.lessons.answers import checks_of
from transformer_lab.lessons.solutions import lesson_15 as solutions

NORMS = solutions.NORMS


def rms_with_norm(x, gain, eps):
    length = (x.pow(2).sum(-1, keepdim=True) / x.shape[-1] + eps).rsqrt()
    return x * length * gain


def swiglu_with_einsum(x, gate, up, down):
    inside = F.silu(F.linear(x, gate)) * torch.einsum("...d,id->...i", x, up)
    return F.linear(inside, down)


def grouped_by_sdpa(x, w_q, w_k, w_v, w_out, n_heads, n_kv_heads):
    q, k, v = (
        F.linear(x, w).unflatten(-1, (n, -1)).transpose(1, 2)
        for w, n in ((w_q, n_heads), (w_k, n_kv_heads), (w_v, n_kv_heads))
    )
    z = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return F.linear(z.transpose(1, 2).flatten(2), w_out)


def grouped_with_loops(x, w_q, w_k, w_v, w_out, n_heads, n_kv_heads):
    d_head = w_q.shape[0] // n_heads
    out = torch.zeros(*x.shape[:2], w_out.shape[0], dtype=x.dtype)
    for head in range(n_heads):
        shared = head * n_kv_heads // n_heads
        mine = slice(head * d_head, (head + 1) * d_head)
        theirs = slice(shared * d_head, (shared + 1) * d_head)
        scores = (x @ w_q[mine].T) @ (x @ w_k[theirs].T).transpose(1, 2) / d_head**0.5
        scores = scores + torch.full(scores.shape[1:], -1e9).triu(1)
        out = out + scores.softmax(-1) @ (x @ w_v[theirs].T) @ w_out[:, mine].T
    return out


def parameters_by_matrices(config):
    d = config["hidden_size"]
    heads = config["num_attention_heads"]
    width = config["head_dim"] if "head_dim" in config else d // heads
    kv = config.get("num_key_value_heads") or heads
    layer = {
        1: [(heads * width, d), (kv * width, d), (kv * width, d), (d, heads * width)],
        2: [(config["intermediate_size"], d)] * 3,
    }
    stream, head = NORMS[config["model_type"]]
    counted = torch.zeros(5, dtype=torch.int64)
    for _ in range(config["num_hidden_layers"]):
        for place, matrices in layer.items():
            counted[place] += sum(math.prod(shape) for shape in matrices)
        counted[3] += stream * d + head * width
    counted[3] += d
    counted[0] = config["vocab_size"] * d
    counted[4] = 0 if config["tie_word_embeddings"] else counted[0]
    return counted


def cache_in_a_loop(config, bytes_each):
    kept = 0
    for _ in range(config["num_hidden_layers"]):
        for _ in ("key", "value"):
            for _ in range(config.get("num_key_value_heads", config["num_attention_heads"])):
                kept += (
                    config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
                    * bytes_each
                )
    return torch.tensor([kept])[0]


def unmasked_in_turns(x, w_q, w_k, w_v, w_out, n_heads, n_kv_heads):
    d_head = w_q.shape[0] // n_heads
    q = F.linear(x, w_q).unflatten(-1, (n_heads, d_head)).transpose(1, 2)
    k, v = (F.linear(x, w).unflatten(-1, (n_kv_heads, d_head)).transpose(1, 2) for w in (w_k, w_v))
    shared = [head % n_kv_heads for head in range(n_heads)]
    z = (q @ k[:, shared].mT * d_head**-0.5).softmax(-1) @ v[:, shared]
    return z.transpose(1, 2).flatten(2) @ w_out.T


def two_matrices_of_own_width(config):
    """A feed-forward layer of two matrices, and `head_dim` ignored."""
    own = config["hidden_size"] // config["num_attention_heads"]
    return parameters_by_matrices({**config, "head_dim": own}) * torch.tensor([3, 3, 2, 3, 3]) // 3


RIGHT = {
    "rms_norm": (
        rms_with_norm,
        lambda x, gain, eps: F.rms_norm(x, gain.shape, gain, eps),
        lambda x, gain, eps: rms_with_norm(x.bfloat16(), gain.bfloat16(), eps),
    ),
    "swiglu": (
        swiglu_with_einsum,
        lambda x, g, u, d: (x @ g.mT).sigmoid() * (x @ g.mT) * (x @ u.mT) @ d.mT,
    ),
    "grouped_attention": (grouped_by_sdpa, grouped_with_loops),
    "parameters_of": (parameters_by_matrices,),
    "cache_bytes": (cache_in_a_loop,),
}
WRONG = {
    "grouped_attention": {"no mask, groups take turns": (unmasked_in_turns, "later words")},
    "parameters_of": {"two matrices, head_dim not read": (two_matrices_of_own_width, "has three")},
    "cache_bytes": {
        "keys only, every head": (
            lambda c, b: (
                cache_in_a_loop({**c, "num_key_value_heads": c["num_attention_heads"]}, b) // 2
            ),
            "both are kept",
        )
    },
}


test_right, test_odd, test_wrong = checks_of("15", RIGHT, WRONG)


SMALL = {
    "llama": dict(num_key_value_heads=2),
    "qwen3": dict(num_key_value_heads=1, head_dim=24),
    "gemma3_text": dict(num_key_value_heads=1, head_dim=20),
}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", SMALL)
def test_the_counts_are_those_of_models_that_hugging_face_builds(kind, tied):
    transformers = pytest.importorskip("transformers")
    config = dict(
        model_type=kind,
        vocab_size=90,
        hidden_size=32,
        num_hidden_layers=3,
        intermediate_size=44,
        num_attention_heads=4,
        tie_word_embeddings=tied,
        **SMALL[kind],
    )
    theirs = transformers.AutoConfig.for_model(**config)
    model = transformers.AutoModelForCausalLM.from_config(theirs).eval()
    counted = solutions.parameters_of(config)
    assert int(counted.sum()) == sum(p.numel() for p in model.parameters())
    named = dict(model.named_parameters())
    attention = sum(p.numel() for n, p in named.items() if "self_attn" in n and p.dim() == 2)
    feed_forward = sum(p.numel() for n, p in named.items() if ".mlp." in n)
    norms = sum(p.numel() for p in named.values() if p.dim() == 1)
    assert counted[1:4].tolist() == [attention, feed_forward, norms]
    with torch.no_grad():
        cache = model(torch.arange(7)[None], use_cache=True).past_key_values
    kept = sum(
        t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values)
    )
    assert kept == 7 * int(solutions.cache_bytes(config, 4))


def test_the_solutions_agree_with_the_package():
    torch.manual_seed(0)
    config = tl.ModelConfig(
        vocab_size=9,
        n_layers=1,
        n_heads=6,
        n_kv_heads=2,
        d_model=24,
        n_ctx=16,
        bias=False,
        positions="none",
        norm="rms",
        activation="swiglu",
    )
    block, x = tl.Transformer(config).decoder.blocks[0], torch.randn(2, 5, 24)
    a, f = block.attention, block.feed_forward
    weights = [part.weight for part in (a.query, a.key, a.value, a.out)]
    torch.testing.assert_close(solutions.grouped_attention(x, *weights, 6, 2), a(x))
    made = solutions.swiglu(x, f.gate.weight, f.up.weight, f.down.weight)
    torch.testing.assert_close(made, f(x))
    norm = block.norm1
    torch.testing.assert_close(solutions.rms_norm(x, norm.weight, norm.eps), norm(x))


def test_gains_limit_a_rotary_score_by_their_largest_not_by_their_product():
    """What question 15.5 says of QK-norm with learned gains."""
    d = 16
    turn = tl.Rotary().build(d_model=d, n_heads=1, d_head=d, n_ctx=200)
    gains_q = torch.tensor([4.0, 0.25]).repeat_interleave(d // 2)
    gains_k = gains_q.flip(0)
    places = torch.arange(200)
    query = torch.randn(200, d, generator=torch.Generator().manual_seed(0))
    query[0], key = torch.eye(d)[0], torch.eye(d)[d // 2]  # the two numbers of one pair
    length = d**0.5
    q = length * query / query.norm(dim=-1, keepdim=True) * gains_q
    scores = (
        turn.rotate(q[:, None, None], places[:1])
        @ turn.rotate((length * key * gains_k).expand(1, 1, 200, d), places).mT
    )
    largest = (scores / length).abs().max()
    assert largest > 10 * length * (gains_q * gains_k).max()
    assert largest <= length * gains_q.max() * gains_k.max()
