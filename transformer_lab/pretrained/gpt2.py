"""GPT-2 as our Transformer. Source: Radford et al. 2019."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..positions import Learned
from .conversion import Family, Transform, expect, pairs, same


def _turned(weight: Tensor) -> Tensor:
    """Transpose a weight of transformers' Conv1D, (in, out), to Linear's (out, in)."""
    return weight.T if weight.dim() == 2 else weight


def _third(number: int) -> Transform:
    """The transform to queries, keys or values, which are the thirds of one projection."""
    return lambda tensor: _turned(tensor).chunk(3)[number]


def _config(theirs: Any) -> dict[str, Any]:
    expect(
        theirs,
        activation_function=("gelu_new", "gelu_pytorch_tanh"),
        scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False,
        add_cross_attention=False,
    )
    return dict(
        kind="decoder",
        vocab_size=theirs.vocab_size,
        n_layers=theirs.n_layer,
        n_heads=theirs.n_head,
        d_model=theirs.n_embd,
        d_ff=theirs.n_inner,
        n_ctx=theirs.n_positions,
        positions=Learned(),
        norm_eps=theirs.layer_norm_epsilon,
        activation="gelu_tanh",
        dropout=theirs.resid_pdrop,
        tie_head=theirs.tie_word_embeddings,
    )


_ATTENTION = "decoder.blocks.{}.attention"

GPT2 = Family(
    read_config=_config,
    head="lm_head.weight",
    table=(
        ("wte.weight", "embedding.weight", same),
        ("wpe.weight", "positions.weight", same),
        *pairs(("h.{}.ln_1", "decoder.blocks.{}.norm1")),
        *pairs(("h.{}.attn.c_attn", f"{_ATTENTION}.query"), transform=_third(0)),
        *pairs(("h.{}.attn.c_attn", f"{_ATTENTION}.key"), transform=_third(1)),
        *pairs(("h.{}.attn.c_attn", f"{_ATTENTION}.value"), transform=_third(2)),
        *pairs(
            ("h.{}.attn.c_proj", f"{_ATTENTION}.out"),
            ("h.{}.mlp.c_fc", "decoder.blocks.{}.feed_forward.up"),
            ("h.{}.mlp.c_proj", "decoder.blocks.{}.feed_forward.down"),
            transform=_turned,
        ),
        *pairs(("h.{}.ln_2", "decoder.blocks.{}.norm3"), ("ln_f", "decoder.norm")),
        ("lm_head.weight", "head.weight", same),
    ),
)
