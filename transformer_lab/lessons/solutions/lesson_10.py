"""Solutions of lesson 10, GPT."""

import torch
import torch.nn.functional as F


def next_token_loss(logits, tokens):
    guesses = logits[:, :-1]
    answers = tokens[:, 1:]
    return F.cross_entropy(guesses.flatten(0, 1), answers.flatten())


def causal_mask(n_query, n_key):
    first = n_key - n_query
    query = torch.arange(first, n_key)[:, None]
    key = torch.arange(n_key)[None, :]
    return key <= query


def top_p(logits, p):
    probabilities = torch.softmax(logits, dim=-1)
    ordered, places = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    kept = torch.where(before < p, ordered, 0)
    nucleus = torch.zeros_like(probabilities).scatter(-1, places, kept)
    return nucleus / nucleus.sum(dim=-1, keepdim=True)
