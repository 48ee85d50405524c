"""Solution of lesson 23, The whole model from blank."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class MyTransformer(nn.Module):
    class Block(nn.Module):
        def __init__(self, d_model, n_heads):
            super().__init__()
            self.n_heads = n_heads
            self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
            self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
            self.out = nn.Linear(d_model, d_model, bias=False)
            self.up = nn.Linear(d_model, 4 * d_model)
            self.down = nn.Linear(4 * d_model, d_model)

        def rotate(self, x):
            length, d_head = x.shape[-2:]
            rates = 1e4 ** (-torch.arange(0, d_head, 2, device=x.device) / d_head)
            angles = torch.arange(length, device=x.device)[:, None] * rates
            first, second = x.chunk(2, dim=-1)
            cos, sin = angles.cos(), angles.sin()
            return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)

        def attend(self, x):
            query, key, value = (
                part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
                for part in self.qkv(x).chunk(3, dim=-1)
            )
            query, key = self.rotate(query), self.rotate(key)
            scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
            future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
            weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
            return self.out((weights @ value).transpose(1, 2).flatten(2))

        def forward(self, x):
            x = x + self.attend(self.norm1(x))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    def __init__(self, text):
        super().__init__()
        self.characters = sorted(set(text))
        self.n_ctx, d_model, n_heads, n_layers = 48, 64, 4, 2
        self.embedding = nn.Embedding(len(self.characters), d_model)
        self.blocks = nn.ModuleList([self.Block(d_model, n_heads) for _ in range(n_layers)])
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, len(self.characters), bias=False)
        for weight in self.parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=0.02)
        self.data = self.encode(text)

    def encode(self, text):
        return torch.tensor([self.characters.index(character) for character in text])

    def decode(self, tokens):
        return "".join(self.characters[token] for token in tokens)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def loss(self, tokens):
        logits = self(tokens[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    def fit(self, steps):
        optimizer = torch.optim.AdamW(self.parameters(), lr=3e-3)
        for step in range(steps):
            warm, cool = (step + 1) / 20, 2 * (1 - step / steps)
            optimizer.param_groups[0]["lr"] = 3e-3 * min(1, warm, cool)
            starts = torch.randint(len(self.data) - self.n_ctx, (16,)).tolist()
            batch = torch.stack([self.data[i : i + self.n_ctx + 1] for i in starts])
            optimizer.zero_grad()
            self.loss(batch).backward()
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()

    @torch.no_grad()
    def generate(self, prompt, n):
        tokens = self.encode(prompt)
        for _ in range(n):
            logits = self(tokens[None, -self.n_ctx :])[0, -1]
            drawn = torch.multinomial(torch.softmax(logits, dim=-1), 1)
            tokens = torch.cat([tokens, drawn])
        return self.decode(tokens)
