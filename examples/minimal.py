"""A decoder, its training, a trace and an edit, in one file and nothing but PyTorch.

    python examples/minimal.py

It trains for a few seconds to spell words backwards, prints what the last position attends to, and
switches heads off, one at a time and all together, to see how much they matter. What `transformer_lab`
does with hooks for any model is done by hand here, so that you can read it from top to bottom.

Shapes: B texts, N positions, H heads, D = d_model, d = D / H, V = vocabulary.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

LETTERS = "abcdefgh"
V = len(LETTERS) + 1  # and "|", which ends the word and begins its mirror image
LENGTH = 5
N = 2 * LENGTH + 1


# ---------------------------------------------------------------- the model


class Attention(nn.Module):
    """Multi-head causal attention: softmax(q·kᵀ / √d)·v in each head, then W_O."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.keep = torch.ones(n_heads)  # the edit: 0 switches a head off
        self.pattern = None  # the trace: weights of the last pass, [B, H, N, N]

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # [B, H, N, N]
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        self.pattern = scores.masked_fill(future, -math.inf).softmax(-1)
        z = self.pattern @ v * self.keep[:, None, None]  # [B, H, N, d]
        return self.out(z.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Pre-norm: each sublayer reads the normalised residual stream and adds to it."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(d_model), Attention(d_model, n_heads)
        self.norm2 = nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(
            nn.Linear(d_model, 4 * d_model), nn.GELU(), nn.Linear(4 * d_model, d_model)
        )

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Decoder(nn.Module):
    """Token ids [B, N] to logits of the next token [B, N, V]."""

    def __init__(self, d_model: int = 48, n_heads: int = 2, n_layers: int = 1):
        super().__init__()
        self.token = nn.Embedding(V, d_model)
        self.position = nn.Embedding(N, d_model)
        self.blocks = nn.ModuleList(Block(d_model, n_heads) for _ in range(n_layers))
        self.norm, self.head = nn.LayerNorm(d_model), nn.Linear(d_model, V)

    def forward(self, ids):
        x = self.token(ids) + self.position(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


# ---------------------------------------------------------------- data and training


def batch(n: int) -> torch.Tensor:
    """Random words, "|", and the same words backwards: [n, N]."""
    words = torch.randint(1, V, (n, LENGTH))
    return torch.cat([words, torch.zeros(n, 1, dtype=torch.long), words.flip(1)], dim=1)


def loss_of(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the mirror image alone: the word itself is random."""
    logits = model(ids[:, :-1])[:, LENGTH:]
    return F.cross_entropy(logits.flatten(0, 1), ids[:, LENGTH + 1 :].flatten())


def train(model: nn.Module, steps: int = 500) -> float:
    """Train in place; returns the loss on words drawn afterwards."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        for group in optimizer.param_groups:  # warm up, then fall to zero
            group["lr"] = 3e-3 * min((step + 1) / 20, 1 - step / steps)
        loss = loss_of(model, batch(64))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return loss_of(model, batch(500)).item()


# ---------------------------------------------------------------- trace and edit


def spell(ids: torch.Tensor) -> str:
    return "".join("|"[i:] or LETTERS[i - 1] for i in ids.tolist())


@torch.no_grad()
def trace(model: Decoder, ids: torch.Tensor) -> torch.Tensor:
    """The attention patterns of one text, [layer, head, query, key]."""
    model(ids[None])
    return torch.stack([block.attention.pattern[0] for block in model.blocks])


@torch.no_grad()
def loss_without(model: Decoder, layer: int, heads: list[int], ids: torch.Tensor) -> float:
    """The loss with some heads of a layer switched off; the model is as it was afterwards."""
    keep = model.blocks[layer].attention.keep
    keep[heads] = 0
    try:
        return loss_of(model, ids).item()
    finally:
        keep[heads] = 1


def main(steps: int = 500) -> dict:
    torch.manual_seed(0)
    model = Decoder()
    loss = train(model, steps)
    print(f"loss {loss:.3f} (chance: ln {V - 1} = {math.log(V - 1):.3f})")

    text, held_out = batch(1)[0], batch(500)
    patterns = trace(model, text[:-1])
    print(f"\n{spell(text)}: what the last position attends to, and the loss without each head")
    for layer, heads in enumerate(patterns):
        for head, pattern in enumerate(heads):
            key = int(pattern[-1].argmax())
            print(
                f"  head {layer}.{head}: weight {pattern[-1, key]:.2f} on position {key} "
                f"({spell(text[key : key + 1])}); loss without it "
                f"{loss_without(model, layer, [head], held_out):.3f}"
            )
        every = loss_without(model, layer, list(range(len(heads))), held_out)
        print(f"  loss without any head of layer {layer}: {every:.3f}")
    return dict(loss=loss, patterns=patterns, without=every)


if __name__ == "__main__":
    main()
