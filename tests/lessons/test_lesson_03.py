"""The checks of lesson 03 accept right answers, however written, and name mistakes."""

import math

import torch
import torch.nn.functional as F
from torch import nn

import transformer_lab as tl
from tests.lessons.answers import checks_of
from transformer_lab.lessons.solutions import lesson_03 as solutions


def split_with_view(x, n_heads):
    batch, length, d_model = x.shape
    return x.view(batch, length, n_heads, d_model // n_heads).permute(0, 2, 1, 3)


def split_with_loop(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=-1), dim=1)


def merge_with_loop(z):
    return torch.cat([z[:, head] for head in range(z.shape[1])], dim=-1)


def merge_with_reshape(z):
    batch, heads, length, width = z.shape
    return z.permute(0, 2, 1, 3).reshape(batch, length, heads * width)


def by_the_kernel(x, w_q, w_k, w_v, may_look):
    query, key, value = (x @ w if x.dim() == 3 else (x @ w)[None] for w in (w_q, w_k, w_v))
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=may_look)
    return out if x.dim() == 3 else out[0]


def with_nan_taken_out(x, w_q, w_k, w_v, may_look):
    scores = torch.einsum("...qd,...kd->...qk", x @ w_q, x @ w_k) * w_q.size(-1) ** -0.5
    weights = F.softmax(torch.where(may_look, scores, -torch.inf), -1).nan_to_num(0.0)
    return torch.einsum("...qk,...kv->...qv", weights, x @ w_v)


def word_by_word(x, w_q, w_k, w_v, may_look):
    flat = x.reshape(-1, *x.shape[-2:])
    masks = may_look.reshape(-1, *may_look.shape[-2:])
    out = x.new_zeros(*flat.shape[:2], w_v.shape[1])
    for i, (sentence, mask) in enumerate(zip(flat, masks, strict=True)):
        for q, sees in enumerate(mask):
            if sees.any():
                scores = (sentence[sees] @ w_k) @ (sentence[q] @ w_q) / math.sqrt(w_q.shape[1])
                out[i, q] = scores.softmax(0) @ (sentence[sees] @ w_v)
    return out.reshape(*x.shape[:-1], -1)


def test_the_mask_means_what_it_means_in_the_package():
    x, matrices = torch.randn(2, 4, 6), [torch.randn(6, 3) for _ in range(3)]
    may_look = torch.rand(2, 4, 4) > 0.6
    query, key, value = (x @ matrix for matrix in matrices)
    expected = tl.attend(query[:, None], key[:, None], value[:, None], bias=may_look[:, None])
    found = solutions.masked_attention(x, *matrices, may_look)
    torch.testing.assert_close(found, expected[:, 0])


def by_the_module(x, in_weight, in_bias, out_weight, out_bias, n_heads, padding):
    layer = nn.MultiheadAttention(x.shape[-1], n_heads, batch_first=True).to(x)
    weights = dict(in_proj_weight=in_weight, in_proj_bias=in_bias)
    layer.load_state_dict(weights | {"out_proj.weight": out_weight, "out_proj.bias": out_bias})
    return layer(x, x, x, key_padding_mask=padding, need_weights=False)[0]


def head_by_head(x, in_weight, in_bias, out_weight, out_bias, n_heads, padding):
    d = x.shape[-1]
    width, found = d // n_heads, []
    for head in range(n_heads):
        rows = [slice(i * d + head * width, i * d + (head + 1) * width) for i in range(3)]
        q, k, v = (F.linear(x, in_weight[one], in_bias[one]) for one in rows)
        scores = (q / math.sqrt(width)) @ k.mT
        found.append(torch.where(padding[:, None], -torch.inf, scores).softmax(-1) @ v)
    return F.linear(torch.cat(found, -1), out_weight, out_bias)


def by_einsum(x, in_weight, in_bias, out_weight, out_bias, n_heads, padding):
    packed = F.linear(x, in_weight, in_bias).unflatten(-1, (3, n_heads, -1))
    q, k, v = packed.unbind(2)
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
    scores = (
        scores + torch.zeros_like(padding, dtype=x.dtype).masked_fill(padding, -1e30)[:, None, None]
    )
    mixed = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2)
    return mixed @ out_weight.mT + out_bias


RIGHT = {
    "split_heads": (
        split_with_view,
        split_with_loop,
        lambda x, n: split_with_loop(x.bfloat16(), n),
    ),
    "merge_heads": (merge_with_loop, merge_with_reshape, lambda z: merge_with_loop(z.double())),
    "masked_attention": (by_the_kernel, with_nan_taken_out, word_by_word),
    "multi_head_attention": (by_the_module, head_by_head, by_einsum),
}


test_right, test_odd = checks_of("03", RIGHT)
