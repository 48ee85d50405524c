"""BERT, with or without its masked-language-model head. Source: Devlin et al. 2018."""

from __future__ import annotations

from typing import Any

from ..positions import Learned
from .conversion import Family, expect, pairs, same


def _config(theirs: Any) -> dict[str, Any]:
    expect(
        theirs,
        hidden_act="gelu",
        position_embedding_type="absolute",
        is_decoder=False,
        add_cross_attention=False,
    )
    return dict(
        kind="encoder",
        vocab_size=theirs.vocab_size,
        n_layers=theirs.num_hidden_layers,
        n_heads=theirs.num_attention_heads,
        d_model=theirs.hidden_size,
        d_ff=theirs.intermediate_size,
        n_ctx=theirs.max_position_embeddings,
        positions=Learned(),
        token_types=theirs.type_vocab_size,
        embedding_norm=True,
        norm_first=False,
        norm_eps=theirs.layer_norm_eps,
        activation="gelu",
        dropout=theirs.hidden_dropout_prob,
        head_transform=True,
        head_bias=True,
        tie_head=theirs.tie_word_embeddings,
        pad_id=theirs.pad_token_id,
    )


_SENTENCES = "it reads only the [CLS] position, for whole sentences, after the stream has ended"

BERT = Family(
    read_config=_config,
    head="cls.predictions.decoder.weight",
    table=(
        ("embeddings.word_embeddings.weight", "embedding.weight", same),
        ("embeddings.position_embeddings.weight", "positions.weight", same),
        ("embeddings.token_type_embeddings.weight", "token_types.weight", same),
        *pairs(
            ("embeddings.LayerNorm", "embedding_norm"),
            ("encoder.layer.{}.attention.self.query", "encoder.blocks.{}.attention.query"),
            ("encoder.layer.{}.attention.self.key", "encoder.blocks.{}.attention.key"),
            ("encoder.layer.{}.attention.self.value", "encoder.blocks.{}.attention.value"),
            ("encoder.layer.{}.attention.output.dense", "encoder.blocks.{}.attention.out"),
            ("encoder.layer.{}.attention.output.LayerNorm", "encoder.blocks.{}.norm1"),
            ("encoder.layer.{}.intermediate.dense", "encoder.blocks.{}.feed_forward.up"),
            ("encoder.layer.{}.output.dense", "encoder.blocks.{}.feed_forward.down"),
            ("encoder.layer.{}.output.LayerNorm", "encoder.blocks.{}.norm3"),
            ("cls.predictions.transform.dense", "transform"),
            ("cls.predictions.transform.LayerNorm", "transform_norm"),
            ("cls.predictions.decoder", "head"),
        ),
        ("cls.predictions.bias", "head.bias", same),  # the same numbers under a second name
    ),
    unused={
        "pooler.dense.weight": _SENTENCES,
        "pooler.dense.bias": _SENTENCES,
        "cls.seq_relationship.weight": _SENTENCES,
        "cls.seq_relationship.bias": _SENTENCES,
    },
)
