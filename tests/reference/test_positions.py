"""Rotary positions and ALiBi against transformers' Llama and BLOOM."""

import pytest
import torch
from torch.testing import assert_close

from transformer_lab import Rotary
from transformer_lab.positions import alibi_slopes


@pytest.mark.parametrize("n_heads", [1, 3, 4, 6, 8, 12, 20, 32])
def test_alibi_slopes_are_blooms(n_heads):
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    theirs = build_alibi_tensor(torch.ones(1, 3), n_heads, torch.float32)  # slope × position
    assert_close(alibi_slopes(n_heads), theirs[:, 0, 1], rtol=1e-6, atol=0)


@pytest.mark.parametrize("base", [10000.0, 100000.0])
def test_rotary_positions_are_llamas(base):
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    config = LlamaConfig(
        hidden_size=64, num_attention_heads=4, max_position_embeddings=8192, rope_theta=base
    )
    positions = torch.tensor([0, 1, 5, 100, 2047, 8191])
    q, k = torch.randn(2, 1, 4, len(positions), 16)
    cos, sin = LlamaRotaryEmbedding(config)(q, positions[None])
    expected = apply_rotary_pos_emb(q, k, cos, sin)
    ours = Rotary(base).build(d_model=64, n_heads=4, d_head=16, n_ctx=8192)
    for x, turned in zip((q, k), expected, strict=True):
        assert_close(ours.rotate(x, positions), turned, rtol=0, atol=1e-6)
