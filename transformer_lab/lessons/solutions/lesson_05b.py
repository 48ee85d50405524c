"""Solutions of lesson 05b, Test it, and load other weights."""

import torch


def numerical_gradient(loss, weight, eps=1e-3):
    gradient = torch.zeros_like(weight)
    with torch.no_grad():
        numbers, slopes = weight.view(-1), gradient.view(-1)
        for i in range(len(numbers)):
            before = numbers[i].clone()
            numbers[i] = before + eps
            above = loss()
            numbers[i] = before - eps
            below = loss()
            numbers[i] = before
            slopes[i] = (above - below) / (2 * eps)
    return gradient


def rotary(x, base=10000.0):
    length, d_head = x.shape[-2:]
    rates = 1 / base ** (torch.arange(0, d_head, 2, device=x.device) / d_head)
    angles = torch.arange(length, device=x.device)[:, None] * rates  # [position, d_head / 2]
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def from_gpt2(theirs, n_layers):
    ours = {
        "embedding.weight": theirs["transformer.wte.weight"],
        "head.weight": theirs["transformer.wte.weight"],
        "positions.weight": theirs["transformer.wpe.weight"],
        "norm.weight": theirs["transformer.ln_f.weight"],
        "norm.bias": theirs["transformer.ln_f.bias"],
    }
    names = {
        "ln_1": "norm1",
        "attn.c_proj": "attention.out",
        "ln_2": "norm2",
        "mlp.c_fc": "up",
        "mlp.c_proj": "down",
    }
    for i in range(n_layers):
        here, there = f"blocks.{i}.", f"transformer.h.{i}."
        for name, mine in names.items():
            ours[f"{here}{mine}.weight"] = theirs[f"{there}{name}.weight"].t()
            ours[f"{here}{mine}.bias"] = theirs[f"{there}{name}.bias"]
        weights = theirs[f"{there}attn.c_attn.weight"].t().chunk(3)
        biases = theirs[f"{there}attn.c_attn.bias"].chunk(3)
        for mine, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            ours[f"{here}attention.{mine}.weight"] = weight
            ours[f"{here}attention.{mine}.bias"] = bias
    return ours
