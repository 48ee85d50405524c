"""The checks of lesson 11 accept right answers, however written, and name mistakes."""

import math

import torch
import torch.nn.functional as F

from tests.lessons.answers import checks_of
from transformer_lab.lessons.solutions import lesson_11 as solutions


def top_p_with_threshold(logits, p):
    probabilities = logits.softmax(-1)
    ordered = probabilities.sort(-1, descending=True).values
    n = (ordered.cumsum(-1) < p).sum(-1, keepdim=True).clamp(max=logits.shape[-1] - 1)
    least = ordered.gather(-1, n)
    kept = probabilities * (probabilities >= least)
    return kept / kept.sum(-1, keepdim=True)


def top_p_with_loops(logits, p):
    rows = logits.reshape(-1, logits.shape[-1])
    out = torch.zeros_like(rows)
    for row, result in zip(rows.softmax(-1), out, strict=True):
        total = 0.0
        for token in row.argsort(descending=True).tolist():
            result[token] = row[token]
            total += float(row[token])
            if total >= p:
                break
        result /= result.sum()
    return out.reshape(logits.shape)


def top_p_with_minus_infinity(logits, p):
    ordered, places = logits.sort(-1, descending=True)
    total = ordered.softmax(-1).cumsum(-1)
    cut = torch.cat((torch.zeros_like(total[..., :1]), total[..., :-1]), -1) >= p
    masked = ordered.masked_fill(cut, -math.inf)
    return torch.empty_like(logits).scatter_(-1, places, masked).softmax(-1)


def write_with_while(step, prompt, n, choose, end=None):
    text = torch.tensor(prompt)
    logits, past = step(prompt, None)
    while len(text) < len(prompt) + n:
        token = choose(logits[-1])
        text = torch.cat((text, torch.tensor([token])))
        if token == end or len(text) == len(prompt) + n:
            return text
        logits, past = step([token], past)
    return text


def write_by_length(step, prompt, n, choose, end=None):
    text, past, read = list(prompt), None, 0
    while len(text) - len(prompt) < n and (end is None or end not in text[len(prompt) :]):
        logits, past = step(text[read:], past)
        read = len(text)
        text.append(choose(logits[len(logits) - 1]))
    return torch.tensor(text)


def cut(layer, x, n_heads):
    batch, n, _ = x.shape
    return layer(x).view(batch, n, n_heads, -1).permute(0, 2, 1, 3)


def cached_fused(attention, x, past, n_heads, rotate):
    """A dict as past, and PyTorch's kernel with a boolean mask."""
    past = past or {"n": 0, "k": x.new_zeros(0), "v": x.new_zeros(0)}
    q, k, v = (cut(getattr(attention, m), x, n_heads) for m in ("query", "key", "value"))
    q, k = rotate(q, past["n"]), rotate(k, past["n"])
    if past["n"]:
        k, v = torch.cat((past["k"], k), 2), torch.cat((past["v"], v), 2)
    n, m = x.shape[1], k.shape[2]
    seen = torch.arange(m) <= torch.arange(m - n, m)[:, None]
    z = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    return attention.out(z.transpose(1, 2).reshape(x.shape)), {"n": m, "k": k, "v": v}


def cached_unrotated(attention, x, past, n_heads, rotate):
    """Caches unrotated keys, and rotates all of them each time."""
    q, k, v = (cut(m, x, n_heads) for m in (attention.query, attention.key, attention.value))
    kept = k if past is None else torch.cat((past[0], k), -2)
    v = v if past is None else torch.cat((past[1], v), -2)
    read = kept.shape[-2] - x.shape[1]
    scores = rotate(q, read) @ rotate(kept, 0).mT / q.shape[-1] ** 0.5
    scores = scores + torch.full(scores.shape[-2:], -math.inf).triu(read + 1)
    z = scores.softmax(-1) @ v
    return attention.out(z.transpose(1, 2).flatten(2)), (kept, v)


