"""Solutions of lesson 08, Translation."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from transformer_lab.lessons.solutions.lesson_05 import SelfAttention


def decoder_mask(target, pad_id):
    length = target.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=target.device).tril()
    real = target != pad_id
    return causal & real[:, None, :]


def greedy(next_scores, bos, eos, longest):
    ids = torch.tensor([bos])
    for _ in range(longest):
        new = next_scores(ids).argmax()
        if new == eos:
            break
        ids = torch.cat([ids, new.view(1)])
    return ids[1:]


def translation_table(maps, source, target, pad_id, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size)
    for text in range(len(target)):
        for place in range(1, target.shape[1]):
            word = target[text, place]
            if word == pad_id:
                continue
            looks = maps[text, :, place - 1].mean(dim=0)
            partner = source[text, looks.argmax()]
            counts[word, partner] += 1
    totals = counts.sum(dim=-1, keepdim=True)
    return counts / totals.clamp(min=1)


class CrossAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        d_model, bias = config.d_model, config.bias
        self.query = nn.Linear(d_model, d_model, bias=bias)
        self.key = nn.Linear(d_model, d_model, bias=bias)
        self.value = nn.Linear(d_model, d_model, bias=bias)
        self.out = nn.Linear(d_model, d_model, bias=bias)

    def heads(self, x):
        return x.unflatten(-1, (self.config.n_heads, -1)).transpose(1, 2)

    def forward(self, x, memory, real):
        query = self.heads(self.query(x))  # [batch, head, query, d_head]
        key = self.heads(self.key(memory))
        value = self.heads(self.value(memory))
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        scores = scores.masked_fill(~real[:, None, None, :], -math.inf)
        weights = torch.softmax(scores, dim=-1)
        z = weights @ value
        return self.out(z.transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        d_model, bias = config.d_model, config.bias
        self.norm1 = nn.LayerNorm(d_model, bias=bias)
        self.attention = CrossAttention(config)
        self.norm2 = nn.LayerNorm(d_model, bias=bias)
        self.up = nn.Linear(d_model, 4 * d_model, bias=bias)
        self.down = nn.Linear(4 * d_model, d_model, bias=bias)

    def forward(self, x, real):
        h = self.norm1(x)
        x = x + self.attention(h, h, real)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class DecoderBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        d_model, bias = config.d_model, config.bias
        self.norm1 = nn.LayerNorm(d_model, bias=bias)
        self.attention = SelfAttention(config)
        self.norm2 = nn.LayerNorm(d_model, bias=bias)
        self.cross = CrossAttention(config)
        self.norm3 = nn.LayerNorm(d_model, bias=bias)
        self.up = nn.Linear(d_model, 4 * d_model, bias=bias)
        self.down = nn.Linear(4 * d_model, d_model, bias=bias)

    def forward(self, x, memory, real):
        x = x + self.attention(self.norm1(x))
        x = x + self.cross(self.norm2(x), memory, real)
        return x + self.down(F.gelu(self.up(self.norm3(x))))


class EncoderDecoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        d_model, bias, layers = config.d_model, config.bias, range(config.n_layers)
        self.embedding = nn.Embedding(config.vocab_size, d_model)
        self.positions = nn.Embedding(config.n_ctx, d_model)
        self.encoder = nn.ModuleList([EncoderBlock(config) for _ in layers])
        self.encoder_norm = nn.LayerNorm(d_model, bias=bias)
        self.decoder = nn.ModuleList([DecoderBlock(config) for _ in layers])
        self.decoder_norm = nn.LayerNorm(d_model, bias=bias)
        self.head = nn.Linear(d_model, config.vocab_size, bias=False)
        self.head.weight = self.embedding.weight

    def embed(self, tokens):
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        return self.embedding(tokens) + self.positions(positions)

    def encode(self, source, real):
        x = self.embed(source)
        for block in self.encoder:
            x = block(x, real)
        return self.encoder_norm(x)

    def decode(self, target, memory, real):
        x = self.embed(target)
        for block in self.decoder:
            x = block(x, memory, real)
        return self.head(self.decoder_norm(x))

    def forward(self, source, target):
        real = source != self.config.pad_id
        memory = self.encode(source, real)
        return self.decode(target, memory, real)


def train_translator(model, batches, steps, lr, warmup, smoothing):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.98), eps=1e-9)
    losses = []
    for step, batch in zip(range(steps), batches, strict=False):
        rise, fall = (step + 1) / warmup, math.sqrt(warmup / (step + 1))
        optimizer.param_groups[0]["lr"] = lr * min(rise, fall)
        logits = model(batch.tokens, batch.target_in).flatten(0, 1)
        loss = F.cross_entropy(logits, batch.targets.flatten(), label_smoothing=smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses)
