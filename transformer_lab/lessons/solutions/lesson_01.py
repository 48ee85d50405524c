"""Solutions of lesson 01, Attention by hand."""

import math

import torch


def attention(query, key, value):
    scores = query @ key.transpose(-2, -1)
    scores = scores / math.sqrt(query.shape[-1])
    weights = torch.softmax(scores, dim=-1)
    return weights @ value


def causal(scores):
    n_queries, n_keys = scores.shape[-2:]
    future = torch.ones(n_queries, n_keys, dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(future, -math.inf)
