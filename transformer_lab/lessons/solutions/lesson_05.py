"""Solutions of lesson 05, Build it."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def rotary(x, base=10000.0):
    length, d_head = x.shape[-2:]
    rates = 1 / base ** (torch.arange(0, d_head, 2, device=x.device) / d_head)
    angles = torch.arange(length, device=x.device)[:, None] * rates  # [position, d_head / 2]
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class SelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        d_model, bias = config.d_model, config.bias
        self.query = nn.Linear(d_model, d_model, bias=bias)
        self.key = nn.Linear(d_model, d_model, bias=bias)
        self.value = nn.Linear(d_model, d_model, bias=bias)
        self.out = nn.Linear(d_model, d_model, bias=bias)

    def forward(self, x):
        query, key, value = (
            part(x).unflatten(-1, (self.config.n_heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )  # each [batch, head, position, d_head]
        if self.config.positions == "rotary":
            query, key = rotary(query), rotary(key)
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
        z = weights @ value
        return self.out(z.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        d_model, bias = config.d_model, config.bias
        self.norm1 = nn.LayerNorm(d_model, bias=bias)
        self.attention = SelfAttention(config)
        self.norm2 = nn.LayerNorm(d_model, bias=bias)
        self.up = nn.Linear(d_model, 4 * d_model, bias=bias)
        self.down = nn.Linear(4 * d_model, d_model, bias=bias)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        wide = F.gelu(self.up(self.norm2(x)), approximate=self.config.gelu)
        return x + self.down(wide)


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        if config.positions == "learned":
            self.positions = nn.Embedding(config.n_ctx, config.d_model)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.n_layers)])
        self.norm = nn.LayerNorm(config.d_model, bias=config.bias)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.embedding(tokens)
        if self.config.positions == "learned":
            x = x + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


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


def train_loop(model, batches, steps, lr, warmup, clip):
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    history = []
    for step, batch in zip(range(steps), batches, strict=False):
        done = (step - warmup) / (steps - warmup)
        rise, fall = (step + 1) / warmup, (1 + math.cos(math.pi * done)) / 2
        optimizer.param_groups[0]["lr"] = lr * (rise if step < warmup else fall)
        logits = model(batch.tokens)
        loss = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        length = nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        history.append([loss.item(), length.item()])
    return torch.tensor(history)


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
