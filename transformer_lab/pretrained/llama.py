"""Llama and models of its shape (SmolLM2, TinyLlama …): rotary positions, RMSNorm, SwiGLU, grouped
key/value heads. Source: Touvron et al. 2023."""

from __future__ import annotations

from typing import Any

from ..files.paths import FileError
from ..positions import Rotary
from .conversion import Family, expect, same


def _config(theirs: Any) -> dict[str, Any]:
    expect(theirs, hidden_act="silu", attention_bias=False, mlp_bias=False)
    return dict(
        kind="decoder",
        vocab_size=theirs.vocab_size,
        n_layers=theirs.num_hidden_layers,
        n_heads=theirs.num_attention_heads,
        n_kv_heads=theirs.num_key_value_heads,
        d_model=theirs.hidden_size,
        d_head=getattr(theirs, "head_dim", None),
        d_ff=theirs.intermediate_size,
        n_ctx=theirs.max_position_embeddings,
        positions=Rotary(base=_rope_theta(theirs)),
        norm="rms",
        norm_eps=theirs.rms_norm_eps,
        activation="swiglu",
        bias=False,
        tie_head=theirs.tie_word_embeddings,
    )


def _rope_theta(theirs: Any) -> float:
    """The base of the rotary angles; transformers 5 keeps it in `rope_parameters`."""
    options = getattr(theirs, "rope_parameters", None) or getattr(theirs, "rope_scaling", None)
    options = dict(options or {})
    kind = options.get("rope_type", options.get("type", "default"))
    if kind != "default":
        raise FileError(
            f"rope_type must be 'default' for Transformer, got {kind!r}; tl.trace takes the "
            "Hugging Face model as it is"
        )
    return float(options.get("rope_theta") or theirs.rope_theta)


_THEIRS, _OURS = "layers.{}", "decoder.blocks.{}"

LLAMA = Family(
    read_config=_config,
    head="lm_head.weight",
    table=(
        ("embed_tokens.weight", "embedding.weight", same),
        (f"{_THEIRS}.input_layernorm.weight", f"{_OURS}.norm1.weight", same),
        (f"{_THEIRS}.self_attn.q_proj.weight", f"{_OURS}.attention.query.weight", same),
        (f"{_THEIRS}.self_attn.k_proj.weight", f"{_OURS}.attention.key.weight", same),
        (f"{_THEIRS}.self_attn.v_proj.weight", f"{_OURS}.attention.value.weight", same),
        (f"{_THEIRS}.self_attn.o_proj.weight", f"{_OURS}.attention.out.weight", same),
        (f"{_THEIRS}.post_attention_layernorm.weight", f"{_OURS}.norm3.weight", same),
        (f"{_THEIRS}.mlp.gate_proj.weight", f"{_OURS}.feed_forward.gate.weight", same),
        (f"{_THEIRS}.mlp.up_proj.weight", f"{_OURS}.feed_forward.up.weight", same),
        (f"{_THEIRS}.mlp.down_proj.weight", f"{_OURS}.feed_forward.down.weight", same),
        ("norm.weight", "decoder.norm.weight", same),
        ("lm_head.weight", "head.weight", same),
    ),
)
