"""Marian's translators (Helsinki-NLP/opus-mt-…): the encoder-decoder of the paper, with SiLU in
its feed-forward layers and sinusoids in halves. Source: Junczys-Dowmunt et al. 2018."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..positions import Sinusoidal
from .conversion import Family, Row, expect, pairs, same

# theirs -> ours
_ACTIVATIONS = {"swish": "silu", "silu": "silu", "gelu": "gelu", "relu": "relu"}


def _config(theirs: Any) -> dict[str, Any]:
    expect(
        theirs,
        activation_function=tuple(_ACTIVATIONS),
        share_encoder_decoder_embeddings=True,
        tie_word_embeddings=True,
        decoder_attention_heads=theirs.encoder_attention_heads,
        decoder_ffn_dim=theirs.encoder_ffn_dim,
    )
    return dict(
        kind="encoder-decoder",
        vocab_size=theirs.vocab_size,
        n_layers=theirs.encoder_layers,
        n_decoder_layers=theirs.decoder_layers,
        n_heads=theirs.encoder_attention_heads,
        d_model=theirs.d_model,
        d_ff=theirs.encoder_ffn_dim,
        n_ctx=theirs.max_position_embeddings,
        positions=Sinusoidal(halves=True),
        scale_embedding=theirs.scale_embedding,
        norm_first=False,
        activation=_ACTIVATIONS[theirs.activation_function],
        dropout=theirs.dropout,
        head_bias=True,
        pad_id=theirs.pad_token_id,
    )


def _flat(bias: Tensor) -> Tensor:
    return bias[0]  # [1, vocab]


def _stack(side: str) -> tuple[Row, ...]:
    theirs, ours = f"{side}.layers.{{}}", f"{side}.blocks.{{}}"
    linear = (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"))
    rows = [(f"{theirs}.self_attn.{a}", f"{ours}.attention.{b}") for a, b in linear]
    rows += [
        (f"{theirs}.self_attn_layer_norm", f"{ours}.norm1"),
        (f"{theirs}.fc1", f"{ours}.feed_forward.up"),
        (f"{theirs}.fc2", f"{ours}.feed_forward.down"),
        (f"{theirs}.final_layer_norm", f"{ours}.norm3"),
    ]
    if side == "decoder":
        rows += [(f"{theirs}.encoder_attn.{a}", f"{ours}.cross.{b}") for a, b in linear]
        rows += [(f"{theirs}.encoder_attn_layer_norm", f"{ours}.norm2")]
    return pairs(*rows)


MARIAN = Family(
    read_config=_config,
    head="lm_head.weight",
    table=(
        ("shared.weight", "embedding.weight", same),
        ("encoder.embed_tokens.weight", "embedding.weight", same),
        ("decoder.embed_tokens.weight", "embedding.weight", same),
        # Fixed sinusoids on both sides: compared with ours, not copied.
        ("encoder.embed_positions.weight", "positions.weight", same),
        ("decoder.embed_positions.weight", "positions.weight", same),
        *_stack("encoder"),
        *_stack("decoder"),
        ("lm_head.weight", "head.weight", same),
        ("final_logits_bias", "head.bias", _flat),
    ),
)
