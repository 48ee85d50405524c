"""Solutions of lesson 01, Attention by hand."""

import math

import torch


def attention(query, key, value):
    scores = query @ key.transpose(-2, -1)
    scores = scores / math.sqrt(query.shape[-1])
    weights = torch.softmax(scores, dim=-1)
    return weights @ value


def causal(scores):
    pairs = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
    return scores.masked_fill(pairs.triu(1), -math.inf)


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
