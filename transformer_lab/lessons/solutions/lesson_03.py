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
    mixed = (weights @ value).transpose(1, 2).flatten(2)
    return mixed @ out_weight.T + out_bias


def masked_attention(x, W_Q, W_K, W_V, may_look):
    query, key, value = x @ W_Q, x @ W_K, x @ W_V
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(~may_look, -math.inf)
    largest = scores.amax(dim=-1, keepdim=True)
    nowhere = largest == -math.inf
    exponentials = (scores - largest.masked_fill(nowhere, 0.0)).exp()
    total = exponentials.sum(dim=-1, keepdim=True)
    weights = exponentials / total.masked_fill(nowhere, 1.0)
    return weights @ value
