"""Training steps a CPU second, fp32: ours against Hugging Face GPT-2 (sdpa) and nn.TransformerEncoder.

The same shape, the same batches, the same fused AdamW; learned positions, LayerNorm first, biases,
a tied head, no dropout; the GELU is that of the other: tanh for GPT-2, erf for nn.TransformerEncoder.
The models take turns, a few steps each, so that a busy machine slows all alike. Bar: ≥ 1.0 × each.
"""

import statistics

import torch
import torch.nn.functional as F
from torch import nn

import transformer_lab as tl

from .report import Clock, Row, at_least

# name, batch, context, layers, heads, d_model, vocabulary
SHAPES = {
    "nanoGPT's CPU shape": (12, 64, 4, 4, 128, 65),
    "d 256, 256 tokens": (4, 256, 4, 4, 256, 1024),
}
ROUNDS, STEPS = 9, 4


class TorchModel(nn.Module):
    """A decoder of torch.nn's own layers."""

    def __init__(self, n_ctx, n_layers, n_heads, d_model, vocab):
        super().__init__()
        self.embedding = nn.Embedding(vocab, d_model)
        self.positions = nn.Embedding(n_ctx, d_model)
        layer = nn.TransformerEncoderLayer(
            d_model, n_heads, 4 * d_model, dropout=0.0, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.layers = nn.TransformerEncoder(
            layer, n_layers, norm=nn.LayerNorm(d_model), enable_nested_tensor=False
        )
        mask = nn.Transformer.generate_square_subsequent_mask(n_ctx)
        self.register_buffer("mask", mask)

    def forward(self, tokens):
        x = self.embedding(tokens) + self.positions.weight[: tokens.shape[1]]
        x = self.layers(x, mask=self.mask, is_causal=True)
        return x @ self.embedding.weight.T


def ours(shape, activation):
    _, n_ctx, n_layers, n_heads, d_model, vocab = shape
    config = tl.ModelConfig(
        vocab_size=vocab, n_layers=n_layers, n_heads=n_heads, d_model=d_model, n_ctx=n_ctx,
        positions="learned", activation=activation,
    )  # fmt: skip
    return tl.Transformer(config)


def models(shape):
    """Of each pair, ours and the other: name of the other -> (ours, other)."""
    _, n_ctx, n_layers, n_heads, d_model, vocab = shape
    made = {
        "nn.TransformerEncoder": (
            ours(shape, "gelu"), TorchModel(n_ctx, n_layers, n_heads, d_model, vocab)
        )
    }  # fmt: skip
    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError:
        return made
    config = GPT2Config(
        vocab_size=vocab, n_positions=n_ctx, n_embd=d_model, n_layer=n_layers, n_head=n_heads,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
        attn_implementation="sdpa", bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    hugging_face = GPT2LMHeadModel(config)
    return {**made, "Hugging Face GPT-2 (sdpa)": (ours(shape, "gelu_tanh"), hugging_face)}


def run(options):
    for name, shape in SHAPES.items():
        torch.manual_seed(options.seed)
        made = models(shape)
        if "Hugging Face GPT-2 (sdpa)" not in made:
            yield Row("Hugging Face GPT-2", "not installed", "", "≥ 1.0", None, 0, options.seed)
        tokens = torch.randint(shape[-1], (shape[0], shape[1] + 1))
        rate = shape[0] * shape[1]
        for who, pair in made.items():
            with Clock() as total:
                mine, theirs = compare(pair, tokens)
            ratio = statistics.median(b / a for a, b in zip(mine, theirs, strict=True))
            a, b = (rate / statistics.median(times) for times in (mine, theirs))
            yield at_least(
                f"training throughput against {who}, {name}", ratio, 1.0, unit="×",
                seconds=total.cpu, seed=options.seed,
                note=f"{a:,.0f} against {b:,.0f} tokens a CPU second",
            )  # fmt: skip


def compare(pair, tokens) -> tuple[list[float], list[float]]:
    """CPU seconds a training step, for each round, of both models."""
    optimizers = [torch.optim.AdamW(model.parameters(), fused=True) for model in pair]

    def step(i):
        out = pair[i](tokens[:, :-1])
        logits = out if isinstance(out, torch.Tensor) else out.logits
        F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizers[i].step()
        optimizers[i].zero_grad(set_to_none=True)

    times: tuple[list[float], list[float]] = ([], [])
    for i in (0, 1):
        step(i)
    for turn in range(ROUNDS):
        for i in (0, 1) if turn % 2 else (1, 0):
            with Clock() as clock:
                for _ in range(STEPS):
                    step(i)
            times[i].append(clock.cpu / STEPS)
    return times
