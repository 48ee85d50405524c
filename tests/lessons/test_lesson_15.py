"""The checks of lesson 15 accept right answers, however written, and name what is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F

import transformer_lab as tl
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


RIGHT = [
    ("rms_norm", solutions.rms_norm),
    ("rms_norm", rms_with_norm),
    ("rms_norm", lambda x, gain, eps: F.rms_norm(x, gain.shape, gain, eps)),
    ("rms_norm", lambda x, gain, eps: rms_with_norm(x.bfloat16(), gain.bfloat16(), eps)),
    ("swiglu", solutions.swiglu),
    ("swiglu", swiglu_with_einsum),
    ("swiglu", lambda x, g, u, d: (x @ g.mT).sigmoid() * (x @ g.mT) * (x @ u.mT) @ d.mT),
    ("grouped_attention", solutions.grouped_attention),
    ("grouped_attention", grouped_by_sdpa),
    ("grouped_attention", grouped_with_loops),
    ("parameters_of", solutions.parameters_of),
    ("parameters_of", parameters_by_matrices),
    ("cache_bytes", solutions.cache_bytes),
    ("cache_bytes", cache_in_a_loop),
]


@pytest.mark.parametrize(("name", "function"), RIGHT)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"15/{name}", function)
    assert result.passed, result.diagnosis


def grouped(spread=None, scale=None, masked=True, turned=True, projected=True):
    def grouped_attention(x, w_q, w_k, w_v, w_out, n_heads, n_kv_heads):
        d_head = w_q.shape[0] // n_heads
        q = F.linear(x, w_q).unflatten(-1, (n_heads, d_head)).transpose(1, 2)
        k, v = (
            F.linear(x, w).unflatten(-1, (n_kv_heads, d_head)).transpose(1, 2) for w in (w_k, w_v)
        )
        index = spread or (lambda h, n, kv: h * kv // n)
        shared = [index(h, n_heads, n_kv_heads) for h in range(n_heads)]
        s = q @ k[:, shared].mT * (scale(d_head, x) if scale else d_head**-0.5)
        if masked:
            s = s.masked_fill(torch.ones_like(s).triu(1).bool(), -math.inf)
        z = s.softmax(-1) @ v[:, shared]
        z = z.transpose(1, 2).flatten(2) if turned else z.reshape(len(x), x.shape[1], -1)
        return z @ w_out.T if projected else z

    return grouped_attention


def turns(head, n_heads, n_kv_heads):
    return head % n_kv_heads


def changed(place, by):
    def parameters_of(config):
        counted = parameters_by_matrices(config)
        counted[place] = by(config, counted[place])
        return counted

    return parameters_of


def read_as(**given):
    return lambda config: parameters_by_matrices(
        {**config, **{key: value(config) for key, value in given.items()}}
    )


def own_width(config):
    return config["hidden_size"] // config["num_attention_heads"]


MUTANTS = {
    "layer norm": (
        "rms_norm", lambda x, g, e: F.layer_norm(x, x.shape[-1:], g, eps=e), "This is layer norm",
    ),
    "length": ("rms_norm", lambda x, g, e: x / (x.pow(2).sum(-1, True) + e).sqrt() * g, "*sum*"),
    "swapped": ("swiglu", lambda x, g, u, d: swiglu_with_einsum(x, u, g, d), "swapped"),
    "sigmoid": (
        "swiglu", lambda x, g, u, d: ((x @ g.T).sigmoid() * (x @ u.T)) @ d.T, "sigmoid alone",
    ),
    "take turns": ("grouped_attention", grouped(spread=turns), "take turns"),
    "all read the first": (
        "grouped_attention", grouped(spread=lambda h, n, kv: 0), "",
    ),
    "no mask": ("grouped_attention", grouped(masked=False), "later words"),
    "two matrices": ("parameters_of", changed(2, lambda c, n: n // 3 * 2), "has three"),
    "one layer": (
        "parameters_of",
        lambda c: torch.tensor([1, 0, 0, 0, 1]) * parameters_by_matrices(c)
        + torch.tensor([0, 1, 1, 1, 0]) * parameters_by_matrices({**c, "num_hidden_layers": 1}),
        "a single layer",
    ),
    "keys only": ("cache_bytes", lambda c, b: cache_in_a_loop(c, b) // 2, "both are kept"),
    "one layer's": (
        "cache_bytes", lambda c, b: cache_in_a_loop({**c, "num_hidden_layers": 1}, b), "one layer",
    ),
    "every head": (
        "cache_bytes",
        lambda c, b: cache_in_a_loop({**c, "num_key_value_heads": c["num_attention_heads"]}, b),
        "every query head",
    ),
}  # fmt: skip
TWICE = {  # two mistakes at once: one is named, and once it is mended, the other
    "no mask, groups take turns": (
        "grouped_attention", grouped(masked=False, spread=turns), grouped(spread=turns),
        ("later words", "take turns"),
    ),
    "two matrices, head_dim not read": (
        "parameters_of",
        lambda c: changed(2, lambda c, n: n // 3 * 2)({**c, "head_dim": own_width(c)}),
        read_as(head_dim=own_width),
        ("has three", "`head_dim`"),
    ),
    "keys only, every head": (
        "cache_bytes",
        lambda c, b: MUTANTS["every head"][1](c, b) // 2,
        MUTANTS["every head"][1],
        ("both are kept", "every query head"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_answers_are_named(mutant, judged):
    name, function, said = MUTANTS[mutant]
    result = judged(f"15/{name}", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


@pytest.mark.parametrize("mutant", TWICE)
def test_of_two_mistakes_one_is_named_and_then_the_other(mutant, judged):
    name, both, one, said = TWICE[mutant]
    for function, sentence in zip((both, one), said, strict=True):
        result = judged(f"15/{name}", function)
        assert not result.passed
        assert sentence in result.diagnosis, result.diagnosis


def test_checks_never_crash(never_crashes):
    for name in ("rms_norm", "swiglu", "grouped_attention"):
        never_crashes(f"15/{name}", getattr(solutions, name))
    never_crashes("15/parameters_of", solutions.parameters_of, torch.int64)
    never_crashes("15/cache_bytes", solutions.cache_bytes, torch.int64)


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
        model_type=kind, vocab_size=90, hidden_size=32, num_hidden_layers=3, intermediate_size=44,
        num_attention_heads=4, tie_word_embeddings=tied, **SMALL[kind],
    )  # fmt: skip
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
        vocab_size=9, n_layers=1, n_heads=6, n_kv_heads=2, d_model=24, n_ctx=16, bias=False,
        positions="none", norm="rms", activation="swiglu",
    )  # fmt: skip
    block, x = tl.Transformer(config).decoder.blocks[0], torch.randn(2, 5, 24)
    a, f = block.attention, block.feed_forward
    weights = [part.weight for part in (a.query, a.key, a.value, a.out)]
    torch.testing.assert_close(solutions.grouped_attention(x, *weights, 6, 2), a(x))
    made = solutions.swiglu(x, f.gate.weight, f.up.weight, f.down.weight)
    torch.testing.assert_close(made, f(x))
    norm = block.norm1
    torch.testing.assert_close(solutions.rms_norm(x, norm.weight, norm.eps), norm(x))
