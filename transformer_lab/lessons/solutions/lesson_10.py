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


def influence(predict, tokens, vocab_size):
    before = predict(tokens)
    moved = torch.zeros(len(tokens), len(tokens), dtype=torch.bool)
    for place in range(len(tokens)):
        changed = tokens.clone()
        changed[place] = (tokens[place] + 1) % vocab_size
        difference = predict(changed) - before
        moved[:, place] = difference.abs().amax(-1) > 1e-6
    return moved


def windowed_loss(predict, tokens, size, stride):
    total, scored = 0.0, 1
    for begin in range(0, len(tokens), stride):
        end = min(begin + size, len(tokens))
        window = tokens[begin:end]
        logits = predict(window)
        losses = F.cross_entropy(logits[:-1], window[1:], reduction="none")
        total = total + losses[scored - begin - 1 :].sum()
        scored = end
        if end == len(tokens):
            break
    return total / (len(tokens) - 1)
