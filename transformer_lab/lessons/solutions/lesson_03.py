"""Solutions of lesson 03, Many heads."""

import math

import torch


def split_heads(x, n_heads):
    d_head = x.shape[-1] // n_heads
    return x.unflatten(-1, (n_heads, d_head)).transpose(1, 2)


def merge_heads(z):
    return z.transpose(1, 2).flatten(2)


def multi_head_attention(x, in_weight, in_bias, out_weight, out_bias, n_heads, padding):
    projected = x @ in_weight.T + in_bias
    query, key, value = projected.chunk(3, dim=-1)
    query, key, value = (split_heads(part, n_heads) for part in (query, key, value))
    scores = query @ key.transpose(-2, -1)
    scores = scores / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(padding[:, None, None], -math.inf)
    weights = torch.softmax(scores, dim=-1)
    mixed = merge_heads(weights @ value)
    return mixed @ out_weight.T + out_bias
