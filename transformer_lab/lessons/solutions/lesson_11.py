"""Solutions of lesson 11, Writing."""

import torch


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