def cached_one_by_one(attention, x, past, n_heads, rotate):
    """Reads the new tokens one by one, so it needs no mask."""
    keys, values = ([], []) if past is None else (list(past[0]), list(past[1]))
    rows = []
    for i in range(x.shape[1]):
        at = len(keys)
        q, k, v = (
            cut(m, x[:, i : i + 1], n_heads)
            for m in (attention.query, attention.key, attention.value)
        )
        keys.append(rotate(k, at))
        values.append(v)
        scores = torch.einsum("bhqd,bhkd->bhqk", rotate(q, at), torch.cat(keys, 2))
        z = (scores / math.sqrt(q.shape[-1])).softmax(-1) @ torch.cat(values, 2)
        rows.append(z.transpose(1, 2).flatten(2))
    return attention.out(torch.cat(rows, 1)), [keys, values]


def all_again(attention, x, past, n_heads, rotate):
    """Right numbers, but it reads everything again."""
    x_all = x if past is None else torch.cat((past, x), 1)
    result, _ = solutions.cached_attention(attention, x_all, None, n_heads, rotate)
    return result[:, -x.shape[1] :], x_all


def decoder_by_dict(model, tokens, past, attend):
    """A dict of pasts, by block."""
    x, past = model.embedding(tokens), dict(past or {})
    for block in model.blocks:
        mixed, past[id(block)] = attend(block.attention, block.norm1(x), past.get(id(block)))
        x = x + mixed
        x = x + block.down(F.gelu(block.up(block.norm2(x))))
    return F.linear(model.norm(x), model.embedding.weight), past


def decoder_by_zip(model, tokens, past, attend):
    x = F.embedding(tokens, model.embedding.weight)
    past, kept = past if past is not None else [None] * len(model.blocks), ()
    for block, before in zip(model.blocks, past, strict=True):
        mixed, after = attend(block.attention, block.norm1(x), before)
        kept += (after,)
        middle = x + mixed
        x = middle + block.down(torch.nn.GELU()(block.up(block.norm2(middle))))
    return model.head(model.norm(x)), kept


def decoder_by_calls(model, tokens, past, attend, layer=0, x=None):
    """Recursive, one layer a call."""
    x = model.embedding(tokens) if x is None else x
    if layer == len(model.blocks):
        return model.head(model.norm(x)), []
    block = model.blocks[layer]
    mixed, mine = attend(block.attention, block.norm1(x), past[layer] if past else None)
    x = x + mixed
    x = x + block.down(F.gelu(block.up(block.norm2(x))))
    logits, others = decoder_by_calls(model, tokens, past, attend, layer + 1, x)
    return logits, [mine, *others]


def decoder_one_past(model, tokens, past, attend):
    """Wrong: one past, the last layer's, for all layers."""
    x, kept = model.embedding(tokens), None
    for block in model.blocks:
        mixed, kept = attend(block.attention, block.norm1(x), past)
        x = x + mixed
        x = x + block.down(F.gelu(block.up(block.norm2(x))))
    return model.head(model.norm(x)), kept


RIGHT = {
    "top_p": (top_p_with_threshold, top_p_with_loops, top_p_with_minus_infinity),
    "write": (write_with_while, write_by_length),
    "cached_attention": (cached_fused, cached_unrotated, cached_one_by_one),
    "cached_decoder": (decoder_by_dict, decoder_by_zip, decoder_by_calls),
}
WRONG = {
    "write": {"a list": (lambda *a: write_by_length(*a).tolist(), "")},
    "cached_attention": {
        "reads all again": (all_again, "It computes 7 keys for 4 tokens"),
        "one result": (lambda a, x, *_: x, "Return two things"),
        "nothing": (lambda *_: (None, None), "returned nothing"),
    },
    "cached_decoder": {
        "one past": (decoder_one_past, ""),
        "hidden states": (
            lambda m, t, past, a: (solutions.cached_decoder(m, t, past, a)[0][..., :12], past),
            "",
        ),
    },
}


test_right, test_odd, test_wrong = checks_of("11", RIGHT, WRONG)
