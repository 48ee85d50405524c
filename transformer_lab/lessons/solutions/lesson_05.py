"""Solutions of lesson 05, Build it."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from transformer_lab.lessons.solutions.lesson_05b import rotary


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


def generate(model, tokens, n, n_ctx, choose):
    with torch.no_grad():
        for _ in range(n):
            logits = model(tokens[:, -n_ctx:])[:, -1]
            tokens = torch.cat([tokens, choose(logits)[:, None]], dim=1)
    return tokens
