"""Models, texts and edits on which the page's engine is compared with PyTorch."""

import itertools

import torch

import transformer_lab as tl
from tests.factories import small

KINDS = ("decoder", "encoder", "encoder-decoder")
SCHEMES = ("none", "sinusoidal", "learned", "rotary", "alibi", "relative")
# Options to combine with position schemes, in turn.
OPTIONS = (
    {},
    dict(norm="rms", activation="swiglu", bias=False, n_kv_heads=2),
    dict(norm_first=False, activation="relu", tie_head=False, head_bias=True),
    dict(qk_norm=True, activation="relu2", norm_affine=False, logit_softcap=5.0),
    dict(activation="gelu_tanh", head_transform=True, token_types=2, embedding_norm=True),
    dict(activation="silu", n_kv_heads=1, d_head=6, d_ff=40, scale_embedding=True, norm="rms"),
    dict(attention_only=True, tie_head=False, bias=False),
)
SPECIAL = (
    ("decoder", tl.ModelConfig.modern(vocab_size=50).to_dict(), {}),
    ("encoder", {}, dict(head=False, norm_first=False)),
    ("decoder", {}, dict(head=False)),
    ("encoder-decoder", {}, dict(n_decoder_layers=3, target_vocab_size=37, tie_head=False)),
    ("encoder-decoder", {}, dict(n_decoder_layers=1, target_vocab_size=29, head_bias=True)),
    ("encoder-decoder", {}, dict(norm_first=False, positions="sinusoidal", activation="relu")),
    ("decoder", {}, dict(positions=tl.Sinusoidal(base=500.0, halves=True))),
    ("decoder", {}, dict(positions=tl.Rotary(base=100.0), n_kv_heads=2, n_layers=3)),
    ("encoder", {}, dict(positions=tl.Relative(buckets=8, max_distance=20), n_ctx=40)),
    ("decoder", {}, dict(positions=tl.Relative(buckets=8, max_distance=20), n_ctx=40)),
    ("decoder", {}, dict(positions="alibi", n_heads=6, d_model=24, vocab_size=44)),
    ("encoder", {}, dict(norm_eps=1e-2, norm_affine=False, head_transform=True)),
    ("decoder", {}, dict(n_experts=3, experts_per_token=1)),
)
MODERN = ("norm", "norm_affine", "embedding_norm", "qk_norm", "activation", "bias", "tie_head")


def models():
    """(model, tokens, target) of every combination, small and with no weight at its default."""
    everything = [
        (kind, dict(positions=scheme, **OPTIONS[turn % len(OPTIONS)]))
        for turn, (kind, scheme) in enumerate(itertools.product(KINDS, SCHEMES))
    ]
    for kind, recipe, options in SPECIAL:
        everything.append((kind, {name: recipe[name] for name in MODERN if recipe} | options))
    for turn, (kind, options) in enumerate(everything):
        model = small(kind, seed=turn, noise=0.2, sharpness=2.0, **options)
        long = model.config.n_ctx == 40
        chance = torch.Generator().manual_seed(turn)
        ids = torch.randint(
            model.config.vocab_size, (1, 40 if long else 6 + turn % 4), generator=chance
        )
        target = None
        if kind == "encoder-decoder":
            target = torch.randint(model.n_outputs, (1, 5 + turn % 3), generator=chance)
        yield model, ids, target


def edits_of(model, n, n_target, turn):
    """Lists of edits as plain values, each of another kind; five models cover them all."""
    kinds = ("encoder", "decoder", "cross") if n_target else (model.config.kind,)
    kind = kinds[turn % len(kinds)]
    layer = turn % 2 if kind == "encoder" else 0
    side = {"kind": kind} if n_target else {}
    queries = n_target if kind != "encoder" and n_target else n
    mlp = [] if model.config.attention_only else [{"edit": "skip", "part": "mlp", "layer": 1}]
    lists = [
        [{"edit": "ablate", "layer": layer, "head": 1, **side}],
        [
            {"edit": "ablate", "layer": 0, "head": 2, "value": "mean", **side},
            {"edit": "scale", "head": 0, "by": -1.5, **side},
            {"edit": "scale", "layer": 0, "head": 2, "by": 0.5, **side},
        ],
        [
            {"edit": "knock_out", "layer": 0, "head": 1, "query": queries - 1, "key": 1, **side},
            {"edit": "knock_out", "key": 0, **side},
            {"edit": "knock_out", "layer": layer, "query": 2, **side},
        ],
        [{"edit": "skip", "layer": layer, **side}],
        [*mlp, {"edit": "ablate", "head": 3}, {"edit": "scale", "by": 0}],
    ]
    if model.config.kind == "encoder-decoder" and model.config.n_decoder_layers == 1:
        lists = [[e for e in one if e.get("layer") != 1] for one in lists]
    return [[], *(lists[(turn + i) % len(lists)] for i in range(2))]


def patches_of(turn, model, n_target):
    """Patches from another text of the same length and vectors added to the stream: arguments of
    `tl.patch` and `tl.steer`, and edits between them."""
    both, mlp = bool(n_target), not model.config.attention_only
    side = {"kind": ("encoder", "decoder", "cross")[turn % 3]} if both else {}
    stack = {"kind": ("encoder", "decoder")[turn % 2]} if both else {}
    chance = torch.Generator().manual_seed(turn)
    vector = torch.randn(2, model.config.d_model, generator=chance)
    cut = {"edit": "knock_out", "layer": 0, "query": 2, "key": 1, **side}
    return [
        [dict(layer=0, head=1, position=2, **side), dict(head=0, **side)],
        [dict(layer=0, position=[1, 3], what="resid_post", **stack)],
        [dict(position=0, what="resid_pre", **stack), dict(layer=0, head=2, what="q", **side)],
        [
            dict(layer=0, what="k", position=[(0, 2), (3, 1)], **side),
            dict(layer=0, head=0, what="v", **side),
        ],
        [
            cut,
            dict(layer=0, what="pattern", **side),
            cut,
            dict(layer=0, head=1, what="pattern", position=3, **side),
        ],
        [
            dict(layer=0, what="attn_out", position=[1], **side),
            *mlp * [dict(what="mlp_out", position=2, **stack)],
        ],
        [
            dict(vector=vector[0], by=-2.0, **stack),
            dict(vector=vector, layer=0, what="resid_mid", position=[0, 3], **stack),
        ],
        [
            dict(layer=0, what="resid_mid", **stack),
            dict(vector=vector[1], what="attn_out", **side),
            *mlp * [{"edit": "skip", "part": "mlp", "layer": 0, **stack}],
        ],
    ][turn % 8]
