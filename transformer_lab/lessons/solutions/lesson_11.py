"""Solutions of lesson 11, Writing."""

import math

import torch
import torch.nn.functional as F


def top_p(logits, p):
    probabilities = torch.softmax(logits, dim=-1)
    ordered, places = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    kept = torch.where(before < p, ordered, 0)
    nucleus = torch.zeros_like(probabilities).scatter(-1, places, kept)
    return nucleus / nucleus.sum(dim=-1, keepdim=True)


def write(step, prompt, n, choose, end=None):
    text, new, past = list(prompt), list(prompt), None
    for _ in range(n):
        logits, past = step(new, past)
        token = choose(logits[-1])
        text.append(token)
        if token == end:
            break
        new = [token]
    return torch.tensor(text)


def cached_attention(attention, x, past, n_heads, rotate):
    query, key, value = (
        part(x).unflatten(-1, (n_heads, -1)).transpose(1, 2)
        for part in (attention.query, attention.key, attention.value)
    )
    read = 0 if past is None else past[0].shape[2]
    query, key = rotate(query, read), rotate(key, read)
    if past is not None:
        key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1 + read)
    weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
    z = (weights @ value).transpose(1, 2).flatten(2)
    return attention.out(z), (key, value)


def cached_decoder(model, tokens, past, attend):
    x, kept = model.embedding(tokens), []
    for i, block in enumerate(model.blocks):
        before = None if past is None else past[i]
        mixed, pair = attend(block.attention, block.norm1(x), before)
        kept.append(pair)
        x = x + mixed
        x = x + block.down(F.gelu(block.up(block.norm2(x))))
    return model.head(model.norm(x)), kept
